package controllers

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// maxRevoked is how many revoked credentials of a client are remembered. Those that
// spec.secret.revokedCredentials lists, which are fewer, always are, and of others the latest.
const maxRevoked = 256

// revoke removes from the credentials of a client those that are revoked: by their id, or because
// they have the value of one that was. It returns the rest, all revoked credentials to remember, and
// those that are revoked now.
func revoke(credentials []documents.Credential, remembered []documents.RevokedCredential, ids []string) (
	kept []documents.Credential, revoked []documents.RevokedCredential, added []string,
) {
	revoked = slices.Clone(remembered)
	for _, c := range credentials {
		if isRevoked(revoked, c.SHA256) || !isRevokedInFirstFormat(c) && !slices.Contains(ids, c.ID) {
			continue
		}
		revoked = append(revoked, documents.RevokedCredential{ID: c.ID, SHA256: c.SHA256})
		if !isRevokedInFirstFormat(c) {
			added = append(added, c.ID)
		}
	}
	for _, c := range credentials {
		if !isRevoked(revoked, c.SHA256) {
			kept = append(kept, c)
		}
	}
	surplus := len(revoked) - maxRevoked
	revoked = slices.DeleteFunc(revoked, func(c documents.RevokedCredential) bool {
		if surplus <= 0 || slices.Contains(ids, c.ID) {
			return false
		}
		surplus--
		return true
	})
	return kept, revoked, added
}

// isRevoked reports whether a hash is that of a revoked credential.
func isRevoked(revoked []documents.RevokedCredential, hash string) bool {
	return slices.ContainsFunc(revoked, func(c documents.RevokedCredential) bool { return c.SHA256 == hash })
}

// findUnknown returns the ids in spec.secret.revokedCredentials of which the client has no credential
// and had none that is remembered.
func findUnknown(revoked []documents.RevokedCredential, ids []string) (unknown []string) {
	for _, id := range ids {
		if !slices.ContainsFunc(revoked, func(c documents.RevokedCredential) bool { return c.ID == id }) {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

// revokedIDs returns spec.secret.revokedCredentials.
func revokedIDs(c *v1alpha1.OAuthClient) []string {
	if c.Spec.Secret == nil {
		return nil
	}
	return c.Spec.Secret.RevokedCredentials
}

// revokedRetireAfter is when a credential ended that is revoked, as the first format says it: in the
// first second of 1970, in which no other ended.
const revokedRetireAfter = 1

// isRevokedInFirstFormat reports whether a credential is one that inFirstFormat has added.
func isRevokedInFirstFormat(c documents.Credential) bool {
	return c.State == documents.CredentialRetiring && c.RetireAfter == revokedRetireAfter
}

// inFirstFormat returns a document that says the same of revoked credentials as doc, without the
// field of a later format: as Retiring credentials that ended long ago, which every token server
// refuses. A manager that does not know of revoked credentials would forget them.
func inFirstFormat(doc documents.Client) documents.Client {
	doc.Credentials = slices.Clone(doc.Credentials)
	for _, c := range doc.RevokedCredentials {
		doc.Credentials = append(doc.Credentials, documents.Credential{
			ID: c.ID, SHA256: c.SHA256, State: documents.CredentialRetiring, RetireAfter: revokedRetireAfter,
		})
	}
	doc.RevokedCredentials = nil
	return doc
}

// narrowInOldFormat writes into the Entry what the object forbids, if its document cannot be
// replaced until the token servers are upgraded: the client is suspended, and credentials are
// revoked. It returns an error if that failed, which is more urgent than the upgrade.
func (r *clientReconciler) narrowInOldFormat(ctx context.Context, s *clientPass) error {
	if s.entry == nil {
		return nil
	}
	old, err := decodeEntry[documents.Client](s.entry)
	if err != nil {
		return err
	}
	old.Suspended = old.Suspended || s.client.Spec.Suspended
	old.Credentials, old.RevokedCredentials, _ = revoke(old.Credentials, old.RevokedCredentials, revokedIDs(s.client))
	if s.entry.Spec.Format == documents.FormatClient {
		old = inFirstFormat(old)
	}
	e, err := r.replaceDocument(ctx, s.entry, old)
	if err == nil {
		s.entry = e
	}
	return err
}

// ensureDocument writes the document of a client. While a token server runs that does not read the
// field with the revoked credentials, they are written as the first format can say it.
func (r *clientReconciler) ensureDocument(ctx context.Context, s *clientPass, seen *internalv1alpha1.Entry) (*internalv1alpha1.Entry, error) {
	owner := compile.OwnerOf(s.client)
	e, err := r.entries.EnsureDocument(ctx, s.server.object, s.name(), owner, s.document, seen)
	if !isUpgradePending(err) || len(s.document.RevokedCredentials) == 0 {
		return e, err
	}
	first := inFirstFormat(s.document)
	if documents.Format(first) != documents.FormatClient {
		return e, err
	}
	s.requeueAt = earliest(s.requeueAt, asVersionSkew(err).until)
	return r.entries.EnsureDocument(ctx, s.server.object, s.name(), owner, first, seen)
}

// recordRevocations records an event about credentials that are revoked now.
func (r *clientReconciler) recordRevocations(c *v1alpha1.OAuthClient, ids []string) {
	if len(ids) > 0 {
		r.events.Eventf(c, nil, corev1.EventTypeNormal, reasonCredentialRevoked, eventAction,
			"no token server accepts %s any more, since spec.secret.revokedCredentials lists it", strings.Join(ids, ", "))
	}
}
