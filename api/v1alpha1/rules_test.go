package v1alpha1_test

import (
	"path/filepath"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Each CEL rule on a spec has an invalid manifest that it refuses; those that compare with the old
// object are in immutability_test.go.
func TestEachRuleHasAnInvalidManifest(t *testing.T) {
	wanted := map[string][]string{} // by kind in lower case: the messages that manifests expect
	for _, file := range files(t, "testdata/invalid") {
		o, message := invalid(t, file, "any")
		kind := strings.ToLower(o.GetKind())
		if name := filepath.Base(file); !strings.HasPrefix(name, kind+"-") {
			t.Errorf("%s holds an object of kind %s", name, o.GetKind())
		}
		wanted[kind] = append(wanted[kind], message)
	}
	for kind, crd := range definitions(t) {
		root := *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		delete(root.Properties, "status")
		rules := 0
		eachRule(root, func(rule apiextensionsv1.ValidationRule) {
			if rules++; strings.Contains(rule.Rule, "oldSelf") {
				return
			}
			for _, message := range wanted[kind] {
				if strings.Contains(rule.Message, message) {
					return
				}
			}
			t.Errorf("no manifest for the rule of %s with the message\n\t%s", kind, rule.Message)
		})
		if rules == 0 {
			t.Errorf("%s has no rules", kind)
		}
	}
}

func eachRule(schema apiextensionsv1.JSONSchemaProps, do func(apiextensionsv1.ValidationRule)) {
	for _, rule := range schema.XValidations {
		do(rule)
	}
	if schema.Items != nil {
		eachRule(*schema.Items.Schema, do)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		eachRule(*schema.AdditionalProperties.Schema, do)
	}
	for _, property := range schema.Properties {
		eachRule(property, do)
	}
}

// What is not bounded can fill etcd and make every rule expensive. Selectors, affinities and the
// like are Kubernetes' types, whose schemas have no bounds and which no rule of ours looks into; the
// conditions are bounded by Kubernetes.
func TestEachStringListAndMapIsBounded(t *testing.T) {
	for kind, crd := range definitions(t) {
		for path, schema := range fields(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema, "") {
			if strings.Contains(path, ".selector") || strings.HasPrefix(path, "status.conditions[].") || isOfKubernetes(path) {
				continue
			}
			if !bounded(schema) {
				t.Errorf("%s: %s has no bound", kind, path)
			}
			if schema.Items != nil && !bounded(*schema.Items.Schema) {
				t.Errorf("%s: the items of %s have no bound", kind, path)
			}
			if schema.AdditionalProperties != nil && !bounded(*schema.AdditionalProperties.Schema) {
				t.Errorf("%s: the values of %s have no bound", kind, path)
			}
		}
	}
}

func bounded(schema apiextensionsv1.JSONSchemaProps) bool {
	switch schema.Type {
	case "string":
		return schema.MaxLength != nil || len(schema.Enum) > 0 || schema.Format == "date-time" && schema.Pattern != ""
	case "array":
		return schema.MaxItems != nil
	case "integer":
		return schema.Minimum != nil
	case "object":
		return len(schema.Properties) > 0 || schema.MaxProperties != nil
	}
	return true
}
