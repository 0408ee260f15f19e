package compile

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// namespaces returns the namespaces that a rule admits. own is the namespace of the object that has
// the rule, and path the path of the field.
func namespaces(n *v1alpha1.RuleNamespaces, own, path string) (documents.Namespaces, Findings) {
	switch {
	case n != nil && n.From == v1alpha1.NamespacesAll:
		return documents.Namespaces{All: true}, nil
	case n != nil && n.From == v1alpha1.NamespacesSelector && n.Selector != nil:
		selector, findings := selector(n.Selector, path+".selector")
		return documents.Namespaces{Selector: &selector}, findings
	default:
		return documents.Namespaces{Names: []string{own}}, nil
	}
}

// selector returns a label selector. It checks what the schema of the CustomResourceDefinition does
// not: the syntax of keys and values, and which operators have values.
func selector(s *metav1.LabelSelector, path string) (documents.Selector, Findings) {
	var findings Findings
	for _, err := range validation.ValidateLabelSelector(s, validation.LabelSelectorValidationOptions{}, field.NewPath(path)) {
		findings = append(findings, Finding{Field: err.Field, Message: err.ErrorBody()})
	}
	// A map has another order each time: the same mistakes would be another message, which would be
	// written.
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	compiled := documents.Selector{MatchLabels: s.MatchLabels}
	for _, expression := range s.MatchExpressions {
		compiled.MatchExpressions = append(compiled.MatchExpressions, documents.Requirement{
			Key: expression.Key, Operator: string(expression.Operator), Values: expression.Values,
		})
	}
	return compiled, findings
}
