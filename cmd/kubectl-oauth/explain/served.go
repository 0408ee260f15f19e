package explain

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// serve returns the client as a token server would have it that serves these objects. Nil if they
// are not all known, or if the token server would refuse the client.
func (e *explanation) serve() *registry.Client {
	if !e.canEvaluate() || !e.AllResourceServers {
		return nil
	}
	r := registry.New(func() time.Time { return e.Now })
	server, client := e.serverDocument(), compile.Client(e.Client, nil)
	server.UID, client.UID = uidOr(server.UID, "server"), uidOr(client.UID, "client")
	client.Suspended = false // which is said apart
	served := add(r, compile.Name{Space: registry.SpaceIdentity, Value: server.Issuer}, server.UID, server) &&
		add(r, compile.Name{Space: registry.SpaceIdentity, Value: client.ID}, client.UID, client)
	if !served {
		return nil
	}
	for name, labels := range e.Namespaces {
		add(r, compile.Name{Space: registry.SpaceNamespace, Value: name}, "namespace "+name, documents.Namespace{Name: name, Labels: labels})
	}
	for i := range e.ResourceServers {
		rs := &e.ResourceServers[i]
		document, findings := compile.ResourceServer(rs)
		if len(findings) > 0 || !isAccepted(rs) {
			continue
		}
		document = compile.WithScopes(document, e.heldScopes(rs))
		document.UID = uidOr(document.UID, rs.Namespace+"/"+rs.Name)
		if add(r, compile.IdentifierName(document.Identifier), document.UID, document) {
			for _, scope := range document.Scopes {
				add(r, compile.Name{Space: registry.SpaceScope, Value: scope.Name}, document.UID, nil)
			}
		}
	}
	c, _ := r.ClientByUID(client.UID)
	return c
}

// add adds an entry, and reports whether the registry takes it.
func add(r *registry.Registry, name compile.Name, uid string, document any) bool {
	entry := registry.Entry{Space: string(name.Space), Value: name.Value, OwnerUID: uid}
	if document != nil {
		text, err := documents.Encode(document)
		if err != nil {
			return false
		}
		entry.Format, entry.Document = documents.Format(document), text
	}
	return r.Apply(entry.Space+" "+entry.Value, entry) == nil
}

// uidOr returns the UID of an object, or one for an object that is not applied yet.
func uidOr(uid, otherwise string) string { return cmp.Or(uid, otherwise) }

// isAccepted reports whether the manager has not refused a ResourceServer. Whether the server's
// rules accept it, the registry evaluates.
func isAccepted(rs *v1alpha1.ResourceServer) bool {
	c := currentCondition(rs, rs.Status.Conditions, v1alpha1.ConditionAccepted)
	return c == nil || c.Status != metav1.ConditionFalse
}

// heldScopes returns the scopes that a ResourceServer has. For one that the manager has not seen,
// these are the ones that no other has.
func (e *explanation) heldScopes(rs *v1alpha1.ResourceServer) []string {
	if currentCondition(rs, rs.Status.Conditions, v1alpha1.ConditionAccepted) != nil {
		return rs.Status.Scopes
	}
	var held []string
	for _, scope := range rs.Spec.Scopes {
		if holder := e.holderOf(scope.Name); holder == nil || sameObject(holder, rs) {
			held = append(held, scope.Name)
		}
	}
	return held
}

// holderOf returns the ResourceServer that has a scope by its status; nil if none does.
func (e *explanation) holderOf(scope string) *v1alpha1.ResourceServer {
	for i := range e.ResourceServers {
		if slices.Contains(e.ResourceServers[i].Status.Scopes, scope) {
			return &e.ResourceServers[i]
		}
	}
	return nil
}

func sameObject(a, b *v1alpha1.ResourceServer) bool {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Name} == types.NamespacedName{Namespace: b.Namespace, Name: b.Name}
}
