package mint

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// ErrTokenID: the value is not the id of one of our access tokens.
var ErrInvalidTokenID = errors.New("mint: not an id of our tokens")

// TokenID is what an access token rests on: a grant, or, where nothing is stored for it, the
// client, the resource servers, and perhaps a user, a session, a redirect URI and a consent. It is
// sealed into jti, so that an API learns nothing from it, and every one is different.
type TokenID struct {
	Grant       string `json:"g,omitempty"`
	Incarnation string `json:"i,omitempty"`

	ClientUID   string `json:"c,omitempty"`
	UserUID     string `json:"u,omitempty"`
	UserEpoch   string `json:"e,omitempty"`
	SessionHash string `json:"s,omitempty"`
	// Epoch of the store (grant.Service): that of another does not know the mark that revokes the token.
	StoreID string `json:"ep,omitempty"`
	// Redirect is the RedirectHash of the redirect URI that the token was sent to.
	RedirectHash []byte `json:"r,omitempty"`
	// ConsentUID of the consent that the user's authorization rests on; empty: on none.
	ConsentUID string `json:"k,omitempty"`
	// Objects that the scopes and the audience of the token are of.
	Binding registry.PackedBinding `json:"o,omitzero"`
	// Claims that were granted one by one, of those that the request wanted from the UserInfo
	// endpoint.
	Claims []string `json:"cs,omitempty"`
	// RequestedClaims are the names of claims that the request wanted from the UserInfo endpoint (OpenID Connect Core section 5.5).
	RequestedClaims []string `json:"l,omitempty"`
}

// RedirectHash of a registered redirect URI, for TokenID.
func HashRedirectURI(uri string) []byte { return TruncateHash(sha256.Sum256([]byte(uri))) }

// ShortRedirect is the RedirectHash of the redirect URI with the SHA-256.
func TruncateHash(sum [sha256.Size]byte) []byte { return sum[:16] }

func (m *Minter) sealTokenID(id TokenID) (string, error) {
	plain, err := json.Marshal(id)
	if err != nil {
		return "", fmt.Errorf("encode a token id: %w", err)
	}
	sealed, err := m.Keys.Seal(keys.PurposeTokenID, plain)
	if err != nil {
		return "", fmt.Errorf("seal a token id: %w", err)
	}
	return sealed, nil
}

// OpenTokenID reads what an access token's jti says that it rests on. ErrTokenID if it is none of ours.
func OpenTokenID(set *keys.Set, jti string) (TokenID, error) {
	plain, err := set.Open(keys.PurposeTokenID, jti)
	if err != nil {
		return TokenID{}, ErrInvalidTokenID
	}
	var id TokenID
	if err := json.Unmarshal(plain, &id); err != nil || id.Grant == "" && id.ClientUID == "" {
		return TokenID{}, ErrInvalidTokenID
	}
	return id, nil
}

// Audience is a list that JSON holds as a string when it has one member (RFC 7519 section 4.1.3), which readers that know no list understand.
type Audience []string

// MarshalJSON implements json.Marshaler.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Contains says whether value is in the audience.
func (a Audience) Contains(value string) bool { return slices.Contains(a, value) }
