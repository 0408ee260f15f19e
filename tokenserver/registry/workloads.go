package registry

import (
	"errors"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// ErrAmbiguousClient means that more than one client has what a request says of its client.
var ErrAmbiguousClient = errors.New("more than one client")

// serviceAccountIndex has the clients that list a ServiceAccount of their own namespace, by the
// subject of its tokens and by the UID of the client. A client of another namespace is not among
// them, so it cannot take a workload's requests by listing its ServiceAccount.
type serviceAccountIndex map[string]map[string]*clientRecord

func (i serviceAccountIndex) add(c *clientRecord) {
	for _, subject := range ownServiceAccounts(c.document) {
		if i[subject] == nil {
			i[subject] = map[string]*clientRecord{}
		}
		i[subject][c.document.UID] = c
	}
}

func (i serviceAccountIndex) remove(c *clientRecord) {
	for _, subject := range ownServiceAccounts(c.document) {
		if delete(i[subject], c.document.UID); len(i[subject]) == 0 {
			delete(i, subject)
		}
	}
}

// ownServiceAccounts returns the subjects of the ServiceAccounts of its own namespace that a client
// lists.
func ownServiceAccounts(doc *documents.Client) (subjects []string) {
	identities := doc.WorkloadIdentities
	if doc.PreviousAuth != nil {
		identities = slices.Concat(identities, doc.PreviousAuth.WorkloadIdentities)
	}
	for _, identity := range identities {
		if namespace, ok := documents.ServiceAccountNamespace(identity.Subject); ok && identity.Issuer == "" && namespace == doc.Namespace {
			subjects = append(subjects, identity.Subject)
		}
	}
	return subjects
}

// ClientOfServiceAccount returns the one client of the ServiceAccount's own namespace that lists the
// ServiceAccount with this subject and UID, and that may be served now. It returns false if there is
// none, and ErrAmbiguousClient if there are several.
func (r *Registry) ClientOfServiceAccount(issuer documents.WorkloadIssuer, subject, uid string) (found *Client, ok bool, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, record := range r.serviceAccounts[subject] {
		c, accepted := r.evaluate(record)
		if !accepted {
			continue
		}
		c, lists := c.WithIdentity(issuer, subject, uid)
		switch {
		case !lists:
			continue
		case found != nil:
			return nil, false, ErrAmbiguousClient
		}
		found = c
	}
	return found, found != nil, nil
}

// WithIdentity returns the client as it is when a workload authenticates as it: the subject of a token
// of the issuer, and the UID of the ServiceAccount in it. It returns false unless the client
// authenticates by WorkloadIdentity and lists the workload.
func (c *Client) WithIdentity(issuer documents.WorkloadIssuer, subject, uid string) (*Client, bool) {
	c, ok := c.WithAuthMethod(oauth.AuthMethodWorkloadIdentity)
	if !ok || !slices.ContainsFunc(c.WorkloadIdentities, func(i documents.WorkloadIdentity) bool { return i.Is(issuer, subject, uid) }) {
		return nil, false
	}
	return c, true
}
