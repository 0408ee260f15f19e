package web

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Source returns the address that a request comes from: that of the connection or, if a trusted
// proxy opened it, the rightmost one in X-Forwarded-For that is not a trusted proxy's. Each proxy
// appends the address of its client, so a client may have written what precedes. trusted has
// prefixes in CIDR notation.
//
// The result is one IPv4 address, or the /64 of an IPv6 address, since one customer gets a /64. It
// is the zero Prefix if the connection has no address.
func Source(r *http.Request, trusted []string) netip.Prefix {
	source, ok := parseAddress(r.RemoteAddr)
	if !ok {
		return netip.Prefix{}
	}
	proxies := parsePrefixes(trusted)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && containsAddress(proxies, source); i-- {
		hop, ok := parseAddress(strings.TrimSpace(hops[i]))
		if !ok {
			break // not an address: all clients of the proxy are one source
		}
		source = hop
	}
	bits := 64
	if source.Is4() {
		bits = 32
	}
	prefix, _ := source.Prefix(bits) // an address without zone has as many bits
	return prefix
}

// parseAddress parses an address with or without port. It returns an IPv4-mapped IPv6 address as
// IPv4.
func parseAddress(s string) (netip.Addr, bool) {
	if addrPort, err := netip.ParseAddrPort(s); err == nil {
		return addrPort.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

func parsePrefixes(cidrs []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

func containsAddress(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// NoteSource records the source of the request for the log. It is only for requests whose password
// was wrong or was not checked: there the operator needs it to find an attacker. An address is
// personal data, so it is not logged otherwise; and it is no label of a metric, since there may be
// many.
func NoteSource(ctx context.Context, source netip.Prefix) {
	if e := eventOf(ctx); e != nil {
		e.source = source
	}
}
