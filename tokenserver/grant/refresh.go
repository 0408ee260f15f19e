package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// refreshTokenContent is the content of a refresh token. It has nothing random, so that the token
// with one number of a grant is always the same string.
type refreshTokenContent struct {
	Grant       string `json:"g"`
	Incarnation string `json:"i"`
	Number      int64  `json:"n"`
}

// sealRefreshToken returns the current refresh token of the grant, which is always the same string.
// It is empty if the grant has none.
func (s *Service) sealRefreshToken(g storage.Grant) (string, error) {
	if g.RefreshTokenNumber == 0 {
		return "", nil
	}
	plain, err := json.Marshal(refreshTokenContent{g.ID, g.Incarnation, g.RefreshTokenNumber})
	if err != nil {
		return "", fmt.Errorf("encoding a refresh token: %w", err)
	}
	return s.Keys.SealDeterministic(keys.PurposeRefresh, g.SealingKID, plain)
}

func (s *Service) openRefreshToken(sealed string) (refreshTokenContent, bool) {
	plain, err := s.Keys.Open(keys.PurposeRefresh, sealed)
	if err != nil {
		return refreshTokenContent{}, false
	}
	var content refreshTokenContent
	if err := json.Unmarshal(plain, &content); err != nil || content.Grant == "" || content.Number < 1 {
		return refreshTokenContent{}, false
	}
	return content, true
}

// RefreshRequest is a token request with a refresh token (RFC 6749 section 6). The client has
// authenticated.
type RefreshRequest struct {
	Client       *registry.Client
	RefreshToken string
	// Scopes and Resources that the request asks for; empty: all that was granted.
	Scopes    []string
	Resources []string
}

// refreshState is a RefreshRequest and what has become of it so far.
type refreshState struct {
	RefreshRequest
	token refreshTokenContent
	// server is the document when the request came, so that one set of rules applies throughout.
	server documents.Server
	// attempt is the Attempt of every write of the request.
	attempt string
	// written is the result of the last write whose outcome is unknown.
	written Result
	// maybeWritten reports whether a rotation by this request may have happened or may still
	// happen.
	maybeWritten bool
	// unread reports whether a rotation by refreshUnread may have happened.
	unread bool
	// retrying reports whether the request has tried to replace a record that it had read, and not
	// only one from a cache.
	retrying bool
}

// Refresh exchanges a refresh token for new tokens. As with codes, only a request that passes every
// check rotates the token or ends the grant.
func (s *Service) Refresh(ctx context.Context, r RefreshRequest) (result Result, err error) {
	token, ok := s.openRefreshToken(r.RefreshToken)
	if !ok {
		return Result{}, invalidGrant("the refresh token is not one of this server")
	}
	server, ok := s.Registry.Server()
	if !ok {
		return Result{}, registry.ErrNotServing
	}
	attempt, err := s.newRandomID()
	if err != nil {
		return Result{}, err
	}
	state := refreshState{RefreshRequest: r, token: token, server: server, attempt: attempt[:32]}
	s.refreshWrites.begin(token.Grant, state.attempt)
	err = errAborted
	defer func() {
		s.outages.record(ctx, err, s.Now())
		s.refreshWrites.finish(token.Grant, state.attempt, err, state.maybeWritten, s.Now())
	}()
	return s.refreshUntilConfirmed(ctx, &state)
}

// refreshUntilConfirmed repeats a refresh until its outcome is known. If another request for the
// same token is faster, the slower one is no reuse of the token.
func (s *Service) refreshUntilConfirmed(ctx context.Context, r *refreshState) (Result, error) {
	for _, try := range []func(context.Context, *refreshState) (Result, bool, error){s.refreshFromCache, s.refreshUnread} {
		if result, ok, err := try(ctx, r); ok {
			return result, err
		}
	}
	for range maxTries {
		g, from, err := s.readGrantOf(ctx, s.Store, r.token, r.Client)
		if err != nil {
			return Result{}, err
		}
		if g.Attempt == r.attempt && !g.IsEnded() {
			if r.unread && r.written.User == nil {
				return s.repeatUnread(ctx, r, g, from)
			}
			return s.confirmedResult(r, g)
		}
		result, err := s.refreshOnce(ctx, r, g, from, s.chooseAction(g, r.token.Number, r.server.RefreshToken, r.Client.IsPublic()))
		if !errors.Is(err, errUnconfirmed) {
			return result, err
		}
		r.retrying = true
	}
	return Result{}, storage.ErrAmbiguous
}

// maxRequestDuration is longer than a request takes, including everything that it waits for.
const maxRequestDuration = 30 * time.Second

// refreshFromCache rotates the token of a cached record, where the store has a cache, which saves a
// read. If the record has changed since, the write is a conflict and changes nothing. It reports
// whether it has an answer: it succeeded, or the directory of the user cannot be asked, which is not to
// be waited for twice. If not, for whatever reason, the caller reads the record.
//
// After a conflict it is not known whether the token was current when the request came. In the
// grace period that makes no difference. If the grace period may be shorter than the request, the
// record has to be read first, because the slower of two parallel requests would otherwise be a
// reuse.
func (s *Service) refreshFromCache(ctx context.Context, r *refreshState) (result Result, ok bool, err error) {
	recent := storage.RecentReader(s.Store)
	if recent == storage.Reader(s.Store) || r.server.RefreshToken.ReuseGracePeriod.Duration() < maxRequestDuration {
		return Result{}, false, nil
	}
	g, _, err := s.readGrantOf(ctx, recent, r.token, r.Client)
	if err != nil || s.chooseAction(g, r.token.Number, r.server.RefreshToken, r.Client.IsPublic()) != actionRotate {
		return Result{}, false, nil
	}
	result, err = s.refreshOnce(ctx, r, g, s.Store, actionRotate)
	return result, err == nil || errors.Is(err, users.ErrUnconfirmed), err
}

// confirmedResult returns the result of a write of this request that is found to have happened,
// after its answer was lost or was a conflict.
func (s *Service) confirmedResult(r *refreshState, found storage.Grant) (result Result, err error) {
	result = r.written
	result.Grant = found
	if found.RefreshTokenNumber > r.token.Number {
		result.RefreshToken, err = s.sealRefreshToken(found)
	}
	return result, err
}

// readGrantOf reads the record of a refresh token, and checks that the token belongs to the client
// and the record. It returns a reader besides, for the preconditions of the record.
func (s *Service) readGrantOf(
	ctx context.Context, from storage.Reader, token refreshTokenContent, client *registry.Client,
) (storage.Grant, storage.Reader, error) {
	g, from, err := storage.GetGrantWithBasis(ctx, from, token.Grant)
	switch {
	case err != nil:
		return storage.Grant{}, nil, refuseNotFound(err)
	case g.ClientUID != client.UID || g.ClientID != client.ID:
		return storage.Grant{}, nil, invalidGrant("the refresh token was issued to another client")
	case g.Incarnation != token.Incarnation || g.RefreshTokenNumber == 0:
		return storage.Grant{}, nil, invalidGrant("the refresh token is of an authorization that is gone")
	}
	return g, from, nil
}

func refuseNotFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("the authorization is gone: it has expired or was deleted")
	}
	return err
}

// refreshOnce does what was chosen for the record as it was read. What the record rests on is read
// from the reader.
func (s *Service) refreshOnce(ctx context.Context, r *refreshState, g storage.Grant, from storage.Reader, action refreshAction) (Result, error) {
	result, err := s.resultOf(ctx, r, g, from)
	if err != nil {
		return Result{}, err
	}
	switch action {
	case actionRotate:
		return s.rotate(ctx, r, result)
	case actionKeep:
		return s.recordUse(ctx, r, result)
	case actionRepeat:
		return s.repeatResult(result)
	case actionRefuseNewer:
		s.Log.WarnContext(ctx, "a refresh token is newer than its record: was the store restored from a backup?", "grant", g.ID, "client", g.ClientID)
		return Result{}, invalidGrant("the refresh token is newer than what the server remembers")
	default:
		return s.handleReuse(ctx, r, result)
	}
}

// resultOf returns what the request gets by a grant, without a refresh token, or a *RefusedError.
func (s *Service) resultOf(ctx context.Context, r *refreshState, g storage.Grant, from storage.Reader) (Result, error) {
	user, err := s.checkRefresh(ctx, from, r.Client, g, r.server, true)
	if err != nil {
		return Result{}, err
	}
	result := Result{Grant: g, User: user}
	result.Scopes, result.Audience, err = resolveAccess(r.Client, coverageOf(g), r.Scopes, r.Resources)
	return result, err
}

// handleReuse answers a token that was replaced. It ends the grant, because a copy of the token was
// used, unless the client never got the next token or another request was faster.
func (s *Service) handleReuse(ctx context.Context, r *refreshState, result Result) (Result, error) {
	g := result.Grant
	switch {
	case r.token.Number == g.RefreshTokenNumber-1 && s.refreshWrites.adopt(g.ID, g.Attempt, s.Now()):
		r.attempt, r.maybeWritten = g.Attempt, true
		return s.repeatResult(result)
	case r.retrying:
		return Result{}, invalidGrant("the refresh token was used by another request meanwhile")
	}
	if err := s.End(ctx, g.ID, storage.EndRefreshTokenReuse); err != nil {
		return Result{}, err
	}
	return Result{}, invalidGrant("the refresh token was used already; all tokens of the authorization are revoked")
}

// repeatResult returns the result with the current refresh token, which was issued before.
func (s *Service) repeatResult(result Result) (Result, error) {
	var err error
	result.RefreshToken, err = s.sealRefreshToken(result.Grant)
	if errors.Is(err, keys.ErrNoKey) {
		return Result{}, invalidGrant("the key of the refresh token was revoked")
	}
	return result, err
}

// rotate replaces the current refresh token by the next. It does not extend the absolute lifetime.
func (s *Service) rotate(ctx context.Context, r *refreshState, result Result) (Result, error) {
	g, now := result.Grant, s.Now()
	g.RefreshTokenNumber++
	g.RefreshTokenIssuedAt, g.LastUsedAt, g.SealingKID = now, now, s.Keys.SealingKID()
	g.ExpiresAt = expiryOf(g, r.Client, r.server, now)
	result.Grant = g
	var err error
	if result.RefreshToken, err = s.sealRefreshToken(g); err != nil {
		return Result{}, err
	}
	return s.updateGrant(ctx, r, result)
}

// lastUsedInterval is how old LastUsedAt becomes before the use of a refresh token that is kept is
// stored: not every use costs a write.
const lastUsedInterval = time.Hour

// recordUse stores the use of a refresh token that is kept, if that is due. Under a short idle
// lifetime it is due earlier, so that a token in use does not become idle.
func (s *Service) recordUse(ctx context.Context, r *refreshState, result Result) (Result, error) {
	now := s.Now()
	due := result.Grant.LastUsedAt.Add(min(lastUsedInterval, r.server.RefreshToken.IdleLifetime.Duration()/2))
	if now.Before(due) {
		return result, nil
	}
	result.Grant.LastUsedAt = now
	result.Grant.ExpiresAt = expiryOf(result.Grant, r.Client, r.server, now)
	return s.updateGrant(ctx, r, result)
}

// errUnconfirmed is returned if the record must be read again to find out whether a write has
// happened. A conflict is such a case too: it may be with the write itself, delivered twice.
var errUnconfirmed = errors.New("write is not confirmed")

// updateGrant stores the grant of the result. If the write is not confirmed, it records it in r.
func (s *Service) updateGrant(ctx context.Context, r *refreshState, result Result) (Result, error) {
	result.Grant.Attempt = r.attempt
	updated, err := s.Store.UpdateGrant(ctx, result.Grant)
	switch {
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrAmbiguous):
		r.written = result
		r.maybeWritten = r.maybeWritten || result.Grant.RefreshTokenNumber > r.token.Number
		return Result{}, fmt.Errorf("%w: %w", errUnconfirmed, err)
	case err != nil:
		return Result{}, refuseNotFound(err)
	}
	result.Grant = updated
	return result, nil
}
