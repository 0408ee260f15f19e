package grant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
)

// maxCodeLifetime is the longest that a server may let codes live (RFC 6749 section 4.1.2).
const maxCodeLifetime = 10 * time.Minute

// Authorization is what the user authorized: the content of a code. The names of its JSON are short because a code is part of a URL.
type Authorization struct {
	ClientID    string `json:"c"`
	ClientUID   string `json:"cu"`
	UserUID     string `json:"u"`
	Subject     string `json:"s"`
	UserEpoch   string `json:"e"`
	SessionHash string `json:"h"`
	// SessionEnds is the absolute end of the session; nothing but an offline grant outlives it.
	SessionEnds time.Time `json:"he"`
	AuthTime    time.Time `json:"at"`
	AMR         []string  `json:"m,omitempty"`
	Scopes      []string  `json:"sc,omitempty"`
	Resources   []string  `json:"r,omitempty"`
	// RedirectURI that the code was sent to. RedirectURISent says whether the request named it: if so, so must the token request (RFC 6749
	// section 4.1.3).
	RedirectURI     string `json:"ru"`
	RedirectURISent bool   `json:"rs,omitempty"`
	Nonce           string `json:"n,omitempty"`
	ClaimsRequest   string `json:"cl,omitempty"`
	// CodeChallenge of the method S256 (RFC 7636 section 4.3); empty if the client sent none.
	CodeChallenge string `json:"ch,omitempty"`
	// Offline: offline_access was granted.
	Offline bool `json:"o,omitempty"`
	// Consented: the authorization rests on a stored consent, and falls with it.
	Consented bool `json:"k,omitempty"`
}

// code is what an authorization code holds.
type code struct {
	// ID is 32 random bytes; the record that redeeming creates is named by its hash.
	ID       string `json:"id"`
	Epoch    string `json:"ep,omitempty"`
	IssuedAt int64  `json:"ia"` // Unix time in milliseconds
	// Lifetime in milliseconds that codes had when this one was issued.
	Lifetime int64 `json:"lt"`
	Authorization
}

// NewCode makes an authorization code. It writes nothing: what is never redeemed leaves no trace.
func (s *Service) NewCode(_ context.Context, a Authorization) (string, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return "", errNotServing
	}
	id, err := s.draw()
	if err != nil {
		return "", err
	}
	c := code{
		ID: id, Epoch: s.Epoch, IssuedAt: s.Now().UnixMilli(),
		Lifetime: server.AuthorizationCodeLifetime.Duration().Milliseconds(), Authorization: a,
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode a code: %w", err)
	}
	return s.Keys.Seal(keys.PurposeCode, plain)
}

// openCode reads a code of ours, whatever its age.
func (s *Service) openCode(sealed string) (code, error) {
	plain, err := s.Keys.Open(keys.PurposeCode, sealed)
	if err != nil {
		return code{}, refuse("the code is not one of this server")
	}
	var c code
	if err := json.Unmarshal(plain, &c); err != nil {
		return code{}, refuse("the code is not one of this server")
	}
	return c, nil
}

// expires is when the code can certainly not be redeemed any more.
func (c code) expires() time.Time {
	return time.UnixMilli(c.IssuedAt).Add(min(time.Duration(c.Lifetime)*time.Millisecond, maxCodeLifetime))
}

// fresh says whether the code may still be redeemed. A lifetime that was lowered since counts at once.
func (s *Service) fresh(c code, now time.Time) error {
	server, ok := s.Registry.Server()
	if !ok {
		return errNotServing
	}
	if c.Epoch != s.Epoch {
		return refuse("the code was issued before the server restarted")
	}
	lowered := time.UnixMilli(c.IssuedAt).Add(server.AuthorizationCodeLifetime.Duration())
	if !now.Before(c.expires()) || !now.Before(lowered) {
		return refuse("the code has expired")
	}
	// A lifetime of sessions, likewise.
	if !c.SessionEnds.IsZero() && !now.Before(earlier(c.SessionEnds, c.AuthTime.Add(server.SessionAbsoluteLifetime.Duration()))) {
		return refuse("the session of the authorization has ended")
	}
	return nil
}
