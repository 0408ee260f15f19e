package authorize

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// read the parameters into the visit's flow. Each rule is one step; the first that is broken is the error.
func (h *Handler) read(v *interaction.ResolvedFlow, params oauth.Params) error {
	for _, step := range []func(*interaction.ResolvedFlow, oauth.Params) error{
		readUnsupported, readResponseType, readResponseMode, readScope, readNonce, readCodeChallenge, readPrompt, readMaxAge,
		readResources, h.readClaims, h.readHints, h.checkSize,
	} {
		if err := step(v, params); err != nil {
			return err
		}
	}
	return nil
}

// checkSize refuses a request that would not fit into the URLs of its pages, or whose code would
// not fit into that of its answer, before the user has done anything for it.
func (h *Handler) checkSize(v *interaction.ResolvedFlow, _ oauth.Params) error {
	if !h.Flows.FitsInURL(v.Flow) {
		return oauth.Errorf(oauth.InvalidRequest, "the request is larger than %d bytes: send less, such as a shorter state", interaction.MaxSealed)
	}
	if !v.Flow.HasResponseType("code") {
		return nil
	}
	err := h.Grants.CheckCodeSize(authorization(v))
	if errors.Is(err, grant.ErrCodeTooLarge) {
		return oauth.Errorf(oauth.InvalidRequest,
			"the code would be larger than %d bytes: shorten nonce or claims, or ask for fewer scopes and resources", grant.MaxCodeSize)
	}
	return err
}

// readUnsupported refuses what would change the request's meaning if it were ignored (OpenID Connect Core sections 6.1, 6.2 and 7.2.1).
func readUnsupported(_ *interaction.ResolvedFlow, params oauth.Params) error {
	switch {
	case params.Has("request"):
		return oauth.Errorf(oauth.RequestNotSupported, "send the parameters themselves instead of request")
	case params.Has("request_uri"):
		return oauth.Errorf(oauth.RequestURINotSupported, "send the parameters themselves instead of request_uri")
	case params.Has("registration"):
		return oauth.Errorf(oauth.RegistrationUnsupported, "clients are registered beforehand")
	}
	return nil
}

// responseTypes that are served, each as a set of words, and the grant types that each needs.
var responseTypes = []struct {
	words  []string
	grants []string
}{
	{words: []string{"code"}, grants: []string{oauth.GrantAuthorizationCode}},
	{words: []string{"token"}, grants: []string{oauth.GrantImplicit}},
	{words: []string{"id_token"}, grants: []string{oauth.GrantImplicit}},
	{words: []string{"id_token", "token"}, grants: []string{oauth.GrantImplicit}},
	{words: []string{"code", "token"}, grants: both},
	{words: []string{"code", "id_token"}, grants: both},
	{words: []string{"code", "id_token", "token"}, grants: both},
}

// both grants are what a hybrid response type needs (OpenID Connect Core section 3.3).
var both = []string{oauth.GrantAuthorizationCode, oauth.GrantImplicit}

// readResponseType: the order of the words means nothing (RFC 6749 section 3.1.1).
func readResponseType(v *interaction.ResolvedFlow, params oauth.Params) error {
	asked := params.Get("response_type")
	if asked == "" {
		return oauth.Errorf(oauth.InvalidRequest, "response_type is missing")
	}
	words := strings.Split(asked, " ")
	slices.Sort(words)
	for _, served := range responseTypes {
		if !slices.Equal(words, served.words) {
			continue
		}
		for _, grantType := range served.grants {
			if !v.Client.HasGrantType(grantType) {
				return oauth.Errorf(oauth.UnauthorizedClient, "this response_type needs the grant type %s, which the client does not list", grantType)
			}
		}
		v.Flow.ResponseType = served.words
		return nil
	}
	return oauth.Errorf(oauth.UnsupportedResponseType, "this response_type is not served")
}

// mode is how the answer to a request gets to the redirect URI, even if the request is wrong: as it asks; else in the fragment if a token
// could be in the answer (OAuth 2.0 Multiple Response Type Encoding Practices sections 2.1 and 5). A browser posts forms over http only.
func mode(params oauth.Params, redirectURI string) interaction.ResponseMode {
	words := strings.Split(params.Get("response_type"), " ")
	asked := params.Get("response_mode")
	switch {
	case asked == oauth.ResponseModeFormPost && takesForms(redirectURI):
		return interaction.ModeFormPost
	case asked == oauth.ResponseModeFragment, slices.Contains(words, "token"), slices.Contains(words, "id_token"):
		return interaction.ModeFragment
	default:
		return interaction.ModeQuery
	}
}

func takesForms(redirectURI string) bool {
	return strings.HasPrefix(redirectURI, "https://") || strings.HasPrefix(redirectURI, "http://")
}

func readResponseMode(v *interaction.ResolvedFlow, params oauth.Params) error {
	switch params.Get("response_mode") {
	case "", oauth.ResponseModeFragment:
		return nil
	case oauth.ResponseModeQuery:
		if v.Flow.ResponseMode != interaction.ModeQuery {
			return oauth.Errorf(oauth.InvalidRequest, "response_mode query would put tokens where logs and referrers see them")
		}
		return nil
	case oauth.ResponseModeFormPost:
		if v.Flow.ResponseMode != interaction.ModeFormPost {
			return oauth.Errorf(oauth.InvalidRequest, "response_mode form_post needs a redirect_uri that a browser can post a form to")
		}
		return nil
	default:
		return oauth.Errorf(oauth.InvalidRequest, "response_mode is query, fragment or form_post")
	}
}

// readNonce: tokens that come through the browser are tied to the request by it alone (OpenID Connect Core section 3.2.2.1).
func readNonce(v *interaction.ResolvedFlow, params oauth.Params) error {
	v.Flow.Nonce = params.Get("nonce")
	if v.Flow.Nonce == "" && v.Flow.HasResponseType("id_token") {
		return oauth.Errorf(oauth.InvalidRequest, "nonce is missing: a response_type with id_token needs it")
	}
	return nil
}

// readCodeChallenge: PKCE with S256 only. A challenge without a method means plain (RFC 7636 section 4.3), which shows the verifier to whoever
// sees the request.
func readCodeChallenge(v *interaction.ResolvedFlow, params oauth.Params) error {
	if !v.Flow.HasResponseType("code") {
		return nil
	}
	challenge, method := params.Get("code_challenge"), params.Get("code_challenge_method")
	switch {
	case challenge == "" && method != "":
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge_method without code_challenge")
	case challenge == "" && needsPKCE(v.Client):
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is missing: this client must use PKCE with S256 (RFC 7636)")
	case challenge == "":
		return nil
	case method != oauth.ChallengeS256:
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge_method must be S256; without one it would be plain")
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(sum) != 32 {
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is not the base64url form of a SHA-256")
	}
	v.Flow.CodeChallenge = challenge
	return nil
}

// needsPKCE: all public clients (RFC 9700 section 2.1.1), and those that are not registered to go without.
func needsPKCE(client *registry.Client) bool {
	return client.IsPublic() || client.PKCE != documents.PKCEWhenSent
}

var prompts = []string{oauth.PromptNone, oauth.PromptLogin, oauth.PromptConsent, oauth.PromptSelectAccount}

func readPrompt(v *interaction.ResolvedFlow, params oauth.Params) error {
	for word := range strings.SplitSeq(params.Get("prompt"), " ") {
		if word == "" || v.Flow.HasPrompt(word) {
			continue
		}
		if !slices.Contains(prompts, word) {
			return oauth.Errorf(oauth.InvalidRequest, "prompt is made of none, login, consent and select_account")
		}
		v.Flow.Prompt = append(v.Flow.Prompt, word)
	}
	if v.Flow.HasPrompt(oauth.PromptNone) && len(v.Flow.Prompt) > 1 {
		return oauth.Errorf(oauth.InvalidRequest, "prompt none goes with no other")
	}
	return nil
}

func readMaxAge(v *interaction.ResolvedFlow, params oauth.Params) error {
	value := params.Get("max_age")
	if value == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return oauth.Errorf(oauth.InvalidRequest, "max_age is a number of seconds")
	}
	v.Flow.MaxAge = int64(seconds)
	return nil
}
