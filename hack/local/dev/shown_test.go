package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestTheRequestThatIsShownIsTheOneThatIsSent(t *testing.T) {
	var sent []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if user, password, ok := r.BasicAuth(); !ok || user != "id" || password != "secret" {
			t.Errorf("authenticated as %q with %q", user, password)
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
	}))
	defer server.Close()
	var out bytes.Buffer
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/token",
		strings.NewReader(url.Values{"grant_type": {"password"}, "password": {"x&y=z +%"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth("id", "secret")
	response, err := (&http.Client{Transport: &shownTransport{next: http.DefaultTransport, out: &out}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if closed := response.Body.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	if string(answer) != `{"error":"invalid_grant"}` {
		t.Errorf("the caller reads %s", answer)
	}
	want := "POST " + server.URL + "/token\n" +
		"Authorization: " + request.Header.Get("Authorization") + "\n" +
		"Content-Type: application/x-www-form-urlencoded\n\n" +
		strings.Replace(string(sent), "&", "\n  &", 1) + "\n\n" +
		"HTTP/1.1 400 Bad Request\n{\n  \"error\": \"invalid_grant\"\n}\n\n"
	if out.String() != want {
		t.Errorf("it shows\n%s\nwant\n%s", out.String(), want)
	}
}

func TestAMistakeInTheCommandIsSaid(t *testing.T) {
	p := paths{t.TempDir()}
	for want, args := range map[string][]string{
		"want a grant type":           nil,
		`no grant type "device_code"`: {"device_code"},
		"does `make run` run?":        {"client_credentials", "service"},
	} {
		if err := tokenCommand(t.Context(), p, args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestACommandIsToldThatNothingRuns(t *testing.T) {
	p := paths{t.TempDir()}
	if err := os.MkdirAll(p.local(), 0o755); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // the kubeconfig is still there when the control plane is not
	content := "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: \"" + server.URL + "\"}}]\n" +
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n"
	if err := os.WriteFile(p.kubeconfig(), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"client_credentials"}, {"client_credentials", "service"}} {
		if err := tokenCommand(t.Context(), p, args, io.Discard); err == nil || !strings.Contains(err.Error(), "does `make run` run?") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestACommandThatIsNoneIsToldWhichThereAre(t *testing.T) {
	if err := dispatch(t.Context(), []string{"no-such-command"}); err == nil || !strings.Contains(err.Error(), "run, token, controlplane and cluster") {
		t.Errorf("the error is %v", err)
	}
}
