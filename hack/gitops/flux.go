package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// flux judges by the expressions for a kind, if there are any, and else by Flux' kstatus, which Helm
// has too.
type flux map[schema.GroupVersionKind]*cel.StatusEvaluator

// readExpressions reads the healthCheckExprs of all Kustomizations in a file.
func readExpressions(file string) (flux, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := flux{}
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		var k kustomizev1.Kustomization
		if err == nil {
			err = yaml.UnmarshalStrict(document, &k)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for i := range k.Spec.HealthCheckExprs {
			check := &k.Spec.HealthCheckExprs[i]
			evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
			if err != nil {
				return nil, fmt.Errorf("%s: Kustomization %s, %s: %w", file, k.Name, check.Kind, err)
			}
			all[schema.FromAPIVersionAndKind(check.APIVersion, check.Kind)] = evaluator
		}
	}
}

func (f flux) judge(ctx context.Context, object *unstructured.Unstructured) (judgement, error) {
	compute := func() (*status.Result, error) { return status.Compute(object) }
	if evaluator := f[object.GroupVersionKind()]; evaluator != nil {
		compute = func() (*status.Result, error) { return evaluator.Evaluate(ctx, object) }
	}
	result, err := compute()
	if err != nil {
		return judgement{}, err
	}
	return judgement{Status: result.Status.String(), Message: result.Message}, nil
}
