package policy

import (
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
)

// admits says whether a rule is for a namespace. Labels nil means that nothing is known of the namespace: then no selector matches, not even
// one that asks for the absence of a label.
func admits(n registration.Namespaces, namespace string, labels map[string]string) bool {
	switch {
	case n.All:
		return true
	case n.Selector != nil:
		return labels != nil && selects(*n.Selector, labels)
	default:
		return slices.Contains(n.Names, namespace)
	}
}

// selects says whether all requirements hold, as Kubernetes means them: NotIn holds too where the label is missing.
func selects(s registration.Selector, labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, has := labels[key]; !has || got != want {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		if !holds(r, labels) {
			return false
		}
	}
	return true
}

func holds(r registration.Requirement, labels map[string]string) bool {
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

// matchesPrefix says whether one of the patterns is the value, a prefix of it that ends in "*", or "*".
func matchesPrefix(patterns []string, value string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, wild := strings.CutSuffix(p, "*"); wild {
			return strings.HasPrefix(value, prefix)
		}
		return p == value
	})
}

// matchesHost says whether one of the patterns is the host, "*." before what follows the host's first label, or "*".
func matchesHost(patterns []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == registration.Any {
			return true
		}
		if suffix, wild := strings.CutPrefix(p, "*."); wild {
			return parent != "" && suffix == parent && !strings.HasPrefix(host, ".")
		}
		// An IPv6 literal has brackets in a rule, as in a URI, and none in a host.
		return strings.Trim(p, "[]") == host
	})
}
