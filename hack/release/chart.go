package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const chartDir = "charts/oauth-operator"

// chart is the Helm chart, packed. Helm itself writes the time into the archive.
func (r release) chart() (string, []byte, error) {
	files, err := r.chartFiles()
	if err != nil {
		return "", nil, err
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	for _, name := range sortedKeys(files) {
		header := &tar.Header{
			Name: "oauth-operator/" + name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
		}
		if err := archive.WriteHeader(header); err != nil {
			return "", nil, err
		}
		if _, err := archive.Write(files[name]); err != nil {
			return "", nil, err
		}
	}
	err = errors.Join(archive.Close(), zip.Close())
	return "oauth-operator-" + r.version + ".tgz", packed.Bytes(), err
}

// chartFiles are the files of the chart, with the version and the image of the release.
func (r release) chartFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(chartDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(chartDir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	tag := r.image.tag
	if tag == r.version { // which the chart takes by itself
		tag = ""
	}
	for _, change := range []struct{ file, what, by string }{
		{"Chart.yaml", "\nversion: " + develVersion + "\n", "\nversion: " + r.version + "\n"},
		{"Chart.yaml", "\nappVersion: " + develVersion + "\n", "\nappVersion: " + r.version + "\n"},
		{"values.yaml", "\n  repository: " + develRepository + "\n", "\n  repository: " + r.image.repository + "\n"},
		{"values.yaml", "\n  tag: \"\"\n", fmt.Sprintf("\n  tag: %q\n", tag)},
		{"values.yaml", "\n  digest: \"\"\n", fmt.Sprintf("\n  digest: %q\n", r.image.digest)},
	} {
		if files[change.file], err = replaceOnce(files[change.file], change.what, change.by); err != nil {
			return nil, fmt.Errorf("%s: %w", change.file, err)
		}
	}
	return files, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
