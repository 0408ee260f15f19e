// Gitops says how the tools of GitOps judge objects of Kubernetes: kstatus, Flux and Argo CD. It
// reads objects as a stream of JSON from its standard input, and writes one line of JSON for each:
//
//	{"kstatus": {"status": "InProgress", "message": "..."}, "flux": {...}, "argocd": {...}}
//
// The tests of test/gitops run it. It is a program, and has a module of its own, because none of what
// it imports belongs into the operator's.
//
//	kstatus.go  the library of the Kubernetes project
//	flux.go     Flux' own copy of it, and the expressions of its Kustomizations
//	argocd.go   the Lua scripts of Argo CD's ConfigMap
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// judgement is what a tool says of an object.
type judgement struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// judge says what a tool thinks of an object.
type judge interface {
	judge(ctx context.Context, object *unstructured.Unstructured) (judgement, error)
}

func main() {
	configMap := flag.String("argocd", "", "the file with the ConfigMap argocd-cm")
	kustomizations := flag.String("flux", "", "the file with the Kustomizations of Flux")
	flag.Parse()
	if err := run(context.Background(), *configMap, *kustomizations, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, configMap, kustomizations string, in io.Reader, out io.Writer) error {
	argocd, err := readScripts(configMap)
	if err != nil {
		return err
	}
	flux, err := readExpressions(kustomizations)
	if err != nil {
		return err
	}
	judges := map[string]judge{"kstatus": kstatus{}, "flux": flux, "argocd": argocd}
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var content json.RawMessage
		if err := decoder.Decode(&content); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading objects: %w", err)
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(content); err != nil { // numbers are int64, as they are for the tools
			return fmt.Errorf("reading an object: %w", err)
		}
		said := map[string]judgement{}
		for name, j := range judges {
			if said[name], err = j.judge(ctx, &object); err != nil {
				return fmt.Errorf("%s on %s %s: %w", name, object.GetKind(), object.GetName(), err)
			}
		}
		if err := encoder.Encode(said); err != nil {
			return err
		}
	}
}
