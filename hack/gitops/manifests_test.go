package main

import (
	"bytes"
	"os"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/yaml"
)

func TestObjectsOfFluxHaveNoFieldThatItDoesNotKnow(t *testing.T) {
	for file, objects := range map[string][]any{
		"helmrelease.yaml":    {&sourcev1.GitRepository{}, &helmv2.HelmRelease{}},
		"kustomizations.yaml": {&kustomizev1.Kustomization{}, &kustomizev1.Kustomization{}, &kustomizev1.Kustomization{}},
	} {
		content, err := os.ReadFile("../../config/flux/" + file)
		if err != nil {
			t.Fatal(err)
		}
		documents := bytes.Split(content, []byte("\n---\n"))
		if len(documents) != len(objects) {
			t.Fatalf("%s has %d objects", file, len(documents))
		}
		for i, object := range objects {
			if err := yaml.UnmarshalStrict(documents[i], object); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
