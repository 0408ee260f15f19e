package servertest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handle registers the handler of an endpoint that programs use.
func (s *Server) Handle(path string, h web.Handler) { s.routes[path] = h }

// Answer is a response of an endpoint.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// JSON is the decoded body; nil if the body is not JSON.
	JSON map[string]any
}

// String returns a field of the JSON, or "" if there is none.
func (a Answer) String(field string) string {
	s, _ := a.JSON[field].(string)
	return s
}

// ErrorCode returns the OAuth error code, or "".
func (a Answer) ErrorCode() string { return a.String("error") }

// Do sends a request to the handler of its path.
func (s *Server) Do(r *http.Request) Answer {
	s.T.Helper()
	h, ok := s.routes[r.URL.Path]
	if !ok {
		s.T.Fatalf("no handler for %s", r.URL.Path)
	}
	s.mu.Lock()
	handler := s.Web.ForAPI(strings.TrimPrefix(r.URL.Path, "/"), h)
	s.mu.Unlock()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	a := Answer{Status: recorder.Code, Header: recorder.Header(), Body: recorder.Body.String()}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(recorder.Body.Bytes(), &a.JSON); err != nil {
			s.T.Errorf("the body is not JSON: %s", a.Body)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, field := range []string{"access_token", "refresh_token", "id_token"} {
		if token := a.String(field); token != "" {
			s.secrets = append(s.secrets, token)
		}
	}
	return a
}

// Form returns a POST request. Pairs are names and values. The client authenticates by the method
// that it registered; one without an id does not.
func (s *Server) Form(path string, client documents.Client, pairs ...string) *http.Request {
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

// Post sends a form.
func (s *Server) Post(path string, client documents.Client, pairs ...string) Answer {
	s.T.Helper()
	return s.Do(s.Form(path, client, pairs...))
}

// RequireOK ends the test unless the status is 200.
func (s *Server) RequireOK(a Answer) Answer {
	s.T.Helper()
	if a.Status != http.StatusOK {
		s.T.Fatalf("status %d: %s", a.Status, a.Body)
	}
	return a
}

// CheckError fails the test if the answer is not this error.
func (s *Server) CheckError(a Answer, status int, code string) {
	s.T.Helper()
	if a.Status != status || a.ErrorCode() != code {
		s.T.Errorf("answer is %d %s, want %d %s", a.Status, a.Body, status, code)
	}
}

// CounterValue returns the value of a counter with one label, or of one without labels if label is
// "".
func (s *Server) CounterValue(name, label string) float64 {
	s.T.Helper()
	families, err := s.Metrics.Gather()
	must(s.T, err)
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

// checkLog fails the test if the log contains a secret, a code or a token.
func (s *Server) checkLog() {
	logged := s.Log.String()
	for _, secret := range s.secrets {
		if strings.Contains(logged, secret) {
			s.T.Errorf("a secret, code or token was logged")
		}
	}
}
