package authorize

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// readClaims keeps the claims parameter (OpenID Connect Core section 5.5). What it demands of sub
// and acr decides about the answer, and not only about what is in it (section 5.5.1).
func (h *Handler) readClaims(v *interaction.ResolvedFlow, params oauth.Params) error {
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
	for _, claims := range []map[string]json.RawMessage{request.IDToken, request.UserInfo} {
		sub, err := readDemand("sub", claims)
		if err != nil {
			return err
		}
		if err := wantSubject(v.Flow, sub.values); err != nil {
			return err
		}
	}
	acr, err := readDemand("acr", request.IDToken)
	if err != nil {
		return err
	}
	if acr.essential && !anyOf(acr.values, mint.ACRValues) {
		return oauth.Errorf(oauth.UnmetAuthentication, "no way to sign in here has an acr that claims asks for; acr_values_supported in the metadata says which there are")
	}
	v.Flow.Claims = compact.String()
	return nil
}

// demand is what a claims parameter wants of one claim (OpenID Connect Core section 5.5.1).
type demand struct {
	essential bool
	// values of which the claim should have one; empty: any.
	values []string
}

// readDemand reads what is wanted of a claim whose value is a string. A claim that is only named is
// wanted as it is.
func readDemand(name string, claims map[string]json.RawMessage) (demand, error) {
	malformed := oauth.Errorf(oauth.InvalidRequest, "claims asks for %s in a form that is not that of OpenID Connect Core section 5.5.1", name)
	var wanted struct {
		Essential bool      `json:"essential"`
		Value     *string   `json:"value"`
		Values    []*string `json:"values"`
	}
	if request := claims[name]; len(request) > 0 && json.Unmarshal(request, &wanted) != nil {
		return demand{}, malformed
	}
	d := demand{essential: wanted.Essential}
	if wanted.Value != nil {
		d.values = append(d.values, *wanted.Value)
	}
	for _, value := range wanted.Values {
		if value == nil {
			return demand{}, malformed
		}
		d.values = append(d.values, *value)
	}
	if wanted.Value != nil && wanted.Values != nil || wanted.Values != nil && len(wanted.Values) == 0 {
		return demand{}, malformed
	}
	return d, nil
}

// anyOf reports whether one of the wanted values is among those there are. None wanted is any.
func anyOf(wanted, there []string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(value string) bool { return slices.Contains(there, value) })
}

// readHints: id_token_hint says whom the answer must be about, in an ID token of ours, expired or not (OpenID Connect Core section 3.1.2.1).
// login_hint only fills in the form.
func (h *Handler) readHints(v *interaction.ResolvedFlow, params oauth.Params) error {
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
	return wantSubject(v.Flow, []string{claims.Subject})
}

// wantSubject narrows the users whom the answer may be about to those with one of the subjects.
// None is no wish.
func wantSubject(f *interaction.Flow, subjects []string) error {
	if len(subjects) == 0 {
		return nil
	}
	if len(f.Subjects) > 0 {
		subjects = slices.DeleteFunc(subjects, func(subject string) bool { return !slices.Contains(f.Subjects, subject) })
	}
	if len(subjects) == 0 {
		return oauth.Errorf(oauth.InvalidRequest, "id_token_hint and claims speak of different users")
	}
	f.Subjects = subjects
	return nil
}
