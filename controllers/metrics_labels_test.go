package controllers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestMetricsKnowEveryConditionAndReason(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		var set []string
		switch name := spec.Names[0].Name; {
		case strings.HasPrefix(name, "Condition"):
			set = conditionTypes
		case strings.HasPrefix(name, "Reason"):
			set = conditionReasons
		default:
			return true
		}
		if found++; !slices.Contains(set, value) {
			t.Errorf("metrics_labels.go lacks v1alpha1.%s", spec.Names[0].Name)
		}
		return true
	})
	if found < 40 {
		t.Errorf("the file has only %d conditions and reasons", found)
	}
}
