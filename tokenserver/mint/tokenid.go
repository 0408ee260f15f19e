package mint

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/jsontext"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// ErrInvalidTokenID is returned for a value that is not the id of an access token of this server.
var ErrInvalidTokenID = errors.New("not the id of an access token of this server")

// usualTokenID is more than the JSON of most TokenIDs has, in bytes.
const usualTokenID = 256

// TokenID is what an access token depends on: its grant or, if nothing is stored for it, the
// client, the ResourceServers, and perhaps a user, a session, a redirect URI and a consent. The
// claim jti is a TokenID, sealed, so that an API learns nothing from it and each is different.
type TokenID struct {
	Grant       string `json:"g,omitempty"`
	Incarnation string `json:"i,omitempty"`

	// What follows is of a token without a grant.

	ClientUID   string `json:"c,omitempty"`
	UserUID     string `json:"u,omitempty"`
	UserEpoch   string `json:"e,omitempty"`
	SessionHash string `json:"s,omitempty"`
	// ProviderUID and SignedInAt are as in storage.Grant, in Unix seconds.
	ProviderUID string `json:"p,omitempty"`
	SignedInAt  int64  `json:"si,omitempty"`
	// StoreID of grant.Service. Another store does not know the mark that revokes the token.
	StoreID string `json:"ep,omitempty"`
	// RedirectHash is the HashRedirectURI of the redirect URI that the token was sent to.
	RedirectHash []byte `json:"r,omitempty"`
	// ConsentUID of the consent that the user's authorization needs; empty if it needs none.
	ConsentUID string `json:"k,omitempty"`
	// Binding names the ResourceServers that the scopes and the audience of the token belong to.
	Binding registry.PackedBinding `json:"o,omitzero"`
	// Claims are the names of the claims that were granted individually, of those that the request
	// asked the UserInfo endpoint for.
	Claims []string `json:"cs,omitempty"`
	// RequestedClaims are the RequestedNonstandardClaims of the request.
	RequestedClaims []string `json:"l,omitempty"`
}

// HashRedirectURI returns the hash of a registered redirect URI for a TokenID, 16 bytes.
func HashRedirectURI(uri string) []byte { return TruncateHash(sha256.Sum256([]byte(uri))) }

// TruncateHash returns the HashRedirectURI of the redirect URI with this SHA-256.
func TruncateHash(sum [sha256.Size]byte) []byte { return sum[:16] }

// AppendJSON implements jsontext.Appender.
func (id TokenID) AppendJSON(b []byte) []byte {
	o := jsontext.Begin(b, true)
	o.StringNonEmpty("g", id.Grant)
	o.StringNonEmpty("i", id.Incarnation)
	o.StringNonEmpty("c", id.ClientUID)
	o.StringNonEmpty("u", id.UserUID)
	o.StringNonEmpty("e", id.UserEpoch)
	o.StringNonEmpty("s", id.SessionHash)
	o.StringNonEmpty("p", id.ProviderUID)
	o.IntNonEmpty("si", id.SignedInAt)
	o.StringNonEmpty("ep", id.StoreID)
	o.BytesNonEmpty("r", id.RedirectHash)
	o.StringNonEmpty("k", id.ConsentUID)
	if id.Binding.UIDHashes != nil || id.Binding.ScopeOwners != nil {
		o.Value("o", id.Binding)
	}
	o.StringsNonEmpty("cs", id.Claims)
	o.StringsNonEmpty("l", id.RequestedClaims)
	return o.End()
}

func (m *Minter) sealTokenID(id TokenID) (string, error) {
	sealed, err := m.Keys.Seal(keys.PurposeTokenID, id.AppendJSON(make([]byte, 0, usualTokenID)))
	if err != nil {
		return "", fmt.Errorf("sealing a token id: %w", err)
	}
	return sealed, nil
}

// OpenTokenID returns the content of the claim jti of an access token, or ErrInvalidTokenID.
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

// Audience is the claim aud. In JSON it is a string if it has one member (RFC 7519 section 4.1.3),
// which readers that expect no list understand.
type Audience []string

// MarshalJSON implements json.Marshaler.
func (a Audience) MarshalJSON() ([]byte, error) { return a.AppendJSON(nil), nil }

// AppendJSON implements jsontext.Appender.
func (a Audience) AppendJSON(b []byte) []byte {
	if len(a) == 1 {
		return jsontext.AppendString(b, a[0], true)
	}
	return jsontext.AppendStrings(b, a, true)
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

// Contains reports whether value is in the audience.
func (a Audience) Contains(value string) bool { return slices.Contains(a, value) }
