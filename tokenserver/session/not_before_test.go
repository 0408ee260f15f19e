package session_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction/interactiontest"
)

func TestASessionIsVoidByTheTokensNotBeforeOfTheServerAndCanStillBeEnded(t *testing.T) {
	w := interactiontest.New(t)
	_, cookie := beginSession(t, w)
	w.ChangeDocument(func(s *documents.Server) { s.TokensNotBefore = w.Now().Unix() })
	if findSession(t, w, cookie) != nil {
		t.Error("a session of this second is valid")
	}
	r := newRequest(cookie)
	r.Method = http.MethodGet
	if left, user, err := w.Sessions.Endable(t.Context(), r, w.Document); err != nil || left == nil || user == nil {
		t.Errorf("it cannot be ended: %v, %v, %v", left, user, err)
	}
	w.Advance(time.Second)
	_, later := beginSession(t, w)
	if findSession(t, w, later) == nil {
		t.Error("a login of the next second is void")
	}
	w.ChangeDocument(func(s *documents.Server) { s.TokensNotBefore = 0 })
	if findSession(t, w, cookie) == nil {
		t.Error("a lower time does not make the session good again")
	}
}
