package registry

import "time"

// previousTolerance is how long after its time a previous method is still accepted. Normally its end
// is when the manager removes it from the document, by one clock for all replicas. The clock of this
// replica, which may be minutes off, decides only while the manager is down.
const previousTolerance = 10 * time.Minute

// WithAuthMethod returns the client as it is when it uses an authentication method: with the keys and
// identities of the method, and with what the rule allows that accepts the client with it. It returns
// false unless the method is that of the client, or the one that it had before: for a while after a
// change, if the rules would accept the client with it now.
func (c *Client) WithAuthMethod(method string) (*Client, bool) {
	if method == c.AuthMethod {
		return c, true
	}
	p := c.PreviousAuth
	if p == nil || p.Method != method || c.IsPublic() || !c.previous.accepted || !c.registry.now().Before(time.Unix(p.Until, 0).Add(previousTolerance)) {
		return nil, false
	}
	return c.previous, true
}
