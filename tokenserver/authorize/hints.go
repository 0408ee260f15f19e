package authorize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/mint"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
)

// readClaims reads the claims parameter (OpenID Connect Core section 5.5). What it requires of sub
// and acr decides whether there is a response; the other claims decide only what is in it (section
// 5.5.1).
func (h *Handler) readClaims(flow *interaction.ResolvedFlow, params oauth.Params) error {
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
		sub, err := readClaimRequest("sub", claims)
		if err != nil {
			return err
		}
		if err := restrictSubjects(flow.Flow, sub.values); err != nil {
			return err
		}
	}
	acr, err := readClaimRequest("acr", request.IDToken)
	if err != nil {
		return err
	}
	if acr.essential && len(acr.values) > 0 && !slices.ContainsFunc(acr.values, isSupportedACR) {
		return oauth.Errorf(oauth.UnmetAuthentication,
			"this server cannot sign users in with an acr that claims asks for; acr_values_supported in the metadata lists those that it can")
	}
	flow.Claims = compact.String()
	return nil
}

// checkACR returns an error if the request needs an acr that the session does not have: that of a
// login at an identity provider, which need not be one of this server's (OpenID Connect Core section
// 5.5.1.1).
func checkACR(f *interaction.Flow, s *session.Session) error {
	if f.Claims == "" {
		return nil
	}
	var request struct {
		IDToken map[string]json.RawMessage `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(f.Claims), &request); err != nil {
		return fmt.Errorf("reading the claims of a flow: %w", err)
	}
	acr, err := readClaimRequest("acr", request.IDToken)
	if err != nil {
		return err
	}
	if acr.essential && len(acr.values) > 0 && !slices.Contains(acr.values, mint.ACROf(s.AMR)) {
		return oauth.Errorf(oauth.UnmetAuthentication, "the user signed in elsewhere, without an acr that claims asks for")
	}
	return nil
}

func isSupportedACR(acr string) bool { return slices.Contains(mint.ACRValues, acr) }

// claimRequest is what a claims parameter requires of one claim (OpenID Connect Core section
// 5.5.1).
type claimRequest struct {
	essential bool
	// values are those that the claim may have; empty means any.
	values []string
}

// readClaimRequest reads what claims requires of a claim whose value is a string. A claim with a
// null, or one that claims does not have, may have any value.
func readClaimRequest(name string, claims map[string]json.RawMessage) (claimRequest, error) {
	malformed := oauth.Errorf(oauth.InvalidRequest,
		"claims asks for %s in a form that is not that of OpenID Connect Core section 5.5.1", name)
	var parsed struct {
		Essential bool      `json:"essential"`
		Value     *string   `json:"value"`
		Values    []*string `json:"values"`
	}
	if raw := claims[name]; len(raw) > 0 && json.Unmarshal(raw, &parsed) != nil {
		return claimRequest{}, malformed
	}
	request := claimRequest{essential: parsed.Essential}
	if parsed.Value != nil {
		request.values = append(request.values, *parsed.Value)
	}
	for _, value := range parsed.Values {
		if value == nil {
			return claimRequest{}, malformed
		}
		request.values = append(request.values, *value)
	}
	if parsed.Values != nil && (parsed.Value != nil || len(parsed.Values) == 0) {
		return claimRequest{}, malformed
	}
	return request, nil
}

// readHints reads the hints. id_token_hint is an ID token of this server, expired or not, of the
// user that the response must be about (OpenID Connect Core section 3.1.2.1). login_hint fills in
// the login page.
func (h *Handler) readHints(flow *interaction.ResolvedFlow, params oauth.Params) error {
	flow.LoginHint = params.Get("login_hint")
	hint := params.Get("id_token_hint")
	if hint == "" {
		return nil
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if h.Keys.Verify(hint, oauth.TypeIDToken, &claims) != nil || claims.Issuer != flow.Server.Issuer || claims.Subject == "" {
		return oauth.Errorf(oauth.InvalidRequest, "id_token_hint is not an ID token of this server")
	}
	return restrictSubjects(flow.Flow, []string{claims.Subject})
}

// restrictSubjects restricts the users that the response may be about to those with one of the
// subjects. Without subjects it restricts nothing.
func restrictSubjects(f *interaction.Flow, subjects []string) error {
	if len(subjects) == 0 {
		return nil
	}
	if len(f.Subjects) > 0 {
		subjects = slices.DeleteFunc(subjects, func(subject string) bool { return !slices.Contains(f.Subjects, subject) })
	}
	if len(subjects) == 0 {
		return oauth.Errorf(oauth.InvalidRequest, "id_token_hint and claims ask for different users")
	}
	f.Subjects = subjects
	return nil
}
