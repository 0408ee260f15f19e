package compile

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// ResourceServer returns the document of a ResourceServer with all its scopes. WithScopes removes
// those that it does not have.
func ResourceServer(rs *v1alpha1.ResourceServer) (documents.ResourceServer, Findings) {
	doc := documents.ResourceServer{
		UID:        string(rs.UID),
		Namespace:  rs.Namespace,
		Name:       rs.Name,
		Identifier: rs.Spec.Identifier,
	}
	for _, scope := range rs.Spec.Scopes {
		doc.Scopes = append(doc.Scopes, documents.Scope{Name: scope.Name, Description: scope.Description})
	}
	slices.SortFunc(doc.Scopes, func(a, b documents.Scope) int { return cmp.Compare(a.Name, b.Name) })
	rules := rs.Spec.AllowedClients
	if len(rules) == 0 {
		rules = []v1alpha1.ResourceClientRule{{Name: defaultRule}}
	}
	var findings Findings
	for i, rule := range rules {
		namespaces, found := namespaces(rule.Namespaces, rs.Namespace, "spec.allowedClients["+strconv.Itoa(i)+"].namespaces")
		findings = append(findings, found...)
		doc.AllowedClients = append(doc.AllowedClients, documents.ResourceClientRule{
			Name: rule.Name, Namespaces: namespaces, Scopes: orDefault(rule.Scopes, documents.Any),
		})
	}
	for _, client := range rs.Spec.IntrospectionClients {
		doc.IntrospectionClients = append(doc.IntrospectionClients, documents.ClientName{
			Namespace: orNamespace(client.Namespace, rs.Namespace), Name: client.Name,
		})
	}
	return doc, append(findings, tooLarge(doc)...)
}

// WithScopes returns doc with those of its scopes that are in held.
func WithScopes(doc documents.ResourceServer, held []string) documents.ResourceServer {
	var scopes []documents.Scope
	for _, scope := range doc.Scopes {
		if slices.Contains(held, scope.Name) {
			scopes = append(scopes, scope)
		}
	}
	doc.Scopes = scopes
	return doc
}

func orNamespace(namespace, own string) string {
	if namespace != "" {
		return namespace
	}
	return own
}
