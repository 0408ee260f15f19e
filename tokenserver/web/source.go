package web

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
)

// Source is where a request comes from: the address that the connection is from, or, if that is a trusted proxy, what the proxy says in
// X-Forwarded-For. Each proxy adds the address that it was asked from on the right, so the list is read from there, and the first address
// that is no trusted proxy's is the source: what stands to the left of it, anybody may have written. Trusted are prefixes in CIDR notation.
//
// It is one IPv4 address, or the /64 of an IPv6 one, which is what one customer gets: addresses in it cost nothing. The zero Prefix, if the
// connection is from no address.
func Source(r *http.Request, trusted []string) netip.Prefix {
	source, ok := address(r.RemoteAddr)
	if !ok {
		return netip.Prefix{}
	}
	proxies := prefixes(trusted)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(source, proxies); i-- {
		hop, ok := address(strings.TrimSpace(hops[i]))
		if !ok {
			break // the proxy says nothing that we understand: whoever comes through it is one source
		}
		source = hop
	}
	bits := 64
	if source.Is4() {
		bits = 32
	}
	prefix, _ := source.Prefix(bits) // of an address without zone, with as many bits
	return prefix
}

// address of an address with or without port; an IPv4 address in the form of an IPv6 one is the IPv4 address.
func address(s string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	alone, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return alone.Unmap().WithZone(""), err == nil
}

func prefixes(trusted []string) []netip.Prefix {
	var all []netip.Prefix
	for _, cidr := range trusted {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			all = append(all, prefix)
		}
	}
	return all
}

func within(a netip.Addr, all []netip.Prefix) bool {
	for _, prefix := range all {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// NoteSource puts the source into the event of the request. Only where a password was wrong, or refused unread: there it tells a defender who
// is guessing, and whom to keep out. Nowhere else, since an address is personal data; and never as a label of a metric, since anyone may come
// with many.
func NoteSource(ctx context.Context, source netip.Prefix) {
	if e := eventOf(ctx); e != nil {
		e.source = source
	}
}
