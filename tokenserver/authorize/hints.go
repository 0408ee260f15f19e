package authorize

import (
	"bytes"
	"encoding/json"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// readClaims keeps the claims parameter (OpenID Connect Core section 5.5). A sub with a value in it means that the answer must be about that
// user (section 5.5.1).
func (h *Handler) readClaims(v *interaction.Visit, params oauth.Params) error {
	value := params.Get("claims")
	if value == "" {
		return nil
	}
	var request struct {
		UserInfo map[string]json.RawMessage `json:"userinfo"`
		IDToken  map[string]json.RawMessage `json:"id_token"`
	}
	var compact bytes.Buffer
	if json.Unmarshal([]byte(value), &request) != nil || json.Compact(&compact, []byte(value)) != nil {
		return oauth.Errorf(oauth.InvalidRequest, "claims is not the object of OpenID Connect Core section 5.5")
	}
	for _, sub := range []json.RawMessage{request.IDToken["sub"], request.UserInfo["sub"]} {
		var wanted struct {
			Value string `json:"value"`
		}
		if len(sub) == 0 {
			continue
		}
		if err := json.Unmarshal(sub, &wanted); err != nil {
			return oauth.Errorf(oauth.InvalidRequest, "claims asks for sub in a form that is not that of OpenID Connect Core section 5.5.1")
		}
		if err := wantSubject(v.Flow, wanted.Value); err != nil {
			return err
		}
	}
	if demandsACR(request.IDToken["acr"]) {
		return oauth.Errorf(oauth.UnmetAuthentication, "this server has no authentication context class to offer")
	}
	v.Flow.Claims = compact.String()
	return nil
}

// demandsACR says whether a request for acr cannot do without one of certain values: a login that does not meet it counts as failed (OpenID
// Connect Core section 5.5.1.1). Wishes (acr_values, and claims that are not essential) are ignored.
func demandsACR(request json.RawMessage) bool {
	var wanted struct {
		Essential bool              `json:"essential"`
		Value     json.RawMessage   `json:"value"`
		Values    []json.RawMessage `json:"values"`
	}
	return json.Unmarshal(request, &wanted) == nil && wanted.Essential && len(wanted.Value)+len(wanted.Values) > 0
}

// readHints: id_token_hint says whom the answer must be about, in an ID token of ours, expired or not (OpenID Connect Core section 3.1.2.1).
// login_hint only fills in the form.
func (h *Handler) readHints(v *interaction.Visit, params oauth.Params) error {
	v.Flow.LoginHint = params.Get("login_hint")
	hint := params.Get("id_token_hint")
	if hint == "" {
		return nil
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if h.Keys.Verify(hint, oauth.TypeIDToken, &claims) != nil || claims.Issuer != v.Server.Issuer || claims.Subject == "" {
		return oauth.Errorf(oauth.InvalidRequest, "id_token_hint is not an ID token of this server")
	}
	return wantSubject(v.Flow, claims.Subject)
}

func wantSubject(f *interaction.Flow, subject string) error {
	if subject == "" {
		return nil
	}
	if f.Subject != "" && f.Subject != subject {
		return oauth.Errorf(oauth.InvalidRequest, "id_token_hint and claims speak of different users")
	}
	f.Subject = subject
	return nil
}
