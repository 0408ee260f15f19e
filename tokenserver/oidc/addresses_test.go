package oidc_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc/oidctest"
)

// dials are the addresses that a relying party connects to.
type dials struct {
	mu        sync.Mutex
	addresses []string
}

// watchDials records to where the relying party connects.
func (rp *relyingParty) watchDials() *dials {
	d := &dials{}
	rp.providers.Client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		d.mu.Lock()
		d.addresses = append(d.addresses, address)
		d.mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return d
}

// others returns the addresses that are not the upstream's.
func (d *dials) others(upstream string) (others []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, address := range d.addresses {
		if address != strings.TrimPrefix(upstream, "https://") {
			others = append(others, address)
		}
	}
	return others
}

func TestAnEndpointAtAnAddressThatIsNotListedIsNotConnectedToAndTheAddressIsNamed(t *testing.T) {
	for _, endpoint := range []string{"token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		for _, address := range []string{"10.0.0.1", "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fe80::1", "::1", "::ffff:127.0.0.1", "64:ff9b::a00:1"} {
			rp := newRelyingParty(t)
			rp.document.OIDC.UserInfo = true
			dialed := rp.watchDials()
			rp.lookup["inside.example"] = address
			rp.upstream.Behave(oidctest.Behaviour{Discovery: func(d map[string]any) { d[endpoint] = "https://inside.example:8443/x" }})
			_, err := rp.signIn(anyAge)
			checkReason(t, endpoint+" at "+address, err, oidc.Away)
			if others := dialed.others(rp.upstream.Issuer); strings.HasPrefix(address, "::ffff:") {
				// An IPv4 address in IPv6 form is that address, which is listed.
				for _, other := range others {
					if other != "127.0.0.1:8443" {
						t.Errorf("%s at %s: connects to %s", endpoint, address, other)
					}
				}
				continue
			} else if len(others) > 0 {
				t.Errorf("%s at %s: connects to %q", endpoint, address, others)
			}
			problems := rp.providers.Problems([]documents.IdentityProvider{rp.document})
			if len(problems) != 1 || problems[0].Address != address || problems[0].ProviderUID != rp.document.UID {
				t.Errorf("%s at %s: the problems are %+v", endpoint, address, problems)
			}
		}
	}
}

func TestAProviderAtAnAddressThatIsNotListedIsNotConnectedTo(t *testing.T) {
	rp := newRelyingParty(t)
	dialed := rp.watchDials()
	rp.fetch = &documents.Fetch{}
	_, err := rp.signIn(anyAge)
	checkReason(t, "not listed", err, oidc.Away)
	if others := dialed.others(""); len(others) > 0 {
		t.Errorf("connects to %q", others)
	}
	problems := rp.providers.Problems([]documents.IdentityProvider{rp.document})
	if len(problems) != 1 || problems[0].Reason != "Unreachable" || problems[0].Address != "127.0.0.1" {
		t.Errorf("the problems are %+v", problems)
	}
	rp.fetch = rp.upstream.Fetch() // a change of the rules counts at once
	if _, err := rp.signIn(anyAge); err != nil {
		t.Error(err)
	}
}

// The target of a redirect would get the client secret, the code or an access token.
func TestARedirectIsNotFollowedAndTheSecretGoesNowhere(t *testing.T) {
	for _, path := range []string{"/.well-known/openid-configuration", "/token", "/userinfo", "/jwks"} {
		var got []string
		target := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.URL.String()) }))
		rp := newRelyingParty(t)
		rp.document.OIDC.UserInfo = true
		dialed := rp.watchDials()
		rp.upstream.Behave(oidctest.Behaviour{Handle: map[string]http.HandlerFunc{path: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL+"/stolen", http.StatusTemporaryRedirect)
		}}})
		_, err := rp.signIn(anyAge)
		checkReason(t, path, err, oidc.Away)
		if others := dialed.others(rp.upstream.Issuer); len(others) > 0 || len(got) > 0 {
			t.Errorf("%s: connects to %q, which got %q", path, others, got)
		}
		target.Close()
	}
}

func TestAProviderIsTrustedByItsBundleAlone(t *testing.T) {
	for name, bundle := range map[string]string{"the public roots": "", "a bundle without a certificate": "none"} {
		rp := newRelyingParty(t)
		rp.fetch.CABundle = rp.document.CABundle // that is of workload issuers and clients
		rp.document.CABundle = bundle
		_, _, err := rp.providers.Depart(t.Context(), rp.document, anyAge)
		checkReason(t, name, err, oidc.Away)
	}
}
