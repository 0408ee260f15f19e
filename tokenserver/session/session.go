// Package session is the login of a user in a browser: a sealed cookie, and no record. It ends by its idle or absolute lifetime, when the
// user is gone or has another password (UID and epoch are held against the registry at every use), and when its hash is marked as ended.
//
// Each login draws a new session id (RFC 9700 section 4.7 on fixation): a session is never continued as another user's.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Session of a user, as its cookie holds it. Times are Unix seconds.
type Session struct {
	// ID is random and leaves the server only sealed; records carry its hash.
	ID       string   `json:"sid"`
	UserUID  string   `json:"uid"`
	Epoch    string   `json:"ep"`
	AuthTime int64    `json:"at"`
	AMR      []string `json:"amr,omitempty"`
	Started  int64    `json:"st"`
	// Until is the absolute end as it was at the login. A lowered lifetime ends the session earlier, a raised one never later: the mark of an
	// ended session may be forgotten after it.
	Until    int64 `json:"un"`
	LastUsed int64 `json:"lu"`
}

// Hash of the session's id: 43 characters of base64url.
func (s *Session) Hash() string {
	sum := sha256.Sum256([]byte("session " + s.ID))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Ends is the absolute end of the session.
func (s *Session) Ends(server registration.Server) time.Time {
	now, then := time.Unix(s.Started, 0).Add(server.SessionAbsoluteLifetime.Duration()), time.Unix(s.Until, 0)
	if now.Before(then) {
		return now
	}
	return then
}

const cookieSession = "session"

// touchAfter is how long a use is not written down, so that not every request sets a cookie.
const touchAfter = time.Minute

// Sessions begins and finds sessions. All fields are needed.
type Sessions struct {
	Keys     *keys.Set
	Registry *registry.Registry
	Grants   *grant.Service
	Now      func() time.Time
	Random   io.Reader
}

// Begin a session of the user, who has just authenticated by the methods (RFC 8176). It replaces the browser's session, if there is one.
func (s *Sessions) Begin(w http.ResponseWriter, server registration.Server, user *registry.User, amr ...string) (*Session, error) {
	id := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, id); err != nil {
		return nil, fmt.Errorf("drawing a session id: %w", err)
	}
	now := s.Now().Unix()
	session := &Session{
		ID: base64.RawURLEncoding.EncodeToString(id), UserUID: user.UID, Epoch: user.Epoch,
		AuthTime: now, AMR: amr, Started: now, Until: now + int64(server.SessionAbsoluteLifetime), LastUsed: now,
	}
	return session, s.set(w, server, session)
}

// Current session of the browser and its user; nil if there is none that is good. An error means that it is not known.
func (s *Sessions) Current(ctx context.Context, r *http.Request, server registration.Server) (*Session, *registry.User, error) {
	session, user, err := s.Left(ctx, r, server)
	if session == nil || s.idle(server, session) {
		return nil, nil, err
	}
	return session, user, nil
}

// Left is Current, and also finds a session that was idle for too long to sign anybody in: the tokens that came from it still live, so there
// is something left to end.
func (s *Sessions) Left(ctx context.Context, r *http.Request, server registration.Server) (*Session, *registry.User, error) {
	data, err := s.Keys.Open(keys.PurposeSession, web.CookiesOf(server.Issuer).Get(r, cookieSession))
	if err != nil {
		return nil, nil, nil // no cookie, or none that we sealed
	}
	session := &Session{}
	if err := json.Unmarshal(data, session); err != nil {
		return nil, nil, nil
	}
	if !s.Now().Before(session.Ends(server)) {
		return nil, nil, nil
	}
	user, ok := s.Registry.UserByUID(session.UserUID)
	if !ok || user.Epoch != session.Epoch {
		return nil, nil, nil
	}
	ended, err := s.Grants.SessionEnded(ctx, session.Hash())
	if err != nil {
		return nil, nil, fmt.Errorf("reading whether a session has ended: %w", err)
	}
	if ended {
		return nil, nil, nil
	}
	return session, user, nil
}

// idle says whether the session was not used for too long. Like the absolute lifetime, the idle one is the server's of now, so that a lowered
// one acts on running sessions.
func (s *Sessions) idle(server registration.Server, session *Session) bool {
	return !s.Now().Before(time.Unix(session.LastUsed, 0).Add(server.SessionIdleLifetime.Duration()))
}

// End the session, for every copy of its cookie, and all that came from it and is not offline. The browser's cookie goes once that is done,
// and not before: whoever has to try again needs it.
func (s *Sessions) End(ctx context.Context, w http.ResponseWriter, server registration.Server, session *Session) error {
	if err := s.Grants.EndSession(ctx, session.Hash(), session.UserUID, time.Unix(session.Until, 0)); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	web.CookiesOf(server.Issuer).Delete(w, cookieSession)
	return nil
}

// Touch notes that the session was used.
func (s *Sessions) Touch(w http.ResponseWriter, server registration.Server, session *Session) error {
	now := s.Now()
	if now.Sub(time.Unix(session.LastUsed, 0)) < touchAfter {
		return nil
	}
	touched := *session
	touched.LastUsed = now.Unix()
	return s.set(w, server, &touched)
}

// set the cookie. It goes when the browser closes; how long it is good for is inside.
func (s *Sessions) set(w http.ResponseWriter, server registration.Server, session *Session) error {
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
