package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// newAdapter returns an adapter with its log and metrics.
func newAdapter(t testing.TB) (*Adapter, *bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	prom, log := prometheus.NewRegistry(), &bytes.Buffer{}
	metrics, err := NewMetrics(prom)
	if err != nil {
		t.Fatal(err)
	}
	return &Adapter{Log: slog.New(slog.NewJSONHandler(log, nil)), Metrics: metrics, Now: time.Now, Random: rand.Reader}, log, prom
}

// request returns the response of a handler.
func request(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// failWith returns a handler that fails.
func failWith(err error) Handler {
	return func(http.ResponseWriter, *http.Request) error { return err }
}

func TestAPIErrorsAreJSONThatNobodyStores(t *testing.T) {
	e, _, _ := newAdapter(t)
	w := request(e.ForAPI("token", failWith(fmt.Errorf("wrapped: %w",
		oauth.Errorf(oauth.InvalidClient, "unknown").WithHeader("WWW-Authenticate", "Basic")))), "POST", "/token")
	if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != "Basic" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", w.Header())
	}
	if got := w.Body.String(); got != `{"error":"invalid_client","error_description":"unknown"}` {
		t.Errorf("body %s", got)
	}
}

func TestWhatIsOursIsSaidToTheLogAndNotToTheClient(t *testing.T) {
	e, log, _ := newAdapter(t)
	for name, h := range map[string]http.Handler{
		"api":     e.ForAPI("token", failWith(errors.New("the disk is full"))),
		"browser": e.ForBrowser("login", failWith(errors.New("the disk is full"))),
	} {
		log.Reset()
		w := request(h, "GET", "/")
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "disk") {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "the disk is full") || !strings.Contains(log.String(), w.Header().Get("Request-Id")) {
			t.Errorf("%s: the log does not say why: %s", name, log)
		}
	}
}

func TestAStoreThatIsAwayIsTemporaryAndNothingOfItIsShown(t *testing.T) {
	const needle = `UPDATE grants SET object="grant-4f2a"`
	for _, cause := range []error{
		storage.ErrUnavailable, storage.ErrAmbiguous, storage.ErrFull, storage.ErrConflict, registry.ErrNotServing, context.DeadlineExceeded,
	} {
		err := fmt.Errorf("%s: %w", needle, cause)
		e, log, _ := newAdapter(t)
		for _, h := range []http.Handler{e.ForAPI("token", failWith(err)), e.ForBrowser("login", failWith(err))} {
			log.Reset()
			w := request(h, "POST", "/")
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
				t.Errorf("%v: status %d, Retry-After %q", err, w.Code, w.Header().Get("Retry-After"))
			}
			if shown := fmt.Sprint(w.Header()) + w.Body.String(); strings.Contains(shown, "grants") || strings.Contains(shown, "4f2a") ||
				strings.Contains(shown, cause.Error()) {
				t.Errorf("the client is shown the cause: %s", shown)
			}
			if !strings.Contains(log.String(), "grant-4f2a") {
				t.Errorf("the log does not say why: %s", log)
			}
		}
	}
}

func TestWhoeverIsRefusedAtOneMomentDoesNotComeAgainAtOneMoment(t *testing.T) {
	e, _, _ := newAdapter(t)
	const each = 10
	answers := map[string]int{}
	for range each * (maxRetryAfter - minRetryAfter + 1) {
		answers[request(e.ForAPI("token", failWith(storage.ErrUnavailable)), "POST", "/").Header().Get("Retry-After")]++
	}
	for seconds := minRetryAfter; seconds <= maxRetryAfter; seconds++ {
		if n := answers[strconv.Itoa(seconds)]; n != each {
			t.Errorf("%d clients come again after %d seconds, want %d of each: %v", n, seconds, each, answers)
		}
	}
}

func TestAClientThatHangsUpIsNoFailureOfOurs(t *testing.T) {
	for _, test := range []struct {
		err    error
		gone   bool
		failed bool
	}{
		{context.Canceled, true, false},
		{fmt.Errorf("reading a grant: %w", storage.ErrUnavailable), true, false},
		{fmt.Errorf("reading a grant: %w", storage.ErrUnavailable), false, true},
		{errors.New("the disk is full"), true, true},
	} {
		e, log, _ := newAdapter(t)
		ctx, hangUp := context.WithCancel(t.Context())
		if test.gone {
			hangUp()
		}
		e.ForAPI("token", failWith(test.err)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "POST", "/token", nil))
		hangUp()
		if failed := strings.Contains(log.String(), "ERROR"); failed != test.failed {
			t.Errorf("%v, hung up %t: the log says %s", test.err, test.gone, log)
		}
	}
}

func TestAPanicIsA500WithoutDetailAndTheServerGoesOn(t *testing.T) {
	e, log, _ := newAdapter(t)
	h := e.ForAPI("token", func(http.ResponseWriter, *http.Request) error { panic("the secret is hunter2") })
	for range 2 {
		w := request(h, "GET", "/")
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "goroutine") {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "web_test.go") {
		t.Errorf("the log should say where and not what: %s", log)
	}
	log.Reset()
	request(e.ForBrowser("login", func(http.ResponseWriter, *http.Request) error { panic(runtimeError()) }), "GET", "/")
	if !strings.Contains(log.String(), "index out of range") {
		t.Errorf("the log does not say what the runtime said: %s", log)
	}
}

// runtimeError returns an error with which the runtime panics.
func runtimeError() (fault any) {
	defer func() { fault = recover() }()
	var none []int
	index := len(none)
	return none[index]
}

func TestAnAnswerThatBreaksOffIsCutOff(t *testing.T) {
	e, _, _ := newAdapter(t)
	server := httptest.NewServer(e.ForAPI("token", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
		return errors.New("no more")
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err == nil {
		defer func() { _ = response.Body.Close() }()
		if _, err = new(bytes.Buffer).ReadFrom(response.Body); err == nil {
			t.Error("half an answer looks like a whole one")
		}
	}
}

func TestOnlyTheMethodsOfAnEndpointAreTaken(t *testing.T) {
	e, _, _ := newAdapter(t)
	h := e.ForAPI("token", func(w http.ResponseWriter, _ *http.Request) error { return JSON(w, 200, "ok") }, "POST")
	for method, want := range map[string]int{"POST": 200, "GET": 405, "HEAD": 405, "PUT": 405, "MADEUP": 405, "OPTIONS": 405} {
		w := request(h, method, "/token")
		if w.Code != want || want == 405 && w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	if w := request(e.ForBrowser("jwks", func(w http.ResponseWriter, _ *http.Request) error { return NoBody(w, 204) }, "GET"), "HEAD", "/"); w.Code != 204 {
		t.Errorf("HEAD where GET is: status %d", w.Code)
	}
}

func TestEachRequestIsOneEventOfKnownFields(t *testing.T) {
	e, log, registry := newAdapter(t)
	h := e.ForAPI("token", func(_ http.ResponseWriter, r *http.Request) error {
		NoteClient(r.Context(), "shop-web")
		NoteGrantType(r.Context(), "password")
		NoteGrantType(r.Context(), "made-up-grant")
		return oauth.Errorf("made_up_code", "whatever")
	})
	w := request(h, "MADEUP", "/token?client_secret=s3cret")
	var event map[string]any
	if err := json.Unmarshal(log.Bytes(), &event); err != nil {
		t.Fatalf("not one event: %s", log)
	}
	for name, want := range map[string]any{
		"msg": "request", "endpoint": "token", "method": "OTHER", "status": 400.0, "client": "shop-web", "grant_type": "password", "error": "other",
		"request": w.Header().Get("Request-Id"),
	} {
		if event[name] != want {
			t.Errorf("%s is %v, want %v", name, event[name], want)
		}
	}
	for name := range event {
		switch name {
		case "time", "level", "msg", "request", "endpoint", "method", "status", "duration", "client", "grant_type", "error":
		default:
			t.Errorf("there is a field %s", name)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if strings.Contains(strings.ToLower(label.GetValue()), "made") {
					t.Errorf("%s has the label %s=%s from the request", family.GetName(), label.GetName(), label.GetValue())
				}
			}
		}
	}
}

func TestARequestIDIsOursAndDifferent(t *testing.T) {
	e, _, _ := newAdapter(t)
	h := e.ForAPI("token", func(w http.ResponseWriter, _ *http.Request) error { return NoBody(w, 204) })
	seen := map[string]bool{}
	for range 3 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Request-Id", "theirs")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		id := w.Header().Get("Request-Id")
		if id == "theirs" || len(id) != 24 || seen[id] {
			t.Errorf("request id %q", id)
		}
		seen[id] = true
	}
}

func TestPagesAreNotFramedStoredScriptedOrReferredFrom(t *testing.T) {
	e, _, _ := newAdapter(t)
	answers := map[string]*httptest.ResponseRecorder{
		"page": request(e.ForBrowser("login", func(w http.ResponseWriter, _ *http.Request) error {
			return Page(w, 200, pages.Login{Action: "/login"}, "https://shop.example.com/cb")
		}), "GET", "/"),
		"error page": request(e.ForBrowser("login", failWith(&PageError{Status: 403, Code: oauth.InvalidRequest, Message: "No."})), "GET", "/"),
	}
	for name, w := range answers {
		for header, want := range map[string]string{
			"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Content-Type": "text/html; charset=utf-8",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		policy := w.Header().Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: no %s in %q", name, part, policy)
			}
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: other origins may read it", name)
		}
	}
	if !strings.Contains(answers["page"].Header().Get("Content-Security-Policy"), "form-action 'self' https://shop.example.com https:;") {
		t.Error("the form may not lead to the client")
	}
}

func TestAProtocolErrorInABrowserIsAPageThatQuotesNothing(t *testing.T) {
	e, _, _ := newAdapter(t)
	w := request(e.ForBrowser("login", failWith(oauth.Errorf(oauth.InvalidRequest, "quoted <text>"))), "GET", "/")
	if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "quoted") || !strings.Contains(w.Body.String(), pages.MessageBadRequest) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestARedirectIsASeeOtherWithoutReferrer(t *testing.T) {
	w := httptest.NewRecorder()
	if err := Redirect(w, "https://shop.example.com/cb?code=1"); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "https://shop.example.com/cb?code=1" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	if err := Redirect(httptest.NewRecorder(), "https://shop.example.com/\r\nSet-Cookie: a=b"); err == nil {
		t.Error("a line break got into the headers")
	}
}

func TestCookiesOfTwoIssuersDoNotMeet(t *testing.T) {
	one, two := CookiesOf("http://127.0.0.1:8080"), CookiesOf("http://127.0.0.1:8081")
	if one.Name("session") == two.Name("session") {
		t.Error("both have the same name")
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: one.Name("session"), Value: "mine"})
	if one.Get(r, "session") != "mine" || two.Get(r, "session") != "" || one.Get(r, "browser") != "" {
		t.Error("a cookie was taken for another")
	}
	r.AddCookie(&http.Cookie{Name: one.Name("session"), Value: "planted"})
	if got := one.Get(r, "session"); got != "" {
		t.Errorf("of two cookies with one name %q was taken", got)
	}
}

func TestCORSAllowsAnyOriginWithoutCredentials(t *testing.T) {
	e, _, _ := newAdapter(t)
	h := CORS(e.ForAPI("token", failWith(oauth.Errorf(oauth.InvalidRequest, "no")), "POST"), "POST")
	for _, method := range []string{"POST", "GET"} {
		w := request(h, method, "/token")
		if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: headers %v", method, w.Header())
		}
	}
}

func TestAPreflightAllowsAnyHeaderAndAuthorization(t *testing.T) {
	e, _, _ := newAdapter(t)
	h := CORS(e.ForAPI("token", failWith(oauth.Errorf(oauth.InvalidRequest, "no")), "GET", "POST"), "GET", "POST")
	for _, asked := range []string{"", "authorization", "content-type,traceparent,x-requested-with", "mcp-protocol-version"} {
		r := httptest.NewRequest("OPTIONS", "/token", nil)
		r.Header.Set("Origin", "https://spa.example.com")
		r.Header.Set("Access-Control-Request-Method", "POST")
		if asked != "" {
			r.Header.Set("Access-Control-Request-Headers", asked)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*, Authorization", "Access-Control-Allow-Methods": "GET, POST",
			"Access-Control-Allow-Credentials": "", "Vary": "",
		} {
			if got := w.Header().Get(name); got != want || w.Code != http.StatusNoContent {
				t.Errorf("preflight for %q: status %d, %s is %q, want %q", asked, w.Code, name, got, want)
			}
		}
	}
}
