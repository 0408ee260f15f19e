// Command image writes the container image as an OCI archive: a tar file with an OCI image layout,
// for one or more architectures. It needs no container daemon and no base image, and the same
// programs give the same bytes.
//
//	image -name NAME -version VERSION -commit COMMIT -entrypoint PATH -output FILE DIR...
//
// Each DIR is named <os>_<architecture> and holds the files for that platform, at their paths in
// the image. Each of them can be executed.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user that the programs run as: numeric, so that a kubelet can see that it is not root.
const user = "65532:65532"

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image: "+err.Error())
		os.Exit(1)
	}
}

type build struct {
	name, version, commit, output string
	entrypoint                    string // the program that runs where a Pod names none
}

func run(args []string) error {
	var b build
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&b.name, "name", "", "reference under which the image is imported, such as localhost/oauth-operator:devel")
	flags.StringVar(&b.version, "version", "", "version, for the image's labels")
	flags.StringVar(&b.commit, "commit", "", "Git commit, for the image's labels")
	flags.StringVar(&b.entrypoint, "entrypoint", "/manager", "program that runs where a Pod names none")
	flags.StringVar(&b.output, "output", "", "file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.name == "" || b.output == "" || flags.NArg() == 0 {
		return errors.New("-name, -output and at least one directory of programs are needed")
	}
	index, err := b.index(flags.Args())
	if err != nil {
		return err
	}
	digest, err := b.write(index)
	if err != nil {
		return err
	}
	fmt.Printf("%s\t%s\t%s\n", b.output, b.name, digest)
	return nil
}

// labels of the image, by the names of the OCI image specification.
func (b build) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    "oauth-operator",
		"org.opencontainers.image.version":  b.version,
		"org.opencontainers.image.revision": b.commit,
		"org.opencontainers.image.source":   "https://github.com/oauth-operator/oauth-operator",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
}

// index of the images for all platforms.
func (b build) index(dirs []string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, dir := range dirs {
		image, platform, err := b.image(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	return mutate.Annotations(index, b.labels()).(v1.ImageIndex), nil
}

// image for one platform: a layer for each file, so that what did not change is not sent again.
func (b build) image(dir string) (v1.Image, v1.Platform, error) {
	system, architecture, ok := strings.Cut(filepath.Base(dir), "_")
	if !ok {
		return nil, v1.Platform{}, errors.New("the directory is not named <os>_<architecture>")
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		layer, err := fileLayer(filepath.ToSlash(name), content)
		if err != nil {
			return err
		}
		image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "COPY " + filepath.ToSlash(name) + " /"}})
		return err
	})
	if err != nil {
		return nil, v1.Platform{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, v1.Platform{}, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = system, architecture
	config.Config = v1.Config{User: user, Entrypoint: []string{b.entrypoint}, WorkingDir: "/", Labels: b.labels()}
	image, err = mutate.ConfigFile(image, config)
	return image, v1.Platform{OS: system, Architecture: architecture}, err
}

// fileLayer holds one executable file that belongs to root, so that a program cannot change itself.
// It has no time of its own: the same program makes the same layer.
func fileLayer(name string, content []byte) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}

// write the archive, and return the digest of the index.
func (b build) write(index v1.ImageIndex) (v1.Hash, error) {
	digest, err := index.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	// containerd imports the image under its own annotation, other tools under the specification's.
	err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name": b.name, "org.opencontainers.image.ref.name": b.name,
	}))
	if err != nil {
		return v1.Hash{}, err
	}
	return digest, writeArchive(dir, b.output)
}

// writeArchive makes a tar file of a directory, in the order of the paths and without times.
func writeArchive(dir, output string) (err error) {
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, file.Close())
	}()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	return errors.Join(err, w.Close())
}
