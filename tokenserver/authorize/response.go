package authorize

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// result is what the response type asks for. There is never a refresh token in it (RFC 6749 section 4.2.2).
func (h *Handler) result(v *interaction.ResolvedFlow, l *login) (url.Values, error) {
	values := url.Values{}
	if v.Flow.HasResponseType("code") {
		code, err := h.code(v, l)
		if err != nil {
			return nil, err
		}
		values.Set("code", code)
	}
	if v.Flow.HasResponseType("token") {
		if err := h.accessToken(v, l, values); err != nil {
			return nil, err
		}
	}
	if v.Flow.HasResponseType("id_token") {
		token, err := h.Minter.IDToken(mint.IDTokenInput{
			Client: v.Client, User: l.user, Subject: l.user.Subject, Scopes: v.Flow.Scopes,
			AuthTime: time.Unix(l.session.AuthTime, 0), AMR: l.session.AMR,
			Nonce: v.Flow.Nonce, ClaimsRequest: v.Flow.Claims, Claims: singleClaims(v),
			AccessToken: values.Get("access_token"), Code: values.Get("code"),
		})
		if err != nil {
			return nil, err
		}
		values.Set("id_token", token)
	}
	return values, nil
}

func (h *Handler) code(v *interaction.ResolvedFlow, l *login) (string, error) {
	a := authorization(v)
	a.Consented, a.ConsentUID = l.consentUID != "", l.consentUID
	a.UserUID, a.UserEpoch = l.user.UID, l.user.Epoch
	a.SessionHash, a.SessionEnds = l.session.RootHash(), l.session.EndsAt(v.Server)
	a.AuthTime, a.AMR = time.Unix(l.session.AuthTime, 0), l.session.AMR
	return h.Grants.NewCode(a)
}

// authorization that the request asks for, before it is known of whom.
func authorization(v *interaction.ResolvedFlow) grant.Authorization {
	return grant.Authorization{
		ClientID: v.Client.ID, ClientUID: v.Client.UID,
		Scopes: v.Flow.Scopes, Resources: v.Flow.Resources,
		RedirectURI: v.RedirectURI, RedirectURISent: v.Flow.RedirectURISent,
		Nonce: v.Flow.Nonce, ClaimsRequest: v.Flow.Claims, Claims: singleClaims(v), CodeChallenge: v.Flow.CodeChallenge,
		Offline: slices.Contains(v.Flow.Scopes, oauth.ScopeOfflineAccess),
	}
}

// singleUserInfoClaims are those that it asks for at the UserInfo endpoint.
func singleUserInfoClaims(v *interaction.ResolvedFlow) []string {
	requested := mint.RequestedClaims(v.Flow.Claims, "userinfo")
	return slices.DeleteFunc(singleClaims(v), func(name string) bool { return !slices.Contains(requested, name) })
}

// singleClaims that the request asks for beyond its scopes.
func singleClaims(v *interaction.ResolvedFlow) []string {
	return mint.IndividualClaims(v.Client, v.Flow.Scopes, v.Flow.Claims)
}

func (h *Handler) accessToken(v *interaction.ResolvedFlow, l *login, values url.Values) error {
	aud, scopes, err := v.Client.ResolveAudience(v.Flow.Scopes, v.Flow.Resources)
	if err != nil {
		return err
	}
	token, lifetime, err := h.Minter.AccessToken(mint.AccessTokenInput{
		Client: v.Client, Subject: l.user.Subject, Audience: aud, Scopes: scopes,
		AuthTime: time.Unix(l.session.AuthTime, 0), AMR: l.session.AMR,
		TokenID: mint.TokenID{
			ClientUID: v.Client.UID, UserUID: l.user.UID, UserEpoch: l.user.Epoch, SessionHash: l.session.RootHash(), StoreID: h.Grants.StoreID,
			RedirectHash: mint.TruncateHash(v.Flow.RedirectHash), ConsentUID: l.consentUID, Binding: v.Client.PackBinding(scopes, aud),
			Claims:          singleUserInfoClaims(v),
			RequestedClaims: mint.RequestedNonstandardClaims(l.user, scopes, v.Flow.Claims),
		},
	})
	if err != nil {
		return err
	}
	values.Set("access_token", token)
	values.Set("token_type", oauth.TokenTypeBearer)
	values.Set("expires_in", strconv.FormatInt(int64(lifetime/time.Second), 10))
	values.Set("scope", oauth.FormatScope(scopes))
	return nil
}
