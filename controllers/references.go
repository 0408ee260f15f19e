package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// resolvedServer is the AuthorizationServer to which an object refers, and the namespace of the
// object. What policy needs of both is read from their Entries and not from the objects, so that a
// decision here is the one that a token server makes with the same documents.
type resolvedServer struct {
	object          *v1alpha1.AuthorizationServer
	entry           *internalv1alpha1.Entry
	document        documents.Server
	namespaceEntry  *internalv1alpha1.Entry
	namespaceLabels map[string]string
}

// withNames returns what package names needs of the server.
func (s *resolvedServer) withNames() names.Server {
	return names.Server{AuthorizationServer: s.object, Document: s.document}
}

// resolveServer reads the AuthorizationServer to which an object of a namespace refers in
// spec.serverRef. If the object cannot be served there, refused says why, and is not set otherwise.
// withNamespace is false for OAuthUsers: they are in the server's namespace, and no rule selects
// them.
func (op *operator) resolveServer(
	ctx context.Context, key client.ObjectKey, namespace string, withNamespace bool,
) (s *resolvedServer, refused condition, err error) {
	if !op.isWatched(key.Namespace) {
		return nil, falseCondition(v1alpha1.ReasonServerNotFound,
			"spec.serverRef: the operator does not work in namespace %q: have it added to the manager's flag --namespaces", key.Namespace), nil
	}
	var server v1alpha1.AuthorizationServer
	if err := op.Get(ctx, key, &server, client.UnsafeDisableDeepCopy); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return nil, condition{}, err
		}
		return nil, falseCondition(v1alpha1.ReasonServerNotFound,
			"spec.serverRef: there is no AuthorizationServer %q in namespace %q: create it there, or delete this object and create it with another serverRef, which is immutable",
			key.Name, key.Namespace), nil
	}
	if !server.DeletionTimestamp.IsZero() { // an Entry that is created now would have to be deleted again
		return nil, falseCondition(v1alpha1.ReasonServerNotFound,
			"spec.serverRef: the AuthorizationServer %q in namespace %q is being deleted", key.Name, key.Namespace), nil
	}
	s = &resolvedServer{object: &server}
	s.entry, err = op.entries.Get(ctx, &server, compile.IssuerName(&server))
	if err != nil {
		return nil, condition{}, err
	}
	if refused := findServerProblem(s); refused.isSet() {
		return nil, refused, nil
	}
	if s.document, err = decodeShared[documents.Server](&op.decoded, s.entry); err != nil {
		return nil, condition{}, err
	}
	if withNamespace {
		s.namespaceEntry, s.namespaceLabels, err = op.ensureNamespaceEntry(ctx, &server, namespace)
	}
	return s, condition{}, err
}

func findServerProblem(s *resolvedServer) condition {
	accepted := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted != nil && accepted.Status == metav1.ConditionFalse && (s.entry == nil || accepted.Reason == v1alpha1.ReasonIssuerTaken) {
		return falseCondition(v1alpha1.ReasonServerNotAccepted,
			"spec.serverRef: the AuthorizationServer %q is not accepted itself (%s)", s.object.Name, accepted.Reason)
	}
	if s.entry == nil || s.entry.Spec.Owner.UID != s.object.UID {
		return pendingCondition("waiting for the AuthorizationServer %q", s.object.Name)
	}
	return condition{}
}

// ensureNamespaceEntry writes the document of a namespace at a server, and returns its Entry and
// the labels of the namespace.
func (op *operator) ensureNamespaceEntry(
	ctx context.Context, server *v1alpha1.AuthorizationServer, name string,
) (*internalv1alpha1.Entry, map[string]string, error) {
	var namespace corev1.Namespace
	if err := op.Get(ctx, client.ObjectKey{Name: name}, &namespace, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	e, err := op.entries.EnsureLatest(ctx, server, compile.Name{Space: internalv1alpha1.SpaceNamespace, Value: name},
		compile.OwnerOf(&namespace), compile.Namespace(&namespace))
	if err != nil {
		return nil, nil, err
	}
	return e, compile.KnownLabels(namespace.Labels), nil
}

// decodeEntry decodes the document of an Entry. The error is a versionSkew if this manager does not
// know its format.
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

// decodedEntries are documents that the passes over many objects need, as they were decoded last: those
// of servers, of the APIs that declare scopes, and of namespaces.
type decodedEntries struct {
	mu      sync.Mutex
	byEntry map[types.UID]decodedEntry
}

// decodedEntry is the document of an Entry, and the text that it was decoded from.
type decodedEntry struct {
	format, text string
	document     any
}

// maxDecodedEntries is of how many Entries decodedEntries has the documents, some of which may be gone.
const maxDecodedEntries = 1000

// decodeShared is decodeEntry for an Entry whose document many passes need. The caller must not change
// what the document refers to.
func decodeShared[T any](known *decodedEntries, e *internalv1alpha1.Entry) (T, error) {
	known.mu.Lock()
	decoded := known.byEntry[e.UID]
	known.mu.Unlock()
	if document, ok := decoded.document.(T); ok && decoded.format == e.Spec.Format && decoded.text == e.Spec.Document {
		return document, nil
	}
	document, err := decodeEntry[T](e)
	if err == nil {
		known.add(e, document)
	}
	return document, err
}

func (d *decodedEntries) add(e *internalv1alpha1.Entry, document any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byEntry == nil || len(d.byEntry) >= maxDecodedEntries {
		d.byEntry = map[types.UID]decodedEntry{}
	}
	d.byEntry[e.UID] = decodedEntry{e.Spec.Format, e.Spec.Document, document}
}

// resolvedScopes are the Entries that let a client have its scopes, and the scopes that it cannot
// have.
type resolvedScopes struct {
	entries    []*internalv1alpha1.Entry
	undeclared []string
	refused    []string // their ResourceServer does not allow them to the client
	unreadable []string // a newer manager wrote the documents that decide about them
}

// resolveScopes finds the ResourceServer that declares each scope of a client, and whether it
// allows the scope to the client.
func (op *operator) resolveScopes(ctx context.Context, server *resolvedServer, doc documents.Client) (resolvedScopes, error) {
	var scopes resolvedScopes
	for _, scope := range doc.Scopes {
		if oauth.IsBuiltInScope(scope) {
			continue
		}
		entries, allowed, err := op.resolveScope(ctx, server, doc.Namespace, scope)
		switch {
		case asVersionSkew(err) != nil:
			scopes.unreadable = append(scopes.unreadable, scope)
		case err != nil:
			return scopes, err
		case entries == nil:
			scopes.undeclared = append(scopes.undeclared, scope)
		case !allowed:
			scopes.refused = append(scopes.refused, scope)
		default:
			scopes.entries = append(scopes.entries, entries...)
		}
	}
	return scopes, nil
}

// resolveScope returns the Entries of a scope, of the ResourceServer that has it and of the
// namespace of that, or nil if no ResourceServer declares the scope; and whether a client may have
// it.
func (op *operator) resolveScope(
	ctx context.Context, server *resolvedServer, clientNamespace, scope string,
) (entries []*internalv1alpha1.Entry, allowed bool, err error) {
	scopeEntry, err := op.entries.Get(ctx, server.object, compile.Name{Space: internalv1alpha1.SpaceScope, Value: scope})
	if err != nil || scopeEntry == nil {
		return nil, false, err
	}
	owned, err := op.entries.List(ctx, scopeEntry.Spec.Owner)
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(owned, func(e internalv1alpha1.Entry) bool {
		return documents.Kind(e.Spec.Format) == documents.KindResourceServer && e.Spec.Owner.UID == scopeEntry.Spec.Owner.UID && e.Spec.ServerUID == server.object.UID
	})
	if i < 0 {
		return nil, false, nil
	}
	api, err := decodeShared[documents.ResourceServer](&op.decoded, &owned[i])
	if asVersionSkew(err) != nil {
		return nil, false, err
	}
	if err != nil {
		return nil, false, nil //nolint:nilerr // what cannot be read is not served; the ResourceServer's own conditions say so
	}
	namespaceEntry, err := op.entries.Get(ctx, server.object, compile.Name{Space: internalv1alpha1.SpaceNamespace, Value: api.Namespace})
	if err != nil || namespaceEntry == nil {
		return nil, false, err
	}
	namespace, err := decodeShared[documents.Namespace](&op.decoded, namespaceEntry)
	if err != nil {
		return nil, false, err
	}
	declared := slices.ContainsFunc(api.Scopes, func(s documents.Scope) bool { return s.Name == scope })
	if !declared || !policy.EvaluateResourceServer(server.document, compile.KnownLabels(namespace.Labels), api).Accepted {
		return nil, false, nil
	}
	return []*internalv1alpha1.Entry{scopeEntry, &owned[i], namespaceEntry}, policy.AllowsScope(api, clientNamespace, server.namespaceLabels, scope), nil
}

// describeDenials says why policy refuses an object, rule by rule.
func describeDenials(d policy.Decision) string {
	var list []string
	for _, denied := range d.Denials {
		if denied.Rule != "" {
			list = append(list, fmt.Sprintf("rule %q: %s", denied.Rule, denied.Message))
		} else {
			list = append(list, denied.Message)
		}
	}
	return strings.Join(list, "; ")
}

// notAllowed returns the condition of an object that policy refuses. All denials are about one field of
// the server; it is empty if the server has none, and they say themselves what to do.
func notAllowed(d policy.Decision) condition {
	if field := d.Denials[0].ServerField; field != "" {
		return falseCondition(v1alpha1.ReasonNotAllowedByServer,
			"%s (ask for less, or have the server's owner allow it in spec.%s)", describeDenials(d), field)
	}
	return falseCondition(v1alpha1.ReasonNotAllowedByServer, "%s", describeDenials(d))
}
