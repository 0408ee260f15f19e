package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// includesNamespace reports whether a rule applies to a namespace. With labels nil nothing is known
// of the namespace: then no selector matches, not even one that requires the absence of a label.
func includesNamespace(n documents.Namespaces, namespace string, labels map[string]string) bool {
	switch {
	case n.All:
		return true
	case n.Selector != nil:
		return labels != nil && matchesLabels(*n.Selector, labels)
	default:
		return slices.Contains(n.Names, namespace)
	}
}

// matchesLabels reports whether a selector matches labels, with the semantics of Kubernetes: NotIn
// matches a missing label too.
func matchesLabels(s documents.Selector, labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, has := labels[key]; !has || got != want {
			return false
		}
	}
	return !slices.ContainsFunc(s.MatchExpressions, func(r documents.Requirement) bool { return !matchesRequirement(r, labels) })
}

func matchesRequirement(r documents.Requirement, labels map[string]string) bool {
	value, has := labels[r.Key]
	switch r.Operator {
	case "In":
		return has && slices.Contains(r.Values, value)
	case "NotIn":
		return !has || !slices.Contains(r.Values, value)
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	}
	return false
}

// formatSelector returns a selector in the syntax of kubectl --selector.
func formatSelector(s documents.Selector) string {
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		terms = append(terms, key+"="+s.MatchLabels[key])
	}
	for _, r := range s.MatchExpressions {
		switch r.Operator {
		case "Exists":
			terms = append(terms, r.Key)
		case "DoesNotExist":
			terms = append(terms, "!"+r.Key)
		default:
			terms = append(terms, r.Key+" "+strings.ToLower(r.Operator)+" ("+strings.Join(r.Values, ",")+")")
		}
	}
	return strings.Join(terms, ",")
}
