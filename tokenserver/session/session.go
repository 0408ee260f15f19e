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
	LastUsed int64    `json:"lu"`
}

// Hash of the session's id: 43 characters of base64url.
func (s *Session) Hash() string {
	sum := sha256.Sum256([]byte("session " + s.ID))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Ends is the absolute end of the session.
func (s *Session) Ends(server registration.Server) time.Time {
	return time.Unix(s.Started, 0).Add(server.SessionAbsoluteLifetime.Duration())
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
		AuthTime: now, AMR: amr, Started: now, LastUsed: now,
	}
	return session, s.set(w, server, session)
}

// Current session of the browser and its user; nil if there is none that is good. An error means that it is not known.
func (s *Sessions) Current(ctx context.Context, r *http.Request, server registration.Server) (*Session, *registry.User, error) {
	data, err := s.Keys.Open(keys.PurposeSession, web.CookiesOf(server.Issuer).Get(r, cookieSession))
	if err != nil {
		return nil, nil, nil // no cookie, or none that we sealed
	}
	session := &Session{}
	if err := json.Unmarshal(data, session); err != nil {
		return nil, nil, nil
	}
	if !s.alive(server, session) {
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

// alive says whether both lifetimes hold. They are the server's of now, so that a lowered one acts on running sessions.
func (s *Sessions) alive(server registration.Server, session *Session) bool {
	now := s.Now()
	idle := time.Unix(session.LastUsed, 0).Add(server.SessionIdleLifetime.Duration())
	return now.Before(idle) && now.Before(session.Ends(server))
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
