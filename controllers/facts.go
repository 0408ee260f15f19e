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
type attachment struct {
	server         *v1alpha1.AuthorizationServer
	serverEntry    *internalv1alpha1.Entry
	document       documents.Server
	namespaceEntry *internalv1alpha1.Entry
	labels         map[string]string
}

// attach finds where an object of a namespace is served; refused says why it cannot be, and is undecided otherwise. field is the path of the
// reference. Users live in the server's namespace and are concerned by no rule, so they need no namespace document.
func (op *operator) attach(ctx context.Context, key client.ObjectKey, namespace, field string, rules bool) (a *attachment, refused verdict, err error) {
	var server v1alpha1.AuthorizationServer
	if err := op.Get(ctx, key, &server); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return nil, verdict{}, err
		}
		return nil, fails(v1alpha1.ReasonServerNotFound, "%s: there is no AuthorizationServer %q in namespace %q: create it there, or delete this object and create it with another serverRef, which is immutable",
			field, key.Name, key.Namespace), nil
	}
	if !server.DeletionTimestamp.IsZero() { // what is claimed there now would have to be removed again
		return nil, fails(v1alpha1.ReasonServerNotFound, "%s: the AuthorizationServer %q in namespace %q is being deleted", field, key.Name, key.Namespace), nil
	}
	a = &attachment{server: &server}
	a.serverEntry, err = op.entry(ctx, &server, issuerClaim(&server))
	if err != nil {
		return nil, verdict{}, err
	}
	if refused := serverRefuses(a, field); refused.decided() {
		return nil, refused, nil
	}
	if a.document, err = decodeEntry[documents.Server](a.serverEntry); err != nil {
		return nil, verdict{}, err
	}
	if !rules {
		return a, verdict{}, nil
	}
	a.namespaceEntry, a.labels, err = op.namespaceFacts(ctx, &server, namespace)
	return a, verdict{}, err
}

func serverRefuses(a *attachment, field string) verdict {
	if accepted := meta.FindStatusCondition(a.server.Status.Conditions, v1alpha1.ConditionAccepted); accepted != nil &&
		accepted.Status == metav1.ConditionFalse && (a.serverEntry == nil || accepted.Reason == v1alpha1.ReasonIssuerTaken) {
		return fails(v1alpha1.ReasonServerNotAccepted, "%s: the AuthorizationServer %q is not accepted itself (%s)", field, a.server.Name, accepted.Reason)
	}
	if a.serverEntry == nil || a.serverEntry.Spec.Owner.UID != a.server.UID {
		return waits("waiting for the AuthorizationServer %q", a.server.Name)
	}
	return verdict{}
}

// namespaceFacts makes the document of a namespace current at a server, and returns it.
func (op *operator) namespaceFacts(ctx context.Context, server *v1alpha1.AuthorizationServer, name string) (*internalv1alpha1.Entry, map[string]string, error) {
	var namespace corev1.Namespace
	if err := op.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return nil, nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	doc := compile.Namespace(&namespace)
	e, err := op.claim(ctx, server, compile.Claim{Space: internalv1alpha1.SpaceNamespace, Value: name},
		compile.Owner(kindNamespace, &namespace), documents.Format(doc), doc)
	if err != nil {
		return nil, nil, err
	}
	if namespace.Labels == nil {
		return e, map[string]string{}, nil
	}
	return e, namespace.Labels, nil
}

func issuerClaim(server *v1alpha1.AuthorizationServer) compile.Claim {
	return compile.Claim{Space: internalv1alpha1.SpaceIdentity, Value: server.Spec.Issuer}
}

func decodeEntry[T any](e *internalv1alpha1.Entry) (T, error) {
	if tooNew(e) {
		var none T
		return none, &versionSkew{verdict: managerTooOld(e)}
	}
	doc, err := documents.Decode[T](e.Spec.Format, e.Spec.Document)
	if err != nil {
		return doc, fmt.Errorf("reading Entry %s: %w", e.Name, err)
	}
	return doc, nil
}

// scopeFacts are the Entries by which a client may have its scopes, and the scopes that it may not have.
type scopeFacts struct {
	entries    []*internalv1alpha1.Entry
	undeclared []string
	refused    []string // their ResourceServer does not allow them to the client
	unread     []string // a newer manager wrote what decides about them
}

// resolveScopes finds out who declares each scope of a client, and whether that API lets the client have it.
func (op *operator) resolveScopes(ctx context.Context, a *attachment, doc documents.Client) (scopeFacts, error) {
	var facts scopeFacts
	for _, scope := range doc.Scopes {
		if oauth.IsBuiltInScope(scope) {
			continue
		}
		entries, allowed, err := op.scopeEntries(ctx, a, doc.Namespace, scope)
		switch {
		case asVersionSkew(err) != nil:
			facts.unread = append(facts.unread, scope)
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
func (op *operator) scopeEntries(ctx context.Context, a *attachment, clientNamespace, scope string) (entries []*internalv1alpha1.Entry, allowed bool, err error) {
	claimed, err := op.entry(ctx, a.server, compile.Claim{Space: internalv1alpha1.SpaceScope, Value: scope})
	if err != nil || claimed == nil {
		return nil, false, err
	}
	owned, err := op.entriesOf(ctx, claimed.Spec.Owner)
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(owned, func(e internalv1alpha1.Entry) bool {
		return documents.Kind(e.Spec.Format) == documents.KindResourceServer && e.Spec.Owner.UID == claimed.Spec.Owner.UID && e.Spec.ServerUID == a.server.UID
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
	itsNamespace, err := op.entry(ctx, a.server, compile.Claim{Space: internalv1alpha1.SpaceNamespace, Value: rs.Namespace})
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
	return []*internalv1alpha1.Entry{claimed, &owned[i], itsNamespace}, policy.AllowsScope(rs, clientNamespace, a.labels, scope), nil
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
