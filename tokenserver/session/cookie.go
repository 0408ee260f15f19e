package session

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// cookieSession is the kind of the cookie.
const cookieSession = "session"

// touchInterval is how often Touch sets the cookie at most, so that not every response has one.
const touchInterval = time.Minute

// openCookie returns the session of the browser's cookie, valid or not. It returns nil if there is
// no cookie that this server sealed, or if the store has lost what it knew of the session.
func (s *Sessions) openCookie(r *http.Request, server documents.Server) *Session {
	data, err := s.Keys.Open(keys.PurposeSession, web.CookiesOf(server.Issuer).Get(r, cookieSession))
	if err != nil {
		return nil
	}
	session := &Session{}
	if err := json.Unmarshal(data, session); err != nil || session.Root == "" || session.ID == "" {
		return nil
	}
	if session.StoreID != s.Grants.StoreID {
		return nil
	}
	return session
}

// setCookie sets the cookie. The browser deletes it when it closes; how long the session is valid
// is inside.
func (s *Sessions) setCookie(w http.ResponseWriter, server documents.Server, session *Session) error {
	data, err := json.Marshal(session)
	if err != nil {
		return fmt.Errorf("encoding a session: %w", err)
	}
	sealed, err := s.Keys.Seal(keys.PurposeSession, data)
	if err != nil {
		return fmt.Errorf("sealing a session: %w", err)
	}
	web.CookiesOf(server.Issuer).Set(w, cookieSession, sealed, 0)
	return nil
}

func deleteCookie(w http.ResponseWriter, server documents.Server) {
	web.CookiesOf(server.Issuer).Delete(w, cookieSession)
}
