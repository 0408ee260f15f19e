package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// attachment is where an object is served: the server, the namespace of the object, and what both have in force. It is read from the Entries,
// not from the objects behind them, so that a decision here is the one that a token server makes with the same documents.
type resolvedServer struct {
	object          *v1alpha1.AuthorizationServer
	entry           *internalv1alpha1.Entry
	document        documents.Server
	namespaceEntry  *internalv1alpha1.Entry
	namespaceLabels map[string]string
}

// attach finds where an object of a namespace is served; refused says why it cannot be, and is undecided otherwise. field is the path of the
// reference. Users live in the server's namespace and are concerned by no rule, so they need no namespace document.
func (op *operator) resolveServer(ctx context.Context, key client.ObjectKey, namespace, field string, rules bool) (a *resolvedServer, refused condition, err error) {
	if !op.watches(key.Namespace) {
		return nil, falseCondition(v1alpha1.ReasonServerNotFound, "%s: the operator does not work in namespace %q: have it added to the manager's flag --namespaces",
			field, key.Namespace), nil
	}
	var server v1alpha1.AuthorizationServer
	if err := op.Get(ctx, key, &server); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return nil, condition{}, err
		}
		return nil, falseCondition(v1alpha1.ReasonServerNotFound, "%s: there is no AuthorizationServer %q in namespace %q: create it there, or delete this object and create it with another serverRef, which is immutable",
			field, key.Name, key.Namespace), nil
	}
	if !server.DeletionTimestamp.IsZero() { // what is claimed there now would have to be removed again
		return nil, falseCondition(v1alpha1.ReasonServerNotFound, "%s: the AuthorizationServer %q in namespace %q is being deleted", field, key.Name, key.Namespace), nil
	}
	a = &resolvedServer{object: &server}
	a.entry, err = op.getEntry(ctx, &server, issuerName(&server))
	if err != nil {
		return nil, condition{}, err
	}
	if refused := serverProblem(a, field); refused.isSet() {
		return nil, refused, nil
	}
	if a.document, err = decodeEntry[documents.Server](a.entry); err != nil {
		return nil, condition{}, err
	}
	if !rules {
		return a, condition{}, nil
	}
	a.namespaceEntry, a.namespaceLabels, err = op.ensureNamespaceEntry(ctx, &server, namespace)
	return a, condition{}, err
}

func serverProblem(a *resolvedServer, field string) condition {
	if accepted := meta.FindStatusCondition(a.object.Status.Conditions, v1alpha1.ConditionAccepted); accepted != nil &&
		accepted.Status == metav1.ConditionFalse && (a.entry == nil || accepted.Reason == v1alpha1.ReasonIssuerTaken) {
		return falseCondition(v1alpha1.ReasonServerNotAccepted, "%s: the AuthorizationServer %q is not accepted itself (%s)", field, a.object.Name, accepted.Reason)
	}
	if a.entry == nil || a.entry.Spec.Owner.UID != a.object.UID {
		return pendingCondition("waiting for the AuthorizationServer %q", a.object.Name)
	}
	return condition{}
}

// namespaceFacts makes the document of a namespace current at a server, and returns it.
func (op *operator) ensureNamespaceEntry(ctx context.Context, server *v1alpha1.AuthorizationServer, name string) (*internalv1alpha1.Entry, map[string]string, error) {
	var namespace corev1.Namespace
	if err := op.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return nil, nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	doc := compile.Namespace(&namespace)
	e, err := op.ensureDocument(ctx, server, compile.Name{Space: internalv1alpha1.SpaceNamespace, Value: name},
		compile.Owner(kindNamespace, &namespace), documents.Format(doc), doc)
	if err != nil {
		return nil, nil, err
	}
	if namespace.Labels == nil {
		return e, map[string]string{}, nil
	}
	return e, namespace.Labels, nil
}

func issuerName(server *v1alpha1.AuthorizationServer) compile.Name {
	return compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: server.Spec.Issuer}
}

func decodeEntry[T any](e *internalv1alpha1.Entry) (T, error) {
	if isTooNew(e) {
		var none T
		return none, &versionSkew{condition: managerTooOldCondition(e)}
	}
	doc, err := documents.Decode[T](e.Spec.Format, e.Spec.Document)
	if err != nil {
		return doc, fmt.Errorf("reading Entry %s: %w", e.Name, err)
	}
	return doc, nil
}

// scopeFacts are the Entries by which a client may have its scopes, and the scopes that it may not have.
type resolvedScopes struct {
	entries    []*internalv1alpha1.Entry
	undeclared []string
	refused    []string // their ResourceServer does not allow them to the client
	unreadable []string // a newer manager wrote what decides about them
}

// resolveScopes finds out who declares each scope of a client, and whether that API lets the client have it.
func (op *operator) resolveScopes(ctx context.Context, a *resolvedServer, doc documents.Client) (resolvedScopes, error) {
	var facts resolvedScopes
	for _, scope := range doc.Scopes {
		if oauth.IsBuiltInScope(scope) {
			continue
		}
		entries, allowed, err := op.scopeEntries(ctx, a, doc.Namespace, scope)
		switch {
		case asVersionSkew(err) != nil:
			facts.unreadable = append(facts.unreadable, scope)
		case err != nil:
			return facts, err
		case entries == nil:
			facts.undeclared = append(facts.undeclared, scope)
		case !allowed:
			facts.refused = append(facts.refused, scope)
		default:
			facts.entries = append(facts.entries, entries...)
		}
	}
	return facts, nil
}

// scopeEntries are the claim of a scope and the documents that decide it, nil if nobody declares it; and whether the client may have it.
func (op *operator) scopeEntries(ctx context.Context, a *resolvedServer, clientNamespace, scope string) (entries []*internalv1alpha1.Entry, allowed bool, err error) {
	claimed, err := op.getEntry(ctx, a.object, compile.Name{Space: internalv1alpha1.SpaceScope, Value: scope})
	if err != nil || claimed == nil {
		return nil, false, err
	}
	owned, err := op.listEntries(ctx, claimed.Spec.Owner)
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(owned, func(e internalv1alpha1.Entry) bool {
		return documents.Kind(e.Spec.Format) == documents.KindResourceServer && e.Spec.Owner.UID == claimed.Spec.Owner.UID && e.Spec.ServerUID == a.object.UID
	})
	if i < 0 {
		return nil, false, nil
	}
	rs, err := decodeEntry[documents.ResourceServer](&owned[i])
	if asVersionSkew(err) != nil {
		return nil, false, err
	}
	if err != nil {
		return nil, false, nil //nolint:nilerr // what cannot be read is not served; the ResourceServer's own conditions say so
	}
	itsNamespace, err := op.getEntry(ctx, a.object, compile.Name{Space: internalv1alpha1.SpaceNamespace, Value: rs.Namespace})
	if err != nil || itsNamespace == nil {
		return nil, false, err
	}
	itsLabels, err := decodeEntry[documents.Namespace](itsNamespace)
	if err != nil {
		return nil, false, err
	}
	declared := slices.ContainsFunc(rs.Scopes, func(s documents.Scope) bool { return s.Name == scope })
	if !declared || !policy.EvaluateResourceServer(a.document, known(itsLabels.Labels), rs).Accepted {
		return nil, false, nil
	}
	return []*internalv1alpha1.Entry{claimed, &owned[i], itsNamespace}, policy.AllowsScope(rs, clientNamespace, a.namespaceLabels, scope), nil
}

// known turns "no labels" into a map, since policy takes nil for "nothing is known".
func known(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}

// denial is why policy refuses, in words.
func denial(d policy.Decision) string {
	text := ""
	for i, denied := range d.Denials {
		if i > 0 {
			text += "; "
		}
		if denied.Rule != "" {
			text += fmt.Sprintf("rule %q: ", denied.Rule)
		}
		text += denied.Message
	}
	return text
}
