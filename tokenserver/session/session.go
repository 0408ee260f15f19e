// Package session keeps users signed in in their browsers. A session is a sealed cookie, and no
// record. It ends at its idle or absolute lifetime, when its user is gone or has another password
// (its UID and epoch are compared with the registry's at each use), when the tokensNotBefore of the
// server or the user voids its login, and when its root is marked as ended.
//
// Each login makes a new session id (RFC 9700 section 4.7 on fixation). The root is made at the
// first login of a user in a browser, and later logins of that user keep it, so that signing in
// again for one application does not sign the user out of another. Grants and tokens carry the hash
// of the root. Marking it as ended ends all of them, and each copy of each cookie that has the
// root. When another user logs in, the root that is replaced is marked before the new cookie is
// set: afterwards the browser has no cookie that could end it.
//
//	session.go        Session, and Sessions, which begins, finds and ends them
//	cookie.go         the cookie of a session
//	login_limiter.go  how often a user may log in
package session

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/grant"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// Session is the session of a user, as its cookie contains it. Times are Unix seconds.
type Session struct {
	// Root and ID are random, and leave the server only sealed. The id belongs to one login, the
	// root to all logins of the user in this browser.
	Root      string `json:"root"`
	ID        string `json:"sid"`
	UserUID   string `json:"uid"`
	UserEpoch string `json:"ep"`
	// ProviderUID is the UID of the identity provider that the user signed in at; empty for an
	// OAuthUser.
	ProviderUID string `json:"pu,omitempty"`
	// AuthTime is when the user authenticated; zero: the identity provider did not say.
	AuthTime int64    `json:"at"`
	AMR      []string `json:"amr,omitempty"`
	// StartedAt is when the user signed in here.
	StartedAt int64 `json:"st"`
	// ExpiresAt is when the session ends by the absolute lifetime that the server had at the login.
	// If the lifetime is lowered since, the session ends earlier; if it is raised, it does not end
	// later, since the mark of an ended session may be deleted then.
	ExpiresAt int64 `json:"un"`
	LastUsed  int64 `json:"lu"`
	// RootExpiresAt is the latest ExpiresAt of all logins of the root. A login before the lifetime
	// was lowered may have a later one than this login, and what was issued for it is valid again
	// if the lifetime is raised.
	RootExpiresAt int64 `json:"ru,omitempty"`
	// StoreID is that of grant.Service. A store with another id does not know which sessions were
	// ended.
	StoreID string `json:"se,omitempty"`
}

// lastExpiry returns when no session of the root is valid any more.
func (s *Session) lastExpiry() time.Time { return time.Unix(max(s.ExpiresAt, s.RootExpiresAt), 0) }

// AuthenticatedAt returns when the user authenticated; the zero time if that is not known.
func (s *Session) AuthenticatedAt() time.Time {
	if s.AuthTime == 0 {
		return time.Time{}
	}
	return time.Unix(s.AuthTime, 0)
}

// isOf reports whether the user of the session is still this one: at the same identity provider, and
// with the same epoch.
func (s *Session) isOf(user *registry.User) bool {
	return user.UID == s.UserUID && user.Epoch == s.UserEpoch && user.ProviderUID == s.ProviderUID
}

// Hash returns the hash of the session's id, 43 characters of base64url. Each login has another.
func (s *Session) Hash() string { return hash("session " + s.ID) }

// RootHash returns the hash that all that is issued for the session carries, 43 characters of
// base64url.
func (s *Session) RootHash() string { return hash("root " + s.Root) }

func hash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// EndsAt returns when the session ends by the absolute lifetime that the server has now.
func (s *Session) EndsAt(server documents.Server) time.Time {
	ends, expires := time.Unix(s.StartedAt, 0).Add(server.SessionAbsoluteLifetime.Duration()), time.Unix(s.ExpiresAt, 0)
	if ends.Before(expires) {
		return ends
	}
	return expires
}

// Sessions begins, finds and ends sessions. All exported fields are required.
type Sessions struct {
	Keys     *keys.Set
	Registry *registry.Registry
	Users    *users.Users
	Grants   *grant.Service
	Now      func() time.Time
	Random   io.Reader

	logins loginLimiter
}

// Login is a sign-in of a user.
type Login struct {
	User *registry.User
	// AMR are the methods by which the user authenticated (RFC 8176).
	AMR []string
	// AuthTime is when the identity provider says that the user authenticated; zero: it does not. An
	// OAuthUser authenticates as the session begins.
	AuthTime time.Time
}

// Begin begins a session of a user, who has just signed in, in the browser that sent the request. It
// replaces the browser's session, if there is one. After an error no cookie is set; it is a
// *TooManyLoginsError if the user has logged in too often.
func (s *Sessions) Begin(
	ctx context.Context, w http.ResponseWriter, r *http.Request, server documents.Server, login Login,
) (*Session, error) {
	user := login.User
	if err := s.checkLoginRate(ctx, user); err != nil {
		return nil, err
	}
	id, err := s.newRandomID()
	if err != nil {
		return nil, err
	}
	root, rootExpiresAt, err := s.chooseRoot(ctx, r, server, user)
	if err != nil {
		return nil, err
	}
	now := s.Now().Unix()
	expiresAt := now + int64(server.SessionAbsoluteLifetime)
	session := &Session{
		Root: root, ID: id, UserUID: user.UID, UserEpoch: user.Epoch, ProviderUID: user.ProviderUID, AMR: login.AMR, StartedAt: now,
		ExpiresAt: expiresAt, RootExpiresAt: max(expiresAt, rootExpiresAt), LastUsed: now, StoreID: s.Grants.StoreID,
	}
	switch {
	case user.ProviderUID == "":
		session.AuthTime = now
	case !login.AuthTime.IsZero():
		session.AuthTime = login.AuthTime.Unix()
	}
	return session, s.setCookie(w, server, session)
}

// checkLoginRate returns a *TooManyLoginsError if the user has logged in, or ended sessions, too
// often.
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

// chooseRoot returns the root of a session that begins, and its RootExpiresAt so far (0 for a new
// root). It is the root of the browser's cookie if that is of the same user, whether or not it is
// still valid. It may be idle, expired, or from before a change of the password: what was issued
// for it may still be valid or become so again, and only the new cookie can end it. If the root is
// of another user, chooseRoot marks it as ended and makes a new one.
func (s *Sessions) chooseRoot(
	ctx context.Context, r *http.Request, server documents.Server, user *registry.User,
) (root string, rootExpiresAt int64, err error) {
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

// newRandomID returns 256 random bits, in base64url.
func (s *Sessions) newRandomID() (string, error) {
	value := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, value); err != nil {
		return "", fmt.Errorf("reading randomness for a session: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(value), nil
}

// Current returns the session of the browser and its user; nil if the browser has no valid session.
// After an error that is not known.
func (s *Sessions) Current(ctx context.Context, r *http.Request, server documents.Server) (*Session, *registry.User, error) {
	session, user, err := s.findValid(ctx, r, server)
	if session == nil || user == nil || !s.isGoodFor(session, user) {
		return nil, nil, err
	}
	return session, user, nil
}

// Confirmed is like Current, for what is to yield a code or a token: the directory where the user signs
// in is asked again, if there is one (users.Users.Confirm).
func (s *Sessions) Confirmed(ctx context.Context, r *http.Request, server documents.Server) (*Session, *registry.User, error) {
	session, _, err := s.findValid(ctx, r, server)
	if session == nil {
		return nil, nil, err
	}
	user, ok, err := s.Users.Confirm(ctx, session.UserUID, session.UserEpoch)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("looking a user up: %w", err)
	case !ok || !s.isGoodFor(session, user):
		return nil, nil, nil
	case user.ProviderUID != "": // the directory takes time to answer, in which the session may end
		if ended, err := s.hasEnded(ctx, session); ended || err != nil {
			return nil, nil, err
		}
	}
	return session, user, nil
}

// isGoodFor reports whether the session is still of the user, and the maxAge of the identity provider
// has not passed since the sign-in. Else a leaver whose browser asks without a prompt would get tokens
// long after the refresh tokens ended.
func (s *Sessions) isGoodFor(session *Session, user *registry.User) bool {
	end, ok := user.SignInEndsAt(time.Unix(session.StartedAt, 0))
	return session.isOf(user) && (!ok || s.Now().Before(end))
}

// findValid returns the session of the browser if it is valid, but for what Confirm knows of the user;
// the user is nil if not served.
func (s *Sessions) findValid(ctx context.Context, r *http.Request, server documents.Server) (*Session, *registry.User, error) {
	session, user, unknown, err := s.find(ctx, r, server)
	if session == nil || s.isVoid(session) || s.isIdle(server, session) || !s.Now().Before(session.EndsAt(server)) {
		return nil, nil, err
	}
	if unknown != nil {
		return nil, nil, unknown
	}
	return session, user, nil
}

// Endable is like Current, but also returns a session that is not valid and that a logout has to
// end all the same: one that was idle for too long or is at its absolute end, since tokens that
// were issued for it may still be valid; one that tokensNotBefore voids, since that may be lowered;
// and one whose user is not served, since that may change: the user is nil then, as it is while the
// user cannot be looked up.
func (s *Sessions) Endable(ctx context.Context, r *http.Request, server documents.Server) (*Session, *registry.User, error) {
	session, user, _, err := s.find(ctx, r, server)
	return session, user, err
}

// find returns the session of the browser, valid or not, unless it has ended for good; its user, nil
// if the user is not served; and why it is not known whether the user is.
func (s *Sessions) find(
	ctx context.Context, r *http.Request, server documents.Server,
) (session *Session, user *registry.User, unknown, err error) {
	session = s.openCookie(r, server)
	if session == nil || s.isForgettable(session) {
		return nil, nil, nil, nil
	}
	user, ok, unknown := s.Users.ByUID(ctx, s.Users.Store, session.UserUID, session.UserEpoch)
	switch {
	case unknown != nil:
		unknown = fmt.Errorf("looking a user up: %w", unknown)
	case !ok:
		user = nil
	case !session.isOf(user):
		return nil, nil, nil, nil // what was issued for it has the same ones, and is void for good
	}
	if ended, err := s.hasEnded(ctx, session); ended || err != nil {
		return nil, nil, nil, err
	}
	return session, user, unknown, nil
}

// isForgettable reports whether nothing that was issued for the session can be valid any more: the
// session has expired, and so has the last access token.
func (s *Sessions) isForgettable(session *Session) bool {
	return !s.Now().Before(session.lastExpiry().Add(grant.MaxAccessTokenLifetime))
}

// isVoid reports whether the tokensNotBefore of the server, the user or the identity provider voids
// the session's login.
func (s *Sessions) isVoid(session *Session) bool {
	return s.Registry.NotBeforeOf("", session.UserUID, session.ProviderUID).VoidsLogin(time.Unix(session.StartedAt, 0))
}

// isIdle reports whether the session was not used for longer than the idle lifetime that the server
// has now, so that lowering it acts on running sessions.
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

// End ends the session, for each copy of each cookie of its root, and all that was issued for it
// and is not offline. It deletes the browser's cookie only afterwards: the cookie is needed to try
// again.
func (s *Sessions) End(ctx context.Context, w http.ResponseWriter, server documents.Server, session *Session) error {
	if err := s.markEnded(ctx, server, session, storage.EndLogout); err != nil {
		return err
	}
	deleteCookie(w, server)
	return nil
}

// markEnded marks the root of a session as ended. The cookie at hand may be a copy of an earlier
// one than the browser has. The last cookie of the root is valid for at most an absolute lifetime
// from now.
func (s *Sessions) markEnded(ctx context.Context, server documents.Server, session *Session, reason string) error {
	expiry := session.lastExpiry()
	if last := s.Now().Add(server.SessionAbsoluteLifetime.Duration()); last.After(expiry) {
		expiry = last
	}
	if err := s.Grants.EndSession(ctx, session.RootHash(), session.UserUID, expiry, reason); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// Touch records in the cookie that the session was used.
func (s *Sessions) Touch(w http.ResponseWriter, server documents.Server, session *Session) error {
	now := s.Now()
	if now.Sub(time.Unix(session.LastUsed, 0)) < touchInterval {
		return nil
	}
	touched := *session
	touched.LastUsed = now.Unix()
	return s.setCookie(w, server, &touched)
}
