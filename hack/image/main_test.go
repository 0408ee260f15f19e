package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// archive builds an image of two platforms from files made anew, and returns the bytes of the
// archive.
func archive(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, platform := range []string{"linux_amd64", "linux_arm64"} {
		write(t, filepath.Join(dir, platform, "manager"), "manager for "+platform)
		write(t, filepath.Join(dir, platform, "tokenserver"), "tokenserver for "+platform)
		write(t, filepath.Join(dir, platform, "usr", "lib", "library"), "a library for "+platform)
	}
	output := filepath.Join(dir, "image.tar")
	err := run([]string{"-name", "localhost/oauth-operator:1.2.3", "-version", "1.2.3", "-commit", "abc", "-entrypoint", "/tokenserver", "-output", output,
		filepath.Join(dir, "linux_amd64"), filepath.Join(dir, "linux_arm64")})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheSameProgramsMakeTheSameBytes(t *testing.T) {
	if !bytes.Equal(archive(t), archive(t)) {
		t.Error("two builds from the same programs differ")
	}
}

func TestTheArchiveIsAValidImageForEachPlatform(t *testing.T) {
	dir := t.TempDir()
	r := tar.NewReader(bytes.NewReader(archive(t)))
	for {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, header.Name), string(content))
	}
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(root); err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if name := manifest.Manifests[0].Annotations["io.containerd.image.name"]; name != "localhost/oauth-operator:1.2.3" {
		t.Errorf("the image's name is %q", name)
	}
	index, err := root.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	platforms, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range platforms.Manifests {
		checkImage(t, index, m)
	}
	if len(platforms.Manifests) != 2 {
		t.Errorf("%d platforms", len(platforms.Manifests))
	}
}

func checkImage(t *testing.T, index v1.ImageIndex, m v1.Descriptor) {
	t.Helper()
	image, err := index.Image(m.Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/tokenserver" || config.Architecture != m.Platform.Architecture ||
		config.Config.Labels["org.opencontainers.image.version"] != "1.2.3" {
		t.Errorf("config of %v: %+v", m.Platform, config)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		header, err := tar.NewReader(content).Next()
		if err != nil {
			t.Fatal(err)
		}
		if header.Mode != 0o755 || header.Uid != 0 {
			t.Errorf("%s: mode %o, owner %d", header.Name, header.Mode, header.Uid)
		}
		names = append(names, header.Name)
	}
	if strings.Join(names, " ") != "manager tokenserver usr/lib/library" {
		t.Errorf("the image holds %q", names)
	}
}

func TestMissingArgumentsAreNamed(t *testing.T) {
	for _, args := range [][]string{{}, {"-name", "x", "-output", "y"}, {"-name", "x", "-output", "y", "/nonexistent_dir"}} {
		if err := run(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
