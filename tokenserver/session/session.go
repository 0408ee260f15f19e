// Package session is the login of a user in a browser: a sealed cookie, and no record. It ends by
// its idle or absolute lifetime, when the user is gone or has another password (UID and epoch are
// held against the registry at every use), and when its root is marked as ended.
//
// Each login draws a new session id (RFC 9700 section 4.7 on fixation). The root is drawn at the
// first login of a user in a browser and stays through the logins of that user that follow, so that
// logging in again for one application signs the user out of no other. Grants and tokens carry the
// root's hash, and marking the root ends all of them, and every copy of every cookie that has it.
// When another user logs in, the root that is replaced is marked before the new cookie is set:
// afterwards no cookie of the browser could end what rests on it.
//
//	session.go  a session from its login to its end
//	logins.go   how often a user may log in
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

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Session of a user, as its cookie holds it. Times are Unix seconds.
type Session struct {
	// Root and ID are random and leave the server only sealed. The id is of one login, the root of
	// all logins of the user in this browser; grants, tokens and marks carry the root's hash.
	Root      string   `json:"root"`
	ID        string   `json:"sid"`
	UserUID   string   `json:"uid"`
	UserEpoch string   `json:"ep"`
	AuthTime  int64    `json:"at"`
	AMR       []string `json:"amr,omitempty"`
	StartedAt int64    `json:"st"`
	// Until is the absolute end as it was at the login. A lowered lifetime ends the session
	// earlier, a raised one never later: the mark of an ended session may be forgotten after it.
	ExpiresAt int64 `json:"un"`
	LastUsed  int64 `json:"lu"`
	// RootUntil is the latest Until of all logins of the root. One before a lowered lifetime may
	// have a later end than this one has, and what came from it is good again if the lifetime is
	// raised.
	RootExpiresAt int64 `json:"ru,omitempty"`
	// StoreID is that of grant.Service. A store with another id does not know which sessions were
	// ended.
	StoreID string `json:"se,omitempty"`
}

// last is when no session of the root is good any more.
func (s *Session) lastExpiry() time.Time { return time.Unix(max(s.ExpiresAt, s.RootExpiresAt), 0) }

// Hash of the session's id, which tells this login from others: 43 characters of base64url.
func (s *Session) Hash() string { return hash("session " + s.ID) }

// RootHash is what everything that came from the session carries: 43 characters of base64url.
func (s *Session) RootHash() string { return hash("root " + s.Root) }

func hash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Ends is the absolute end of the session.
func (s *Session) EndsAt(server documents.Server) time.Time {
	now, then := time.Unix(s.StartedAt, 0).Add(server.SessionAbsoluteLifetime.Duration()), time.Unix(s.ExpiresAt, 0)
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

	logins logins
}

// Begin a session of the user, who has just authenticated by the methods (RFC 8176), in the browser
// that sent the request. It replaces the browser's session, if there is one. An error means that no
// cookie was set; it is a *TooManyLogins if the user has logged in too often.
func (s *Sessions) Begin(
	ctx context.Context, w http.ResponseWriter, r *http.Request, server documents.Server, user *registry.User, amr ...string,
) (*Session, error) {
	if err := s.checkLoginRate(ctx, user); err != nil {
		return nil, err
	}
	id, err := s.newRandomID()
	if err != nil {
		return nil, err
	}
	root, last, err := s.chooseRoot(ctx, r, server, user)
	if err != nil {
		return nil, err
	}
	now := s.Now().Unix()
	until := now + int64(server.SessionAbsoluteLifetime)
	session := &Session{
		Root: root, ID: id, UserUID: user.UID, UserEpoch: user.Epoch,
		AuthTime: now, AMR: amr, StartedAt: now, ExpiresAt: until, RootExpiresAt: max(until, last), LastUsed: now,
		StoreID: s.Grants.StoreID,
	}
	return session, s.setCookie(w, server, session)
}

// admit a login of the user, whose session may leave a mark behind when it ends.
func (s *Sessions) checkLoginRate(ctx context.Context, user *registry.User) error {
	ended, err := s.Grants.CountEndedSessions(ctx, user.UID, maxEnded)
	switch {
	case err != nil:
		return fmt.Errorf("counting the ended sessions of a user: %w", err)
	case ended >= maxEnded:
		return &TooManyLoginsError{}
	}
	if wait := s.logins.add(user.UID, s.Now()); wait > 0 {
		return &TooManyLoginsError{Wait: wait}
	}
	return nil
}

// root of a session that begins: that of the browser's cookie if it is of the same user, whether or
// not it still signs them in. It may be idle, at its absolute end, or of another password, but what
// rests on it may be good or become so, and the new cookie is what ends it. A root of another user
// is ended here. Last is when no earlier session of the root is good any more, in Unix seconds;
// zero: there is none.
func (s *Sessions) chooseRoot(
	ctx context.Context, r *http.Request, server documents.Server, user *registry.User,
) (root string, last int64, err error) {
	replaced := s.openCookie(r, server)
	if replaced != nil && !s.isForgettable(replaced) {
		ended, err := s.hasEnded(ctx, replaced)
		switch {
		case err != nil:
			return "", 0, err
		case !ended && replaced.UserUID == user.UID:
			return replaced.Root, replaced.lastExpiry().Unix(), nil
		case !ended:
			if err := s.markEnded(ctx, server, replaced, storage.EndSessionReplaced); err != nil {
				return "", 0, err
			}
		}
	}
	root, err = s.newRandomID()
	return root, 0, err
}

// draw makes a root or an id.
func (s *Sessions) newRandomID() (string, error) {
	value := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, value); err != nil {
		return "", fmt.Errorf("drawing a session: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(value), nil
}

// Current session of the browser and its user; nil if there is none that is good. An error means
// that it is not known.
func (s *Sessions) Current(ctx context.Context, r *http.Request, server documents.Server) (*Session, *registry.User, error) {
	session, user, err := s.Endable(ctx, r, server)
	if session == nil || user == nil || s.isIdle(server, session) || !s.Now().Before(session.EndsAt(server)) {
		return nil, nil, err
	}
	return session, user, nil
}

// Left is Current, and also finds a session that signs nobody in but that there is something left
// to end of: it was idle for too long or is at its absolute end, while tokens that came from it may
// still live; or its user is not served, and may be again. Then the user is nil.
func (s *Sessions) Endable(ctx context.Context, r *http.Request, server documents.Server) (*Session, *registry.User, error) {
	session := s.openCookie(r, server)
	if session == nil || s.isForgettable(session) {
		return nil, nil, nil
	}
	user, ok := s.Registry.UserByUID(session.UserUID)
	if !ok {
		user = nil
	} else if user.Epoch != session.UserEpoch {
		return nil, nil, nil // everything that came from it is refused for good, for the same reason
	}
	if ended, err := s.hasEnded(ctx, session); ended || err != nil {
		return nil, nil, err
	}
	return session, user, nil
}

// open the browser's cookie, whatever became of its session; nil if there is none that this server
// sealed, or the store has lost what it knew of it.
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

// over reports whether nothing that came from the session can be good any more: it has ended, and
// so has the last access token.
func (s *Sessions) isForgettable(session *Session) bool {
	return !s.Now().Before(session.lastExpiry().Add(grant.MaxAccessTokenLifetime))
}

// idle says whether the session was not used for too long. Like the absolute lifetime, the idle one
// is the server's of now, so that a lowered one acts on running sessions.
func (s *Sessions) isIdle(server documents.Server, session *Session) bool {
	return !s.Now().Before(time.Unix(session.LastUsed, 0).Add(server.SessionIdleLifetime.Duration()))
}

func (s *Sessions) hasEnded(ctx context.Context, session *Session) (bool, error) {
	ended, err := s.Grants.IsSessionEnded(ctx, session.RootHash())
	if err != nil {
		return false, fmt.Errorf("reading whether a session has ended: %w", err)
	}
	return ended, nil
}

// End the session, for every copy of each cookie of its root, and all that came from it and is not
// offline. The browser's cookie goes once that is done, and not before: it is needed to try again.
func (s *Sessions) End(ctx context.Context, w http.ResponseWriter, server documents.Server, session *Session) error {
	if err := s.markEnded(ctx, server, session, storage.EndLogout); err != nil {
		return err
	}
	web.CookiesOf(server.Issuer).Delete(w, cookieSession)
	return nil
}

// mark the root of a session as ended. The cookie at hand may be a copy of an earlier one than the
// browser has: the last cookie of the root is good for an absolute lifetime from now at the most.
func (s *Sessions) markEnded(ctx context.Context, server documents.Server, session *Session, reason string) error {
	ends := session.lastExpiry()
	if last := s.Now().Add(server.SessionAbsoluteLifetime.Duration()); last.After(ends) {
		ends = last
	}
	if err := s.Grants.EndSession(ctx, session.RootHash(), session.UserUID, ends, reason); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// Touch notes that the session was used.
func (s *Sessions) Touch(w http.ResponseWriter, server documents.Server, session *Session) error {
	now := s.Now()
	if now.Sub(time.Unix(session.LastUsed, 0)) < touchAfter {
		return nil
	}
	touched := *session
	touched.LastUsed = now.Unix()
	return s.setCookie(w, server, &touched)
}

// set the cookie. It goes when the browser closes; how long it is good for is inside.
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
