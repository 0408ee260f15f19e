package interaction

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

const (
	// MaxDeparture is how many bytes a flow may have that waits in a cookie. In base64url they are a
	// third more: browsers keep cookies of 4 KiB.
	MaxDeparture = 2560
	// departureLifetime is how long a user may take at an identity provider.
	departureLifetime = 10 * time.Minute
	// maxDepartures and maxDepartureCookies are how many departures a browser has at once, and how
	// many bytes of a request they take: servers accept headers of 8 KiB.
	maxDepartures, maxDepartureCookies = 3, 4 << 10
)

// departureVersion is the first byte of an encoded departure.
const departureVersion = 1

// cookieDeparture is the first part of the kind of the cookie of a departure. The second is a hash of
// its state.
const cookieDeparture = "departure-"

// Departure is a flow whose user is at an identity provider. The server does not keep it: it waits in
// a cookie of the browser, sealed.
type Departure struct {
	// ProviderUID is the UID of the identity provider.
	ProviderUID string
	oidc.Pending
}

// FitsInDeparture reports whether the flow may wait in a cookie.
func (s *Flows) FitsInDeparture(f *Flow) bool { return len(f.encode()) <= MaxDeparture }

// Depart makes the browser keep a flow while its user is at an identity provider. Departures that are
// too many are forgotten, the oldest first.
func (s *Flows) Depart(w http.ResponseWriter, r *http.Request, f *ResolvedFlow, d Departure) error {
	out := []byte{departureVersion}
	out = appendFields(out, d.fields())
	sealed, err := s.Keys.Seal(keys.PurposeDeparture, append(out, f.encode()...))
	if err != nil {
		return fmt.Errorf("sealing a departure: %w", err)
	}
	cookies := web.CookiesOf(f.Server.Issuer)
	kind := departureKind(d.State)
	size := len(cookies.Name(kind)) + len(sealed)
	for i, other := range s.departuresOf(r, cookies) {
		size += other.size
		if i+1 >= maxDepartures || size > maxDepartureCookies {
			cookies.Delete(w, other.kind)
		}
	}
	cookies.Set(w, kind, sealed, departureLifetime)
	return nil
}

// departureCookie is the cookie of a departure in a request.
type departureCookie struct {
	kind string
	size int
	at   int64 // 0: it cannot be opened
}

// departuresOf returns the departures of the browser, the latest first.
func (s *Flows) departuresOf(r *http.Request, cookies web.Cookies) []departureCookie {
	var all []departureCookie
	prefix := cookies.Name("")
	for _, cookie := range r.Cookies() {
		kind, ok := strings.CutPrefix(cookie.Name, prefix)
		if !ok || !strings.HasPrefix(kind, cookieDeparture) {
			continue
		}
		found := departureCookie{kind: kind, size: len(cookie.Name) + len(cookie.Value)}
		if d, _, err := s.openDeparture(cookie.Value); err == nil {
			found.at = d.DepartedAt
		}
		all = append(all, found)
	}
	slices.SortStableFunc(all, func(a, b departureCookie) int { return cmp.Compare(b.at, a.at) })
	return all
}

// Return returns the departure with a state, and its flow, to the browser that it is of. The provider
// is the UID of the one whose address the browser was sent back to. It ends the departure: a second
// answer finds none. An error that the browser can cause is a *web.PageError.
func (s *Flows) Return(w http.ResponseWriter, r *http.Request, state, providerUID string) (*ResolvedFlow, Departure, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return nil, Departure{}, web.NotReady()
	}
	unknown := &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	cookies, kind := web.CookiesOf(server.Issuer), departureKind(state)
	d, f, err := s.openDeparture(cookies.Get(r, kind))
	if err != nil || subtle.ConstantTimeCompare([]byte(d.State), []byte(state)) != 1 || d.ProviderUID != providerUID {
		return nil, Departure{}, unknown
	}
	if age := s.Now().Sub(time.Unix(d.DepartedAt, 0)); age > departureLifetime || age < -time.Minute {
		return nil, Departure{}, &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowExpired}
	}
	resolved, err := s.accept(r, server, f)
	if err != nil {
		return nil, Departure{}, err
	}
	cookies.Delete(w, kind)
	return resolved, d, nil
}

func (d *Departure) fields() []any {
	return []any{&d.ProviderUID, &d.State, &d.Nonce, &d.Verifier, &d.DepartedAt, &d.MaxAge}
}

func (s *Flows) openDeparture(sealed string) (Departure, *Flow, error) {
	data, err := s.Keys.Open(keys.PurposeDeparture, sealed)
	if err != nil {
		return Departure{}, nil, err
	}
	var d Departure
	r := reader{rest: data}
	version := r.take(1)
	if r.failed || version[0] != departureVersion {
		return Departure{}, nil, errMalformed
	}
	r.fields(d.fields())
	if r.failed || d.State == "" {
		return Departure{}, nil, errMalformed
	}
	f, err := decodeFlow(r.rest)
	return d, f, err
}

func departureKind(state string) string {
	hash := sha256.Sum256([]byte(state))
	return cookieDeparture + hex.EncodeToString(hash[:8])
}
