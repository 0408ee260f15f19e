package grant

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// maxCodeLifetime is the longest that a server may let codes live (RFC 6749 section 4.1.2).
const maxCodeLifetime = 10 * time.Minute

// MaxCode is how large a code may be, in bytes: it is part of a URL, beside the state of the
// request.
const MaxCodeSize = 2 << 10

// ErrCodeTooLarge: a code for the authorization would be larger than MaxCode.
var ErrCodeTooLarge = errors.New("grant: the code would be too large")

// Authorization is what the user authorized: the content of a code. Its names are short because a
// code is part of a URL. The subject is not in it: it is immutable, and the user's UID leads to it.
type Authorization struct {
	ClientID    string `json:"c"`
	ClientUID   string `json:"cu"`
	UserUID     string `json:"u"`
	UserEpoch   string `json:"e"`
	SessionHash string `json:"h"`
	// SessionEnds is the absolute end of the session; nothing but an offline grant outlives it.
	SessionEnds time.Time `json:"he"`
	AuthTime    time.Time `json:"at"`
	AMR         []string  `json:"m,omitempty"`
	Scopes      []string  `json:"sc,omitempty"`
	Resources   []string  `json:"r,omitempty"`
	// RedirectURI that the code is sent to; the code holds its hash alone. RedirectURISent says
	// whether the request named it: if so, so must the token request (RFC 6749 section 4.1.3).
	RedirectURI     string `json:"-"`
	RedirectURISent bool   `json:"rs,omitempty"`
	Nonce           string `json:"n,omitempty"`
	ClaimsRequest   string `json:"cl,omitempty"`
	// CodeChallenge of the method S256 (RFC 7636 section 4.3); empty if the client sent none.
	CodeChallenge string `json:"ch,omitempty"`
	// Offline: offline_access was granted.
	Offline bool `json:"o,omitempty"`
	// Consented: the authorization rests on the stored consent with ConsentUID, and falls with it.
	Consented  bool   `json:"k,omitempty"`
	ConsentUID string `json:"ku,omitempty"`
	// Claims that were granted one by one (OpenID Connect Core section 5.5).
	Claims []string `json:"cs,omitempty"`
}

// code is what an authorization code holds, as CBOR (RFC 8949): a nonce or a claims parameter of
// characters that JSON escapes must not grow.
type code struct {
	// ID is 32 random bytes; the record that redeeming creates is named by its hash.
	ID       string `json:"id"`
	StoreID  string `json:"ep,omitempty"`
	IssuedAt int64  `json:"ia"` // Unix time in milliseconds
	// Lifetime in milliseconds that codes had when this one was issued.
	Lifetime int64 `json:"lt"`
	// Redirect is the SHA-256 of RedirectURI.
	RedirectHash []byte `json:"ru"`
	// Objects that Scopes and Resources are of.
	Objects registry.PackedBinding `json:"ob"`
	Authorization
}

// NewCode makes an authorization code. It writes nothing: what is never redeemed leaves no trace.
// ErrCodeTooLarge.
func (s *Service) NewCode(a Authorization) (string, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return "", errNotServing
	}
	id, err := s.newRandomID()
	if err != nil {
		return "", err
	}
	redirect := sha256.Sum256([]byte(a.RedirectURI))
	var objects registry.PackedBinding
	if client, ok := s.Registry.ClientByUID(a.ClientUID); ok {
		objects = client.PackBinding(a.Scopes, a.Resources)
	}
	plain, err := cbor.Marshal(code{
		ID: id, StoreID: s.StoreID, IssuedAt: s.Now().UnixMilli(),
		Lifetime: server.AuthorizationCodeLifetime.Duration().Milliseconds(), RedirectHash: redirect[:], Objects: objects, Authorization: a,
	})
	if err != nil {
		return "", fmt.Errorf("encode a code: %w", err)
	}
	sealed, err := s.Keys.Seal(keys.PurposeCode, plain)
	if err != nil {
		return "", err
	}
	if len(sealed) > MaxCodeSize {
		return "", ErrCodeTooLarge
	}
	return sealed, nil
}

// CheckCode reports whether there can be a code for an authorization of which only the request is
// known yet, not the user and the login: for every user, or ErrCodeTooLarge.
func (s *Service) CheckCodeSize(request Authorization) error {
	request.UserUID, request.UserEpoch, request.SessionHash = longestID, longestID, longestID
	request.AuthTime, request.SessionEnds = s.Now(), s.Now()
	request.AMR = []string{oauth.AMRPassword}
	request.Consented, request.ConsentUID = true, longestID
	_, err := s.NewCode(request)
	return err
}

// longestID is as long as the UIDs, epochs and hashes that a login brings: a hash in base64url, or
// a UUID.
var longestID = strings.Repeat("x", 43)

// openCode reads a code of ours, whatever its age.
func (s *Service) openCode(sealed string) (code, error) {
	plain, err := s.Keys.Open(keys.PurposeCode, sealed)
	if err != nil {
		return code{}, invalidGrant("the code is not one of this server")
	}
	var c code
	if err := cbor.Unmarshal(plain, &c); err != nil {
		return code{}, invalidGrant("the code is not one of this server")
	}
	return c, nil
}

// expires is when the code can certainly not be redeemed any more.
func (c code) expiresAt() time.Time {
	return time.UnixMilli(c.IssuedAt).Add(min(time.Duration(c.Lifetime)*time.Millisecond, maxCodeLifetime))
}

// fresh says whether the code may still be redeemed. A lifetime that was lowered since counts at once.
func (s *Service) checkCodeLifetime(c code, now time.Time) error {
	server, ok := s.Registry.Server()
	if !ok {
		return errNotServing
	}
	if c.StoreID != s.StoreID {
		return invalidGrant("the code was issued before the server forgot its records")
	}
	lowered := time.UnixMilli(c.IssuedAt).Add(server.AuthorizationCodeLifetime.Duration())
	if !now.Before(c.expiresAt()) || !now.Before(lowered) {
		return invalidGrant("the code has expired")
	}
	// A lifetime of sessions, likewise.
	if !c.SessionEnds.IsZero() && !now.Before(earlier(c.SessionEnds, c.AuthTime.Add(server.SessionAbsoluteLifetime.Duration()))) {
		return invalidGrant("the session of the authorization has ended")
	}
	return nil
}
