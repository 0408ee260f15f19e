package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// pluginFiles are in each archive beside the program.
var pluginFiles = []string{"LICENSE", "cmd/kubectl-oauth/kubectl_complete-oauth"}

// plugin is `kubectl oauth` for one platform.
type plugin struct {
	os, architecture string
	program          string // path
}

func (p plugin) archiveName(version string) string {
	return fmt.Sprintf("kubectl-oauth-%s-%s-%s.tar.gz", version, p.os, p.architecture)
}

// pluginsIn returns the programs of a directory, which has one for each platform in a directory
// <os>_<architecture>.
func pluginsIn(dir string) ([]plugin, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []plugin
	for _, entry := range entries {
		p := plugin{}
		var found bool
		if p.os, p.architecture, found = strings.Cut(entry.Name(), "_"); !found {
			return nil, fmt.Errorf("%s is not named <os>_<architecture>", entry.Name())
		}
		programs, err := filepath.Glob(filepath.Join(dir, entry.Name(), "kubectl-oauth*"))
		if err != nil {
			return nil, err
		}
		if len(programs) != 1 {
			return nil, fmt.Errorf("%s has %d programs kubectl-oauth, not one", entry.Name(), len(programs))
		}
		p.program = programs[0]
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no programs in %s", dir)
	}
	return all, nil
}

// addPlugins adds an archive of the plugin for each platform, and the manifest by which krew
// installs them.
func (r release) addPlugins(files map[string][]byte) error {
	var platforms []any
	for _, p := range r.plugins {
		archive, err := p.archive()
		if err != nil {
			return err
		}
		name := p.archiveName(r.version)
		files[name] = archive
		platforms = append(platforms, map[string]any{
			"selector": map[string]any{"matchLabels": map[string]string{"os": p.os, "arch": p.architecture}},
			"uri":      strings.TrimSuffix(r.downloads, "/") + "/v" + r.version + "/" + name,
			"sha256":   fmt.Sprintf("%x", sha256.Sum256(archive)),
			"bin":      filepath.Base(p.program),
		})
	}
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": "krew.googlecontainertools.github.com/v1alpha2", "kind": "Plugin", "metadata": map[string]string{"name": "oauth"},
		"spec": map[string]any{
			"version": "v" + r.version, "homepage": "https://github.com/oauth-operator/oauth-operator",
			"shortDescription": "Explain, use and rotate OAuth clients",
			"description":      "Says why an OAuth client of oauth-operator does not work, gets tokens,\nsigns in, and suspends and revokes.\n",
			"platforms":        platforms,
		},
	})
	files["oauth.yaml"] = manifest
	return err
}

// archive is a compressed tar file in which nothing is of the machine or the time it is made.
func (p plugin) archive() ([]byte, error) {
	var content bytes.Buffer
	compressed := gzip.NewWriter(&content)
	archive := tar.NewWriter(compressed)
	for _, path := range append([]string{p.program}, pluginFiles...) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		mode := int64(0o755)
		if filepath.Base(path) == "LICENSE" {
			mode = 0o644
		}
		header := &tar.Header{Name: filepath.Base(path), Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}
