package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"strings"

	"golang.org/x/oauth2"

	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// addUserInfo returns the claims of the UserInfo endpoint (OpenID Connect Core section 5.3) with
// those of the ID token, which win: they are signed.
func (p *Provider) addUserInfo(ctx context.Context, d *discovery, token *oauth2.Token, claims map[string]any) (map[string]any, error) {
	badAnswer := func(text string) error { return &Error{Away, fetch.NewError(fetch.BadAnswer, errors.New(text))} }
	if !strings.EqualFold(token.Type(), "Bearer") {
		return nil, badAnswer("the access token is no bearer token")
	}
	body, header, err := p.get(ctx, d.UserInfoEndpoint, token.AccessToken)
	if err != nil {
		return nil, &Error{Away, err}
	}
	if mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, badAnswer("the UserInfo endpoint does not answer with application/json")
	}
	var all map[string]any
	if json.Unmarshal(body, &all) != nil || all == nil {
		return nil, badAnswer("the UserInfo endpoint does not answer with a JSON object")
	}
	if all["sub"] != claims["sub"] { // section 5.3.2: else they may be another user's
		return nil, invalid("the UserInfo endpoint answers about another user than the ID token")
	}
	// Whether an address is verified is said of the address beside it.
	for _, pair := range [][2]string{{"email", "email_verified"}, {"phone_number", "phone_number_verified"}} {
		if _, ok := claims[pair[0]]; ok {
			delete(all, pair[1])
		} else if _, ok := all[pair[0]]; ok {
			delete(claims, pair[1])
		}
	}
	maps.Copy(all, claims)
	return all, nil
}
