package authorize

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// readRequest reads the parameters into the flow. It returns the error of the first step that
// fails.
func (h *Handler) readRequest(flow *interaction.ResolvedFlow, params oauth.Params) error {
	for _, step := range []func(*interaction.ResolvedFlow, oauth.Params) error{
		checkUnsupported, readResponseType, readResponseMode, readScope, readNonce, readCodeChallenge, readPrompt,
		readMaxAge, readResources, h.readClaims, h.readHints, h.checkSize,
	} {
		if err := step(flow, params); err != nil {
			return err
		}
	}
	return nil
}

// checkSize refuses a request whose flow would not fit into the URLs of the pages, or whose code
// would not fit into that of the response, before the user does anything for it.
func (h *Handler) checkSize(flow *interaction.ResolvedFlow, _ oauth.Params) error {
	if !h.Flows.FitsInURL(flow.Flow) {
		return oauth.Errorf(oauth.InvalidRequest, "the request is larger than %d bytes: send less, such as a shorter state", interaction.MaxSealed)
	}
	if !flow.HasResponseType("code") {
		return nil
	}
	return describeCodeSize(h.Grants.CheckCodeSize(requestedAuthorization(flow)))
}

// describeCodeSize returns the error for the client if a code is too large, and other errors as they
// are.
func describeCodeSize(err error) error {
	if errors.Is(err, grant.ErrCodeTooLarge) {
		return oauth.Errorf(oauth.InvalidRequest,
			"the code would be larger than %d bytes: shorten nonce or claims, or ask for fewer scopes and resources", grant.MaxCodeSize)
	}
	return err
}

// checkUnsupported refuses parameters that would change the meaning of the request if they were
// ignored (OpenID Connect Core sections 6.1, 6.2 and 7.2.1).
func checkUnsupported(_ *interaction.ResolvedFlow, params oauth.Params) error {
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

// responseTypes are the supported response types, the words of each sorted.
var responseTypes = []string{
	oauth.ResponseTypeCode, oauth.ResponseTypeToken, oauth.ResponseTypeIDToken, oauth.ResponseTypeIDTokenToken,
	oauth.ResponseTypeCodeToken, oauth.ResponseTypeCodeIDToken, oauth.ResponseTypeCodeIDTokenToken,
}

// readResponseType reads response_type, a set of words in any order (RFC 6749 section 3.1.1).
func readResponseType(flow *interaction.ResolvedFlow, params oauth.Params) error {
	requested := params.Get("response_type")
	if requested == "" {
		return oauth.Errorf(oauth.InvalidRequest, "response_type is missing")
	}
	words := strings.Split(requested, " ")
	slices.Sort(words)
	if !slices.Contains(responseTypes, strings.Join(words, " ")) {
		return oauth.Errorf(oauth.UnsupportedResponseType, "this response_type is not supported")
	}
	flow.ResponseType = words
	for _, grantType := range flow.GrantTypes() {
		if flow.Client.HasEnded(grantType) {
			return oauth.Errorf(oauth.UnauthorizedClient,
				"this response_type needs the grant type %s, which the server does not allow the client any more: legacyUntil of its rule has passed", grantType)
		}
		if !flow.Client.HasGrantType(grantType) {
			return oauth.Errorf(oauth.UnauthorizedClient,
				"this response_type needs the grant type %s, which the client does not list", grantType)
		}
	}
	return nil
}

// responseMode returns how the response is sent, also to a request that is wrong: as the request
// asks, otherwise in the fragment if the response could have a token (OAuth 2.0 Multiple Response
// Type Encoding Practices sections 2.1 and 5). A browser posts forms by http and https only.
func responseMode(params oauth.Params, redirectURI string) interaction.ResponseMode {
	words := strings.Split(params.Get("response_type"), " ")
	requested := params.Get("response_mode")
	isHTTP := strings.HasPrefix(redirectURI, "https://") || strings.HasPrefix(redirectURI, "http://")
	switch {
	case requested == oauth.ResponseModeFormPost && isHTTP:
		return interaction.ModeFormPost
	case requested == oauth.ResponseModeFragment, slices.Contains(words, "token"), slices.Contains(words, "id_token"):
		return interaction.ModeFragment
	default:
		return interaction.ModeQuery
	}
}

func readResponseMode(flow *interaction.ResolvedFlow, params oauth.Params) error {
	switch params.Get("response_mode") {
	case "", oauth.ResponseModeFragment:
		return nil
	case oauth.ResponseModeQuery:
		if flow.ResponseMode != interaction.ModeQuery {
			return oauth.Errorf(oauth.InvalidRequest, "response_mode query would put tokens where logs and referrers see them")
		}
		return nil
	case oauth.ResponseModeFormPost:
		if flow.ResponseMode != interaction.ModeFormPost {
			return oauth.Errorf(oauth.InvalidRequest, "response_mode form_post needs a redirect_uri that a browser can post a form to")
		}
		return nil
	default:
		return oauth.Errorf(oauth.InvalidRequest, "response_mode must be query, fragment or form_post")
	}
}

// readNonce requires a nonce with an ID token from this endpoint: nothing else ties the token to
// the request (OpenID Connect Core section 3.2.2.1).
func readNonce(flow *interaction.ResolvedFlow, params oauth.Params) error {
	flow.Nonce = params.Get("nonce")
	if flow.Nonce == "" && flow.HasResponseType("id_token") {
		return oauth.Errorf(oauth.InvalidRequest, "nonce is missing: a response_type with id_token needs it")
	}
	return nil
}

// readCodeChallenge allows PKCE with S256 only. Without a method, a challenge would be plain (RFC
// 7636 section 4.3), which shows the verifier to anyone who sees the request.
func readCodeChallenge(flow *interaction.ResolvedFlow, params oauth.Params) error {
	if !flow.HasResponseType("code") {
		return nil
	}
	challenge, method := params.Get("code_challenge"), params.Get("code_challenge_method")
	switch {
	case challenge == "" && method != "":
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is missing, although there is a code_challenge_method")
	case challenge == "" && flow.Client.RequiresPKCE():
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is missing: this client must use PKCE with S256 (RFC 7636)")
	case challenge == "":
		return nil
	case method != oauth.ChallengeS256:
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge_method must be S256; without it the method would be plain")
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(sum) != 32 {
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is not a SHA-256 in base64url")
	}
	flow.CodeChallenge = challenge
	return nil
}

var prompts = []string{oauth.PromptNone, oauth.PromptLogin, oauth.PromptConsent, oauth.PromptSelectAccount}

func readPrompt(flow *interaction.ResolvedFlow, params oauth.Params) error {
	for word := range strings.SplitSeq(params.Get("prompt"), " ") {
		if word == "" || flow.HasPrompt(word) {
			continue
		}
		if !slices.Contains(prompts, word) {
			return oauth.Errorf(oauth.InvalidRequest, "prompt may have none, login, consent and select_account only")
		}
		flow.Prompt = append(flow.Prompt, word)
	}
	if flow.HasPrompt(oauth.PromptNone) && len(flow.Prompt) > 1 {
		return oauth.Errorf(oauth.InvalidRequest, "prompt none must be the only one")
	}
	return nil
}

func readMaxAge(flow *interaction.ResolvedFlow, params oauth.Params) error {
	value := params.Get("max_age")
	if value == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return oauth.Errorf(oauth.InvalidRequest, "max_age must be a number of seconds")
	}
	flow.MaxAge = int64(seconds)
	return nil
}
