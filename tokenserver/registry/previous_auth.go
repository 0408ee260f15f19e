package registry

import (
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/policy"
)

// previousTolerance is how long after its time a previous method is still accepted. Normally its end
// is when the manager removes it from the document, by one clock for all replicas. The clock of this
// replica, which may be minutes off, decides only while the manager is down.
const previousTolerance = 10 * time.Minute

// Authentication returns the client with the keys and identities of an authentication method. It
// returns false unless the method is that of the client, or the one that it had before: for a while
// after a change, if the rules would accept the client with it now.
func (c *Client) Authentication(method string) (documents.Client, bool) {
	if method == c.AuthMethod {
		return c.Client, true
	}
	p := c.PreviousAuth
	if p == nil || p.Method != method || c.IsPublic() || !c.previousAllowed || !c.registry.now().Before(time.Unix(p.Until, 0).Add(previousTolerance)) {
		return documents.Client{}, false
	}
	return c.AsBefore(), true
}

// allowsPrevious reports whether the rules accept a client with its previous method. The caller holds
// the lock.
func (r *Registry) allowsPrevious(doc documents.Client, labels map[string]string, now time.Time) bool {
	return doc.PreviousAuth != nil && policy.EvaluateClient(r.server.document, labels, doc.AsBefore(), now).Accepted
}
