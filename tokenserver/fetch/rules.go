package fetch

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// rules say which private addresses may be connected to, and whom to trust there.
type rules struct {
	document        documents.Fetch
	allowedNetworks []netip.Prefix
	jwksHosts       []string
	// privateRoots are the roots for private addresses; nil: those of the system.
	privateRoots *x509.CertPool
}

// rules returns the rules of the server's document. They are built anew when it changes.
func (c *Client) rules() *rules {
	var document documents.Fetch
	if d := c.Document().Fetch; d != nil {
		document = *d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.built == nil || !equalRules(c.built.document, document) {
		c.built = newRules(document)
		c.revision++
	}
	return c.built
}

// Revision returns a number that changes when the rules change. What was fetched under others may
// not be allowed any more.
func (c *Client) Revision() int {
	c.rules()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revision
}

func equalRules(a, b documents.Fetch) bool {
	return a.CABundle == b.CABundle && slices.Equal(a.AllowedNetworks, b.AllowedNetworks) && slices.Equal(a.JWKSHosts, b.JWKSHosts)
}

// newRules leaves out what cannot be parsed, which allows less.
func newRules(document documents.Fetch) *rules {
	r := &rules{document: document}
	for _, network := range document.AllowedNetworks {
		if prefix, err := netip.ParsePrefix(network); err == nil {
			r.allowedNetworks = append(r.allowedNetworks, prefix.Masked())
		}
	}
	for _, host := range document.JWKSHosts {
		r.jwksHosts = append(r.jwksHosts, canonicalHost(host))
	}
	if document.CABundle != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM([]byte(document.CABundle))
		r.privateRoots = roots
	}
	return r
}

// canonicalHost returns a host in lower case, without the dot of a root and the brackets of an IPv6
// address.
func canonicalHost(host string) string {
	return strings.Trim(strings.TrimSuffix(strings.ToLower(host), "."), "[]")
}

// allows reports whether the host may be connected to at the address, and whether that is private.
func (r *rules) allows(purpose Purpose, host string, address netip.Addr) (allowed, private bool) {
	switch kindOf(address) {
	case public:
		return true, false
	case never:
		return false, true
	}
	if purpose == ForClient {
		return slices.Contains(r.jwksHosts, canonicalHost(host)), true
	}
	return slices.ContainsFunc(r.allowedNetworks, func(p netip.Prefix) bool { return p.Contains(address) }), true
}

type addressKind int

const (
	public  addressKind = iota
	private             // only where it is listed
	never
)

// kindOf returns the kind of an address. Whatever is not known to be public is at least private.
func kindOf(address netip.Addr) addressKind {
	inAny := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(address) })
	}
	switch {
	case address == netip.IPv6Loopback():
		return private
	case !address.IsValid() || address.Zone() != "" || inAny(neverNetworks):
		return never
	case inAny(privateNetworks) || address.Is6() && !globalUnicast.Contains(address):
		return private
	default:
		return public
	}
}

// globalUnicast is what IANA has assigned of IPv6 so far.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// neverNetworks cannot be listed: link-local addresses, among them those of the metadata services
// of clouds, the metadata addresses elsewhere, and addresses that embed or stand for others
// (IPv4-mapped and -compatible, NAT64, 6to4, Teredo), which would be another spelling of what is
// forbidden. Multicast and reserved addresses are no hosts.
var neverNetworks = prefixes(
	"0.0.0.0/8", "169.254.0.0/16", "192.0.0.192/32", "168.63.129.16/32", "100.100.100.200/32", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fe80::/10", "fec0::/10",
	"fd00:ec2::254/128", "fd20:ce::254/128", "ff00::/8", "100::/64",
)

// privateNetworks may be listed (RFC 6890 and what it was updated by).
var privateNetworks = prefixes(
	"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24",
	"2001::/23", "2001:db8::/32", "3fff::/20", "fc00::/7",
)

func prefixes(all ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, 0, len(all))
	for _, p := range all {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	return parsed
}
