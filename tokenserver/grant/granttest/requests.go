package granttest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Route serves a room at a path, as an endpoint that programs talk to.
func (w *World) Route(path string, h web.Handler) { w.routes[path] = h }

// Answer of an endpoint.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// JSON is the body; nil if it is none.
	JSON map[string]any
}

// String of a field of the JSON; empty if there is none.
func (a Answer) String(field string) string {
	s, _ := a.JSON[field].(string)
	return s
}

// ErrorCode of the answer; empty if it has none.
func (a Answer) ErrorCode() string { return a.String("error") }

// Do sends a request through the edge to the room at its path.
func (w *World) Do(r *http.Request) Answer {
	w.t.Helper()
	h, ok := w.routes[r.URL.Path]
	if !ok {
		w.t.Fatalf("no room at %s", r.URL.Path)
	}
	w.mu.Lock()
	handler := w.Edge.ForAPI(strings.TrimPrefix(r.URL.Path, "/"), h)
	w.mu.Unlock()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	a := Answer{Status: recorder.Code, Header: recorder.Header(), Body: recorder.Body.String()}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(recorder.Body.Bytes(), &a.JSON); err != nil {
			w.t.Errorf("the body is not JSON: %s", a.Body)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, field := range []string{"access_token", "refresh_token", "id_token"} {
		if token := a.String(field); token != "" {
			w.secrets = append(w.secrets, token)
		}
	}
	return a
}

// Form request by POST. Pairs are name and value; client is who authenticates, by the method it registered; none without an id.
func (w *World) Form(path string, client documents.Client, pairs ...string) *http.Request {
	form := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		form.Add(pair[0], pair[1])
	}
	switch {
	case client.ID == "":
	case client.AuthMethod == oauth.AuthMethodSecretPost:
		form.Set("client_id", client.ID)
		form.Set("client_secret", Secret)
	case client.AuthMethod == oauth.AuthMethodNone:
		form.Set("client_id", client.ID)
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", oauth.FormType)
	if client.ID != "" && client.AuthMethod == oauth.AuthMethodSecretBasic {
		r.SetBasicAuth(url.QueryEscape(client.ID), url.QueryEscape(Secret))
	}
	return r
}

// Post a form and give the answer.
func (w *World) Post(path string, client documents.Client, pairs ...string) Answer {
	w.t.Helper()
	return w.Do(w.Form(path, client, pairs...))
}

// Authorization of alice to the client, as the authorization endpoint makes one for a request with a redirect URI and a challenge. It was made
// a minute after the login. Change what a test is about.
func (w *World) Authorization(client documents.Client, scopes ...string) grant.Authorization {
	login := w.Clock.Now().Add(-time.Minute)
	return grant.Authorization{
		ClientID: client.ID, ClientUID: client.UID, UserUID: "alice-uid", UserEpoch: "epoch-1",
		SessionHash: "session-1", SessionEnds: login.Add(w.Server.SessionAbsoluteLifetime.Duration()), AuthTime: login, AMR: []string{oauth.AMRPassword},
		Scopes: scopes, RedirectURI: Callback, RedirectURISent: true, Nonce: "n-0S6_WzA2Mj", CodeChallenge: Challenge,
		Offline: slices.Contains(scopes, oauth.ScopeOfflineAccess),
	}
}

// Consent stores that alice allows what the authorization is for, and makes the authorization rest
// on it. The client must be served.
func (w *World) Consent(a grant.Authorization) grant.Authorization {
	w.t.Helper()
	client, ok := w.Registry.ClientByUID(a.ClientUID)
	if !ok {
		w.t.Fatalf("%s is not served", a.ClientID)
	}
	now := w.Clock.Now()
	consent, err := w.Memory.GetConsent(context.Background(), a.UserUID, a.ClientUID)
	if errors.Is(err, storage.ErrNotFound) {
		consent, err = storage.Consent{UserUID: a.UserUID, ClientUID: a.ClientUID, GrantedAt: now}, nil
	}
	must(w.t, err)
	grant.Ask(client, a.Scopes, a.Resources, a.Claims).AddTo(&consent)
	consent.UpdatedAt = now
	consent, err = w.Memory.PutConsent(context.Background(), consent)
	must(w.t, err)
	a.Consented, a.ConsentUID = true, consent.UID
	return a
}

// Withdraw alice's consent to the client.
func (w *World) Withdraw(clientUID string) {
	w.t.Helper()
	must(w.t, w.Memory.DeleteConsent(context.Background(), "alice-uid", clientUID))
}

// Code of an authorization.
func (w *World) Code(a grant.Authorization) string {
	w.t.Helper()
	code, err := w.Grants.NewCode(a)
	must(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, code)
	return code
}

// Redeem a code as the client does, at /token; pairs are added to the request.
func (w *World) Redeem(client documents.Client, code string, pairs ...string) Answer {
	w.t.Helper()
	return w.Post("/token", client, slices.Concat([]string{
		"grant_type", oauth.GrantAuthorizationCode, "code", code, "redirect_uri", Callback, "code_verifier", Verifier}, pairs)...)
}

// Begin an authorization and redeem its code.
func (w *World) Begin(client documents.Client, scopes ...string) Answer {
	w.t.Helper()
	return w.OK(w.Redeem(client, w.Code(w.Authorization(client, scopes...))))
}

// Refresh at /token.
func (w *World) Refresh(client documents.Client, refreshToken string, pairs ...string) Answer {
	w.t.Helper()
	return w.Post("/token", client, slices.Concat([]string{"grant_type", oauth.GrantRefreshToken, "refresh_token", refreshToken}, pairs)...)
}

// OK stops the test unless the answer is a 200.
func (w *World) OK(a Answer) Answer {
	w.t.Helper()
	if a.Status != http.StatusOK {
		w.t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	return a
}

// Refused reports an answer that is not this error.
func (w *World) Refused(a Answer, status int, code string) {
	w.t.Helper()
	if a.Status != status || a.ErrorCode() != code {
		w.t.Errorf("answer is %d %s, want %d %s", a.Status, a.Body, status, code)
	}
}

// Active says whether an access token is active now.
func (w *World) Active(accessToken string) bool {
	w.t.Helper()
	_, err := w.Grants.CheckAccessToken(context.Background(), accessToken)
	if err != nil && !errors.Is(err, grant.ErrInactive) {
		w.t.Fatalf("checking an access token: %v", err)
	}
	return err == nil
}

// Records are all grants of alice.
func (w *World) Records() []storage.Grant {
	w.t.Helper()
	grants, err := w.Memory.ListGrants(context.Background(), "alice-uid", "")
	must(w.t, err)
	return grants
}

// Claims of a token, whose signature is not looked at.
func (w *World) Claims(token string) map[string]any { return w.part(token, 1) }

// Header of a token.
func (w *World) Header(token string) map[string]any { return w.part(token, 0) }

func (w *World) part(token string, i int) map[string]any {
	w.t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.t.Fatalf("%q is no token", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[i])
	must(w.t, err)
	var values map[string]any
	must(w.t, json.Unmarshal(raw, &values))
	return values
}

// Count gives the value of a counter with one label, or of one without if the label is empty.
func (w *World) Count(name, label string) float64 {
	w.t.Helper()
	families, err := w.Metrics.Gather()
	must(w.t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			if label == "" && len(metric.GetLabel()) == 0 {
				return metric.GetCounter().GetValue()
			}
			for _, pair := range metric.GetLabel() {
				if pair.GetValue() == label {
					return metric.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

// noSecretsInLog ends every test: nothing that could be used is in the log.
func (w *World) noSecretsInLog() {
	logged := w.Log.String()
	for _, secret := range w.secrets {
		if strings.Contains(logged, secret) {
			w.t.Errorf("a secret, code or token was logged")
		}
	}
}
