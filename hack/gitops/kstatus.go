package main

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type kstatus struct{}

func (kstatus) judge(_ context.Context, object *unstructured.Unstructured) (judgement, error) {
	result, err := status.Compute(object)
	if err != nil {
		return judgement{}, err
	}
	return judgement{Status: result.Status.String(), Message: result.Message}, nil
}
