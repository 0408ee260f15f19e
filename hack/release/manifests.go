package main

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// kustomization is what `kubectl apply -k` installs from a clone.
const kustomization = "config/default"

// The version and the image of a clone, which a release replaces.
const (
	develVersion    = "0.0.0-devel"
	develRepository = "localhost/oauth-operator"
)

// manifests are those of the kustomization in one file, with the image of the release.
func (r release) manifests() (string, []byte, error) {
	content, err := build(kustomization)
	if err != nil {
		return "", nil, err
	}
	content, err = replaceOnce(content, "image: "+develRepository+":"+develVersion+"\n", "image: "+r.image.String()+"\n")
	return "install.yaml", content, err
}

// build runs kustomize on a directory.
func build(dir string) ([]byte, error) {
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", dir, err)
	}
	return objects.AsYaml()
}

// replaceOnce replaces what is there exactly once: else the release would be another than it says.
func replaceOnce(content []byte, what, by string) ([]byte, error) {
	if n := bytes.Count(content, []byte(what)); n != 1 {
		return nil, fmt.Errorf("%q is there %d times, not once", what, n)
	}
	return bytes.Replace(content, []byte(what), []byte(by), 1), nil
}
