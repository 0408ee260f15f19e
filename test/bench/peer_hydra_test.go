//go:build peers && postgres

package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/hack/local/process"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func startHydra(b *testing.B) (*runningPeer, error) {
	program, err := buildGoPeer("hydra", "github.com/ory/hydra/v2")
	if err != nil {
		return nil, err
	}
	s := newPeer(moduleVersion("hydra", "github.com/ory/hydra/v2"))
	s.web.scope += " offline_access" // without it there is no refresh token
	d := startPeerDatabase(b, s)
	address, admin := freeAddress(b), freeAddress(b)
	environment := []string{
		"DSN=" + d.DSN() + "&max_conns=32&max_idle_conns=32", // with twice the cores, its default, it waits for itself on a small machine
		"SECRETS_SYSTEM=a-secret-of-the-system-for-a-comparison", "URLS_SELF_ISSUER=http://" + address,
		"URLS_LOGIN=" + peerPages + "login", "URLS_CONSENT=" + peerPages + "consent", "STRATEGIES_ACCESS_TOKEN=jwt",
		"SERVE_PUBLIC_HOST=127.0.0.1", "SERVE_PUBLIC_PORT=" + portOf(address), "SERVE_ADMIN_HOST=127.0.0.1", "SERVE_ADMIN_PORT=" + portOf(admin),
		"SQA_OPT_OUT=true",
	}
	if _, err := output(peerDir("hydra"), "env", append(environment, program, "migrate", "sql", "--read-from-env", "--yes")...); err != nil {
		return nil, err
	}
	if err := s.run(b, "http://"+address, process.Command{Path: program, Args: []string{"serve", "all", "--dev"}, Env: environment, Output: &testenv.Logs}); err != nil {
		return nil, err
	}
	h := hydraAdmin{"http://" + admin + "/admin/", s}
	s.pages = h.accept
	return s, h.prepare()
}

// hydraAdmin is Hydra's API for the pages that it leaves to others, and for its clients.
type hydraAdmin struct {
	address string
	server  *runningPeer
}

// prepare makes keys for ES256, and the clients.
func (h hydraAdmin) prepare() error {
	for _, set := range []string{"hydra.jwt.access-token", "hydra.openid.id-token"} {
		if _, err := h.call(http.MethodPost, "keys/"+set, map[string]any{"alg": "ES256", "use": "sig", "kid": set + "-es256"}); err != nil {
			return err
		}
	}
	for _, c := range []map[string]any{
		{"client_id": h.server.service.id, "client_secret": h.server.service.secret, "grant_types": []string{"client_credentials"}, "scope": h.server.service.scope},
		{
			"client_id": h.server.web.id, "client_secret": h.server.web.secret, "grant_types": []string{"authorization_code", "refresh_token"},
			"scope": h.server.web.scope, "redirect_uris": []string{peerCallback}, "skip_consent": true,
		},
	} {
		if _, err := h.call(http.MethodPost, "clients", c); err != nil {
			return err
		}
	}
	return nil
}

// accept signs the user in, or consents.
func (h hydraAdmin) accept(at *url.URL) (string, error) {
	if challenge := at.Query().Get("login_challenge"); challenge != "" {
		return h.call(http.MethodPut, "oauth2/auth/requests/login/accept?login_challenge="+url.QueryEscape(challenge), map[string]any{"subject": "alice", "remember": true})
	}
	return h.call(http.MethodPut, "oauth2/auth/requests/consent/accept?consent_challenge="+url.QueryEscape(at.Query().Get("consent_challenge")),
		map[string]any{"grant_scope": strings.Fields(h.server.web.scope)})
}

// call returns where the answer redirects to, if it says so.
func (h hydraAdmin) call(method, path string, body any) (redirect string, err error) {
	content, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest(method, h.address+path, bytes.NewReader(content))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	if response.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	var accepted struct {
		RedirectTo string `json:"redirect_to"`
	}
	return accepted.RedirectTo, json.Unmarshal(answer, &accepted)
}
