package features

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/net/html"
	"golang.org/x/oauth2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// metadataCheck tries whether what the metadata advertises works: alice is signed in, and no client
// asks for her consent.
type metadataCheck struct {
	*testenv.Env
	alice  *browser.Browser
	signer jwkstest.Signer // of clients with private_key_jwt
	client *oauth2.Config  // has every grant
}

func newMetadataCheck(t *testing.T) *metadataCheck {
	t.Helper()
	env := testenv.New(t)
	all := spec("client_secret_basic")
	all.GrantTypes = []v1alpha1.GrantType{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"}
	tr := &metadataCheck{Env: env, signer: jwkstest.NewSigner("ES256", "k1"), alice: env.NewBrowser(), client: env.Config(env.ReadyClient("all", all), "openid")}
	env.SignInWith(tr.alice, tr.request(tr.client), testenv.Password)
	return tr
}

// spec of a client that signs users in.
func spec(method string) v1alpha1.OAuthClientSpec {
	return v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code"}, TokenEndpointAuthMethod: v1alpha1.TokenEndpointAuthMethod(method), Consent: "Skip",
		RedirectURIs: []string{"https://app.example.com/callback"}, Scopes: []string{"openid"},
	}
}

const verifier = "dBjftJeZ4CVP-mBoJBgEyfEHDvOOAuvWn0Cjm5PbCnk"

// request to the authorization endpoint, with PKCE and a nonce, and what is set instead.
func (tr *metadataCheck) request(c *oauth2.Config, pairs ...string) string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oidc.Nonce("n-0S6_WzA2Mj")}
	for i := 0; i < len(pairs); i += 2 {
		options = append(options, oauth2.SetAuthURLParam(pairs[i], pairs[i+1]))
	}
	return c.AuthCodeURL("xyz", options...)
}

// ask as alice, and see how the answer gets to the client, and which; by is "page" where there is
// none.
func (tr *metadataCheck) ask(request string) (by string, answer url.Values, page browser.Page) {
	tr.T.Helper()
	page = tr.Open(tr.alice, request)
	switch {
	case !strings.HasPrefix(page.At.String(), tr.Callback):
		by, answer = readFormPost(page.Document(), tr.Callback)
	case page.At.Fragment != "":
		by, answer = "fragment", page.Values()
	default:
		by, answer = "query", page.Values()
	}
	if by != "page" && (answer.Get("state") != "xyz" || answer.Get("iss") != tr.Issuer) {
		tr.T.Errorf("the answer to %s has not the state and the issuer: %v", request, answer)
	}
	return by, answer, page
}

// readFormPost reads the form that the page sends to the address (form_post response mode).
func readFormPost(page *html.Node, address string) (by string, answer url.Values) {
	by, answer = "page", url.Values{}
	for n := range page.Descendants() {
		attributes := map[string]string{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
		}
		if n.Data == "form" && attributes["action"] == address {
			by = "form_post"
		}
		if n.Data == "input" {
			answer.Set(attributes["name"], attributes["value"])
		}
	}
	return by, answer
}

// code for the client.
func (tr *metadataCheck) code(c *oauth2.Config) url.Values {
	tr.T.Helper()
	_, answer, _ := tr.ask(tr.request(c))
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {answer.Get("code")}, "redirect_uri": {tr.Callback}, "code_verifier": {verifier},
	}
}

// createIfValid creates a client, and reports whether the API server accepts it.
func (tr *metadataCheck) createIfValid(name string, spec v1alpha1.OAuthClientSpec) (*oauth2.Config, bool) {
	tr.T.Helper()
	spec.ServerRef = v1alpha1.ServerReference{Name: "main", Namespace: tr.ServerNamespace}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: tr.AppNamespace, Name: name}, Spec: spec}
	err := testenv.Kube.Create(tr.T.Context(), c)
	if apierrors.IsInvalid(err) {
		return nil, false
	}
	if err != nil {
		tr.T.Fatal(err)
	}
	tr.WaitFor("the client "+name+" to be Ready", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	return tr.Config(c, "openid"), true
}

// checkAdvertised fails the test unless exactly the advertised values work, of these values and all
// that are advertised.
func checkAdvertised(t testing.TB, what string, advertised []string, works func(value string) bool, values ...string) {
	t.Helper()
	for _, value := range slices.Compact(slices.Sorted(slices.Values(append(values, advertised...)))) {
		if works, named := works(value), slices.Contains(advertised, value); works != named {
			t.Errorf("%s %q: advertised %t, works %t", what, value, named, works)
		}
	}
}

// isRefused reports whether the response to the client is an error, which must be the one that RFC
// 6749 defines for it.
func isRefused(t testing.TB, what string, answer url.Values, code string) bool {
	t.Helper()
	if got := answer.Get("error"); got != "" && got != code {
		t.Errorf("%s is refused with %s, want %s", what, got, code)
	}
	return answer.Has("error")
}

func TestWhatIsAdvertisedWorksAndWhatIsNotIsRefused(t *testing.T) {
	tr := newMetadataCheck(t)
	provider, err := oidc.NewProvider(tr.Context(), tr.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		GrantTypes        []string `json:"grant_types_supported"`
		ResponseTypes     []string `json:"response_types_supported"`
		ResponseModes     []string `json:"response_modes_supported"`
		Prompts           []string `json:"prompt_values_supported"`
		Challenges        []string `json:"code_challenge_methods_supported"`
		Algorithms        []string `json:"id_token_signing_alg_values_supported"`
		TokenAuth         []string `json:"token_endpoint_auth_methods_supported"`
		IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported"`
		RevocationAuth    []string `json:"revocation_endpoint_auth_methods_supported"`
		AuthAlgorithms    []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	}
	if err := provider.Claims(&document); err != nil {
		t.Fatal(err)
	}
	checkAdvertised(t, "grant type", document.GrantTypes, tr.grantType,
		"authorization_code", "implicit", "password", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:openid:params:grant-type:ciba")
	checkAdvertised(t, "response type", document.ResponseTypes, tr.responseType,
		"code", "token", "id_token", "id_token token", "code token", "code id_token", "code id_token token", "none", "device", "code code")
	checkAdvertised(t, "response mode", document.ResponseModes, func(mode string) bool { return tr.responseMode(mode, document.ResponseTypes) },
		"query", "fragment", "form_post", "web_message", "jwt", "query.jwt", "form_post.jwt")
	checkAdvertised(t, "prompt", document.Prompts, tr.prompt, "none", "login", "consent", "select_account", "create")
	checkAdvertised(t, "code challenge method", document.Challenges, tr.challenge, "S256", "plain", "S512")
	checkAdvertised(t, "ID token algorithm", document.Algorithms, tr.algorithm, "ES256", "RS256", "PS256", "ES384", "EdDSA", "HS256", "none")

	checkAdvertised(t, "assertion algorithm", document.AuthAlgorithms, tr.assertionAlgorithm,
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "none")
	clients := map[string]*oauth2.Config{}
	methods := []string{"client_secret_basic", "client_secret_post", "none", "private_key_jwt", "client_secret_jwt", "tls_client_auth"}
	for _, method := range methods {
		asked := spec(method)
		if method == "private_key_jwt" {
			asked.JWKS = keysOf(tr.signer)
		}
		if c, ok := tr.createIfValid("by-"+strings.ReplaceAll(method, "_", "-"), asked); ok {
			clients[method] = c
		}
	}
	tokens := map[string]string{}
	checkAdvertised(t, "authentication at the token endpoint by", document.TokenAuth, func(method string) bool {
		if clients[method] == nil {
			return false
		}
		status, answer := tr.postAs(method, "/token", clients[method], tr.code(clients[method]))
		tokens[method], _ = answer["access_token"].(string)
		return status == http.StatusOK
	}, methods...)
	checkAdvertised(t, "authentication at the introspection endpoint by", document.IntrospectionAuth, func(method string) bool {
		if clients[method] == nil {
			return false
		}
		status, answer := tr.postAs(method, "/introspect", clients[method], url.Values{"token": {tokens[method]}})
		return status == http.StatusOK && answer["active"] == true
	}, methods...)
	checkAdvertised(t, "authentication at the revocation endpoint by", document.RevocationAuth, func(method string) bool {
		if clients[method] == nil {
			return false
		}
		status, _ := tr.postAs(method, "/revoke", clients[method], url.Values{"token": {tokens[method]}})
		return status == http.StatusOK
	}, methods...)
}

// postAs sends a form, authenticated as the client by the method.
func (tr *metadataCheck) postAs(method, endpoint string, c *oauth2.Config, form url.Values) (int, map[string]any) {
	tr.T.Helper()
	if method == "client_secret_basic" {
		return tr.Post(endpoint, c, form)
	}
	form.Set("client_id", c.ClientID)
	switch method {
	case "client_secret_post":
		form.Set("client_secret", c.ClientSecret)
	case "private_key_jwt":
		signer := tr.signer
		addAssertion(form, signer.Sign(tr.T, assertionClaims(tr.Env, c.ClientID)))
	}
	return tr.Post(endpoint, nil, form)
}

func (tr *metadataCheck) grantType(grant string) bool {
	form := url.Values{}
	switch grant {
	case "authorization_code":
		form = tr.code(tr.client)
	case "implicit":
		_, answer, _ := tr.ask(tr.request(tr.client, "response_type", "token"))
		if status, _ := tr.Post("/token", tr.client, url.Values{"grant_type": {grant}}); status == http.StatusOK {
			tr.T.Error("the implicit grant has no request to the token endpoint, and is answered there")
		}
		return answer.Has("access_token")
	case "password":
		form = url.Values{"username": {testenv.Username}, "password": {testenv.Password}}
	case "refresh_token":
		_, answer := tr.Post("/token", tr.client, tr.code(tr.client))
		token, _ := answer["refresh_token"].(string)
		form = url.Values{"refresh_token": {token}}
	}
	form.Set("grant_type", grant)
	status, answer := tr.Post("/token", tr.client, form)
	if status != http.StatusOK && answer["error"] != "unsupported_grant_type" {
		tr.T.Errorf("%s is refused with %d %v", grant, status, answer)
	}
	return status == http.StatusOK && answer["access_token"] != nil
}

// parameters of an answer, by the word of the response type that asks for it.
var parameters = map[string]string{"code": "code", "token": "access_token", "id_token": "id_token"}

func (tr *metadataCheck) responseType(words string) bool {
	_, answer, _ := tr.ask(tr.request(tr.client, "response_type", words))
	if isRefused(tr.T, words, answer, "unsupported_response_type") {
		return false
	}
	for word, parameter := range parameters {
		if answer.Has(parameter) != slices.Contains(strings.Split(words, " "), word) {
			tr.T.Errorf("the answer to %s: %s is there: %t", words, parameter, answer.Has(parameter))
		}
	}
	return true
}

// responseMode tries a mode with each response type. No token is ever in a query.
func (tr *metadataCheck) responseMode(mode string, types []string) bool {
	works := true
	for _, words := range types {
		by, answer, _ := tr.ask(tr.request(tr.client, "response_type", words, "response_mode", mode))
		if mode == "query" && words != "code" {
			if by == "query" || !isRefused(tr.T, mode, answer, "invalid_request") {
				tr.T.Errorf("%s by %s is answered by %s", words, mode, by)
			}
			continue
		}
		if isRefused(tr.T, mode, answer, "invalid_request") {
			works = false
		} else if by != mode {
			tr.T.Errorf("%s by %s is answered by %s", words, mode, by)
		}
	}
	return works
}

func (tr *metadataCheck) prompt(value string) bool {
	by, answer, page := tr.ask(tr.request(tr.client, "prompt", value))
	if isRefused(tr.T, value, answer, "invalid_request") {
		return false
	}
	shown := by
	for _, button := range []string{"login-submit", "consent-allow"} {
		if page.Find("button", "id", button) != nil {
			shown = button
		}
	}
	want := map[string]string{"none": "query", "login": "login-submit", "select_account": "login-submit", "consent": "consent-allow"}
	if shown != want[value] {
		tr.T.Errorf("prompt %s leads to %s", value, shown)
	}
	return true
}

func (tr *metadataCheck) challenge(method string) bool {
	challenge := verifier
	if method == "S256" {
		challenge = oauth2.S256ChallengeFromVerifier(verifier)
	}
	_, answer, _ := tr.ask(tr.request(tr.client, "code_challenge", challenge, "code_challenge_method", method))
	return !isRefused(tr.T, method, answer, "invalid_request")
}

func (tr *metadataCheck) algorithm(name string) bool {
	signed := spec("client_secret_basic")
	signed.IDTokenSignedResponseAlg = v1alpha1.SigningAlgorithm(name)
	c, ok := tr.createIfValid("signed-"+strings.ToLower(name), signed)
	if !ok {
		return false
	}
	_, answer := tr.Post("/token", c, tr.code(c))
	token, _ := answer["id_token"].(string)
	first, _, _ := strings.Cut(token, ".")
	var header struct {
		Algorithm string `json:"alg"`
	}
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil || header.Algorithm != name {
		tr.T.Errorf("the ID token for %s is signed by %q: %v", name, header.Algorithm, err)
	}
	return true
}
