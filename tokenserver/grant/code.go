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

const (
	// maxCodeLifetime is the longest lifetime that a server may give codes (RFC 6749 section
	// 4.1.2).
	maxCodeLifetime = 10 * time.Minute
	// MaxCodeSize is the largest size of a code in bytes. A code is part of a URL, with the state
	// of the request.
	MaxCodeSize = 2 << 10
)

// ErrCodeTooLarge is returned if the code for an authorization would be larger than MaxCodeSize.
var ErrCodeTooLarge = errors.New("code is too large")

// Authorization is what a user authorized, and the content of a code. The JSON names are short
// because a code is part of a URL. It does not contain the subject, which follows from the user's
// UID and is immutable.
type Authorization struct {
	ClientID    string `json:"c"`
	ClientUID   string `json:"cu"`
	UserUID     string `json:"u"`
	UserEpoch   string `json:"e"`
	SessionHash string `json:"h"`
	// SessionEnds is the absolute end of the session. Only an offline grant outlives it.
	SessionEnds time.Time `json:"he"`
	AuthTime    time.Time `json:"at"`
	AMR         []string  `json:"m,omitempty"`
	// ProviderUID and SignedInAt are as in storage.Grant, in Unix seconds.
	ProviderUID string   `json:"p,omitempty"`
	SignedInAt  int64    `json:"si,omitempty"`
	Scopes      []string `json:"sc,omitempty"`
	Resources   []string `json:"r,omitempty"`
	// RedirectURI that the code is sent to. The code contains only its hash. RedirectURISent
	// reports whether the authorization request named it. The token request must then name it too
	// (RFC 6749 section 4.1.3).
	RedirectURI     string `json:"-"`
	RedirectURISent bool   `json:"rs,omitempty"`
	Nonce           string `json:"n,omitempty"`
	ClaimsRequest   string `json:"cl,omitempty"`
	// CodeChallenge of the method S256 (RFC 7636 section 4.3); empty if the client sent none.
	CodeChallenge string `json:"ch,omitempty"`
	// Offline reports whether offline_access was granted.
	Offline bool `json:"o,omitempty"`
	// Consented reports whether the authorization needs the stored consent with ConsentUID, and
	// ends with it.
	Consented  bool   `json:"k,omitempty"`
	ConsentUID string `json:"ku,omitempty"`
	// Claims that were granted individually (OpenID Connect Core section 5.5).
	Claims []string `json:"cs,omitempty"`
}

// signInTime returns when the user signed in here.
func (a Authorization) signInTime() time.Time {
	if a.SignedInAt == 0 {
		return a.AuthTime
	}
	return time.Unix(a.SignedInAt, 0)
}

// code is the content of an authorization code. It is encoded as CBOR (RFC 8949), which does not
// lengthen a nonce or a claims parameter by escapes as JSON does.
type code struct {
	// ID is 32 random bytes. The id of the record that redeeming creates is a hash of it.
	ID       string `json:"id"`
	StoreID  string `json:"ep,omitempty"`
	IssuedAt int64  `json:"ia"` // Unix time in milliseconds
	// Lifetime of codes when this one was issued, in milliseconds.
	Lifetime int64 `json:"lt"`
	// RedirectHash is the SHA-256 of RedirectURI.
	RedirectHash []byte `json:"ru"`
	// Binding names the ResourceServers that Scopes and Resources belong to.
	Binding registry.PackedBinding `json:"ob"`
	Authorization
}

// NewCode returns an authorization code, or ErrCodeTooLarge. It stores nothing.
func (s *Service) NewCode(a Authorization) (string, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return "", registry.ErrNotServing
	}
	id, err := s.newRandomID()
	if err != nil {
		return "", err
	}
	redirectHash := sha256.Sum256([]byte(a.RedirectURI))
	var binding registry.PackedBinding
	if client, ok := s.Registry.ClientByUID(a.ClientUID); ok {
		binding = client.PackBinding(a.Scopes, a.Resources)
	}
	plain, err := cbor.Marshal(code{
		ID: id, StoreID: s.StoreID, IssuedAt: s.Now().UnixMilli(),
		Lifetime: server.AuthorizationCodeLifetime.Duration().Milliseconds(), RedirectHash: redirectHash[:], Binding: binding, Authorization: a,
	})
	if err != nil {
		return "", fmt.Errorf("encoding a code: %w", err)
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

// CheckCodeSize returns ErrCodeTooLarge if the code for an authorization request might be too large
// once the user and the login are known.
func (s *Service) CheckCodeSize(request Authorization) error {
	request.UserUID, request.UserEpoch, request.SessionHash = longestID, longestID, longestID
	request.AuthTime, request.SessionEnds = s.Now(), s.Now()
	request.AMR = []string{oauth.AMRPassword}
	request.ProviderUID, request.SignedInAt = longestID, s.Now().Unix()
	request.Consented, request.ConsentUID = true, longestID
	_, err := s.NewCode(request)
	return err
}

// longestID is as long as the longest UID, epoch or hash of a login: a hash in base64url.
var longestID = strings.Repeat("x", 43)

// openCode returns the content of a code of this server, also of one that has expired.
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

// issuedAt returns when the code was issued, which is when the user authorized what it is for.
func (c code) issuedAt() time.Time { return time.UnixMilli(c.IssuedAt) }

// expiresAt returns when the code expires at the latest.
func (c code) expiresAt() time.Time {
	return c.issuedAt().Add(min(time.Duration(c.Lifetime)*time.Millisecond, maxCodeLifetime))
}

// checkCodeLifetime checks that neither the code nor its session has expired. If a lifetime was
// lowered after the code was issued, the lower one applies.
func (s *Service) checkCodeLifetime(c code, now time.Time) error {
	server, ok := s.Registry.Server()
	if !ok {
		return registry.ErrNotServing
	}
	if c.StoreID != s.StoreID {
		return invalidGrant("the code was issued before the server lost its records")
	}
	expiry := earlier(c.expiresAt(), c.issuedAt().Add(server.AuthorizationCodeLifetime.Duration()))
	if !now.Before(expiry) {
		return invalidGrant("the code has expired")
	}
	if !c.SessionEnds.IsZero() && !now.Before(earlier(c.SessionEnds, c.signInTime().Add(server.SessionAbsoluteLifetime.Duration()))) {
		return invalidGrant("the session of the authorization has ended")
	}
	return nil
}
