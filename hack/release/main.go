// Command release writes all that a release consists of: the image, the manifests as one file, the
// Helm chart, the plugin of kubectl for each platform, a software bill of materials, and checksums.
// The same commit makes the same bytes.
//
//	release -version VERSION -image IMAGE -archive FILE -plugins DIR -output DIR PROGRAMS...
//
// It runs in the root of the repository. PROGRAMS are the directories of the programs in the image.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release: "+err.Error())
		os.Exit(1)
	}
}

type release struct {
	version  string
	image    reference
	archive  string
	programs []string
	plugins  []plugin
	// downloads is where the files of releases can be downloaded, each in a directory of its tag.
	downloads string
}

func run(args []string) error {
	var r release
	var image, output, plugins string
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "semantic version without a v, such as 1.2.3")
	flags.StringVar(&image, "image", "", "reference under which the image will be pulled, such as registry.example.com/oauth-operator:1.2.3")
	flags.StringVar(&r.archive, "archive", "", "OCI archive of the image")
	flags.StringVar(&plugins, "plugins", "", "directory of the plugin of kubectl, with a directory <os>_<architecture> for each platform")
	flags.StringVar(&r.downloads, "downloads", "https://github.com/oauth-operator/oauth-operator/releases/download", "where the files of releases will be, each in a directory of its tag")
	flags.StringVar(&output, "output", "dist", "directory to write to; what was in it is removed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if r.archive == "" || plugins == "" || flags.NArg() == 0 {
		return errors.New("-archive, -plugins and at least one directory of programs are needed")
	}
	if _, err := semver.StrictNewVersion(r.version); err != nil {
		return fmt.Errorf("-version %q is not like 1.2.3 or 1.2.3-rc.1: %w", r.version, err)
	}
	var err error
	if r.image, err = parseReference(image); err != nil {
		return fmt.Errorf("-image: %w", err)
	}
	if r.plugins, err = pluginsIn(plugins); err != nil {
		return fmt.Errorf("-plugins: %w", err)
	}
	r.programs = flags.Args()
	return r.write(output)
}

// write makes the files, in memory first: there is no half of a release.
func (r release) write(dir string) error {
	files := map[string][]byte{}
	for _, make := range []func() (name string, content []byte, err error){
		r.imageArchive, r.imageDigest, r.manifests, r.chart, r.billOfMaterials,
	} {
		name, content, err := make()
		if err != nil {
			return err
		}
		files[name] = content
	}
	if err := r.addPlugins(files); err != nil {
		return err
	}
	files["SHA256SUMS"] = checksums(files)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// checksums are in the format of sha256sum.
func checksums(files map[string][]byte) []byte {
	var sums strings.Builder
	for _, name := range sortedKeys(files) {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return []byte(sums.String())
}
