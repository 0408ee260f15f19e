package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// refresh is what a refresh token holds. It has nothing random of its own, so that one generation of a grant is one string.
type refreshTokenContent struct {
	Grant       string `json:"g"`
	Incarnation string `json:"i"`
	Number      int64  `json:"n"`
}

// refreshToken of the grant's current generation, always the same string; empty if the grant has none.
func (s *Service) sealRefreshToken(g storage.Grant) (string, error) {
	if g.RefreshTokenNumber == 0 {
		return "", nil
	}
	plain, err := json.Marshal(refreshTokenContent{g.ID, g.Incarnation, g.RefreshTokenNumber})
	if err != nil {
		return "", fmt.Errorf("encode a refresh token: %w", err)
	}
	return s.Keys.SealDeterministic(keys.PurposeRefresh, g.SealingKID, plain)
}

func (s *Service) openRefreshToken(sealed string) (refreshTokenContent, bool) {
	plain, err := s.Keys.Open(keys.PurposeRefresh, sealed)
	if err != nil {
		return refreshTokenContent{}, false
	}
	var r refreshTokenContent
	if err := json.Unmarshal(plain, &r); err != nil || r.Grant == "" || r.Number < 1 {
		return refreshTokenContent{}, false
	}
	return r, true
}

// Refreshing is a token request with a refresh token (RFC 6749 section 6). The client has authenticated.
type RefreshRequest struct {
	Client       *registry.Client
	RefreshToken string
	// Scopes asked for; empty: all that was granted. Resources likewise.
	Scopes    []string
	Resources []string
}

// Refresh carries a grant on. As with codes, only a request that passes every check advances or ends the grant.
func (s *Service) Refresh(ctx context.Context, r RefreshRequest) (out Result, err error) {
	token, ok := s.openRefreshToken(r.RefreshToken)
	if !ok {
		return Result{}, invalidGrant("the refresh token is not one of this server")
	}
	server, ok := s.Registry.Server()
	if !ok {
		return Result{}, errNotServing
	}
	attempt, err := s.newRandomID()
	if err != nil {
		return Result{}, err
	}
	try := refreshState{RefreshRequest: r, token: token, server: server, attempt: attempt[:32]}
	s.refreshWrites.begin(token.Grant, try.attempt)
	err = errAborted
	defer func() {
		s.outages.record(ctx, err, s.Now())
		// Once the client has what it came for, an earlier token is in the wrong hands.
		s.refreshWrites.finish(token.Grant, try.attempt, err, try.maybeWritten, s.Now())
	}()
	return s.refreshWithRetries(ctx, &try)
}

// refreshing is one request and what has become of it so far.
type refreshState struct {
	RefreshRequest
	token refreshTokenContent
	// server as it was when the request came: one request is decided by one set of rules, however often it looks at the record.
	server documents.Server
	// attempt is the id of every write of this request: whichever of them happened, also late, is its own.
	attempt string
	// out is what it has tried to write last.
	result Result
	// raced: it has tried to write in place of a record that it had read. A copy that may have been old does not count.
	retrying bool
	// unknown: of one of its writes it is not known whether it will happen, or has, and it would replace the refresh token.
	maybeWritten bool
}

// refresh tries until it is known what became of the request. What a token means is decided by the first look at the record. Looking again may
// find that others were faster; whoever loses such a race has replayed nothing.
func (s *Service) refreshWithRetries(ctx context.Context, try *refreshState) (Result, error) {
	if out, err := s.refreshFromCache(ctx, try); err == nil {
		return out, nil
	}
	for range maxTries {
		g, err := s.readGrantOf(ctx, s.Store, try.token, try.Client)
		if err != nil {
			return Result{}, err
		}
		if g.Attempt == try.attempt && !g.IsEnded() {
			return s.resultOfOwnWrite(try, g)
		}
		out, err := s.apply(ctx, try, g, s.chooseAction(g, try.token.Number, try.server.RefreshToken, try.Client.IsPublic()))
		if !errors.Is(err, errUnconfirmed) {
			return out, err
		}
		try.noteWrite(out, g)
		try.retrying = true
	}
	return Result{}, storage.ErrAmbiguous
}

// tried notes that it was tried to write out in place of g. A conflict, too, may be with this very write, delivered twice.
func (r *refreshState) noteWrite(out Result, g storage.Grant) {
	r.result = out
	r.maybeWritten = r.maybeWritten || out.Grant.RefreshTokenNumber > g.RefreshTokenNumber
}

// glance spares the store a read where it has cheaper ones. A record that may be a moment old is good enough to be advanced: if it has changed
// since, the write is a conflict, and nothing has happened. Whatever else it says, and every error, means that the record has to be read.
//
// A conflict then leaves open whether the token was current when the request came, which makes no difference within the grace. Where the grace
// may be over before the request is, the record has to be read first, or the slower one of two parallel requests would be taken for a thief.
func (s *Service) refreshFromCache(ctx context.Context, try *refreshState) (Result, error) {
	recent := storage.RecentReader(s.Store)
	if recent == storage.Reader(s.Store) || try.server.RefreshToken.ReuseGracePeriod.Duration() < maxRequestDuration {
		return Result{}, errReadNeeded
	}
	g, err := s.readGrantOf(ctx, recent, try.token, try.Client)
	if err != nil {
		return Result{}, err
	}
	decided := s.chooseAction(g, try.token.Number, try.server.RefreshToken, try.Client.IsPublic())
	if decided != actionRotate {
		return Result{}, errReadNeeded
	}
	out, err := s.apply(ctx, try, g, decided)
	if errors.Is(err, errUnconfirmed) {
		try.noteWrite(out, g)
	}
	return out, err
}

// slowest is longer than a request takes, with all that it may wait for.
const maxRequestDuration = 30 * time.Second

// errGlance: the record has to be read.
var errReadNeeded = errors.New("grant: not by a glance")

// landed answers with a write of this request that has happened, although its answer was lost or was a conflict.
func (s *Service) resultOfOwnWrite(try *refreshState, found storage.Grant) (out Result, err error) {
	out = try.result
	out.Grant = found
	if found.RefreshTokenNumber > try.token.Number {
		out.RefreshToken, err = s.sealRefreshToken(found)
	}
	return out, err
}

// grantOfRefreshToken reads the record and checks that the token is of this client and this record.
func (s *Service) readGrantOf(ctx context.Context, from storage.Reader, token refreshTokenContent, client *registry.Client) (storage.Grant, error) {
	g, err := from.GetGrant(ctx, token.Grant)
	switch {
	case err != nil:
		return storage.Grant{}, refuseNotFound(err)
	case g.ClientUID != client.UID || g.ClientID != client.ID:
		return storage.Grant{}, invalidGrant("the refresh token was issued to another client")
	case g.Incarnation != token.Incarnation || g.RefreshTokenNumber == 0:
		return storage.Grant{}, invalidGrant("the refresh token is of an authorization that is gone")
	}
	return g, nil
}

func refuseNotFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("the authorization is gone: it has expired or was deleted")
	}
	return err
}

// errTried: it was tried to write what the outcome holds. Whether it has happened shows when the record is read again.
var errUnconfirmed = errors.New("grant: written by another request, or without an answer")

// refreshOnce does what was decided by the record as it was read.
func (s *Service) apply(ctx context.Context, r *refreshState, g storage.Grant, decided refreshAction) (Result, error) {
	user, err := s.checkRefresh(ctx, r.Client, g, r.server)
	if err != nil {
		return Result{}, err
	}
	out := Result{Grant: g, User: user}
	if out.Scopes, out.Audience, err = resolveAccess(r.Client, coverageOf(g), r.Scopes, r.Resources); err != nil {
		return Result{}, err
	}
	switch decided {
	case actionRotate:
		return s.rotate(ctx, out, r)
	case actionKeep:
		return s.recordUse(ctx, out, r)
	case actionRepeat:
		return s.repeatResult(out)
	case actionRefuseNewer:
		s.Log.WarnContext(ctx, "a refresh token is newer than its record: was the store restored from a backup?", "grant", g.ID, "client", g.ClientID)
		return Result{}, invalidGrant("the refresh token is newer than what the server remembers")
	default:
		return s.handleReuse(ctx, out, r)
	}
}

// reused answers to a token that was replaced long ago: it was used by a copy, unless its own successor never reached the client.
func (s *Service) handleReuse(ctx context.Context, out Result, r *refreshState) (Result, error) {
	g := out.Grant
	switch {
	case r.token.Number == g.RefreshTokenNumber-1 && s.refreshWrites.adopt(g.ID, g.Attempt, s.Now()):
		r.attempt, r.maybeWritten = g.Attempt, true
		return s.repeatResult(out)
	case r.retrying:
		return Result{}, invalidGrant("the refresh token was used by another request meanwhile")
	}
	if err := s.End(ctx, g.ID, storage.EndRefreshTokenReuse); err != nil {
		return Result{}, err
	}
	return Result{}, invalidGrant("the refresh token was used already; all tokens of the authorization are revoked")
}

// repeated answers with the refresh token that is current already.
func (s *Service) repeatResult(out Result) (Result, error) {
	var err error
	out.RefreshToken, err = s.sealRefreshToken(out.Grant)
	if errors.Is(err, keys.ErrNoKey) {
		return Result{}, invalidGrant("the key of the refresh token was revoked")
	}
	return out, err
}

// refreshStands says whether the grant may be refreshed at all, by whichever generation.
func (s *Service) checkRefresh(ctx context.Context, client *registry.Client, g storage.Grant, server documents.Server) (*registry.User, error) {
	now := s.Now()
	switch {
	case g.IsEnded():
		return nil, invalidGrant("the authorization has ended")
	case !now.Before(refreshEndsAt(g, server)):
		return nil, invalidGrant("the refresh token has reached the end of its lifetime")
	case !now.Before(g.LastUsedAt.Add(server.RefreshToken.IdleLifetime.Duration())):
		return nil, invalidGrant("the refresh token was not used for too long")
	case !client.HasGrantType(grantTypeOf(g)):
		return nil, invalidGrant("the client no longer lists the grant type that the authorization began with")
	case !mayBeOffline(client, g):
		return nil, invalidGrant("the client may no longer use offline_access")
	}
	return s.checkPreconditions(ctx, s.Store, client, preconditionsOf(g))
}

// refreshEnds is the absolute end of refreshing. Lifetimes that were lowered since the grant began count at once; raised ones give it no more
// than it had. What rests on a session ends no later than the session does, which began with the login.
func refreshEndsAt(g storage.Grant, server documents.Server) time.Time {
	end := earlier(g.RefreshUntil, g.CreatedAt.Add(server.RefreshToken.AbsoluteLifetime.Duration()))
	if preconditionsOf(g).sessionHash != "" {
		end = earlier(end, g.AuthTime.Add(server.SessionAbsoluteLifetime.Duration()))
	}
	return end
}

// step is what a refresh token's generation makes of a request.
type refreshAction int

const (
	actionEndReused   refreshAction = iota // it was replaced long ago: someone uses a copy
	actionRotate                           // it is current and is replaced
	actionKeep                             // it is current and stays
	actionRepeat                           // it was just replaced: the answer was lost, or a parallel request was faster
	actionRefuseNewer                      // the record is older than the token
)

// stepOf a token of the generation, by the server's rules.
func (s *Service) chooseAction(g storage.Grant, generation int64, rules documents.RefreshToken, public bool) refreshAction {
	switch {
	case generation > g.RefreshTokenNumber:
		return actionRefuseNewer
	case generation == g.RefreshTokenNumber && rules.RotatePublicClientsOnly && !public:
		return actionKeep
	case generation == g.RefreshTokenNumber:
		return actionRotate
	case generation == g.RefreshTokenNumber-1 && s.isInGracePeriod(g, rules.ReuseGracePeriod.Duration()):
		return actionRepeat
	default:
		return actionEndReused
	}
}

// graced says whether the grace since the last rotation is not over. An outage stops it, if there is one.
func (s *Service) isInGracePeriod(g storage.Grant, grace time.Duration) bool {
	if grace > 0 {
		grace += s.outages.durationSince(g.RefreshTokenIssuedAt)
	}
	return s.Now().Before(g.RefreshTokenIssuedAt.Add(grace))
}

// advance makes the next generation current. It does not extend the absolute lifetime.
func (s *Service) rotate(ctx context.Context, out Result, r *refreshState) (Result, error) {
	g, now := out.Grant, s.Now()
	g.RefreshTokenNumber++
	g.RefreshTokenIssuedAt, g.LastUsedAt, g.SealingKID = now, now, s.Keys.SealingKID()
	g.ExpiresAt = expiry(g, r.Client, r.server, now)
	out.Grant = g
	var err error
	if out.RefreshToken, err = s.sealRefreshToken(g); err != nil {
		return Result{}, err
	}
	return s.updateGrant(ctx, out, r.attempt)
}

// maxTouch is how often the last use of a refresh token that is kept is written down, at most: it must not cost a write each.
const lastUsedInterval = time.Hour

// touch writes the last use down, if that is due. Under a short idle lifetime it is due earlier, or the token would seem idle.
func (s *Service) recordUse(ctx context.Context, out Result, r *refreshState) (Result, error) {
	now := s.Now()
	due := out.Grant.LastUsedAt.Add(min(lastUsedInterval, r.server.RefreshToken.IdleLifetime.Duration()/2))
	if now.Before(due) {
		return out, nil
	}
	out.Grant.LastUsedAt = now
	out.Grant.ExpiresAt = expiry(out.Grant, r.Client, r.server, now)
	return s.updateGrant(ctx, out, r.attempt)
}

// update writes the grant of out.
func (s *Service) updateGrant(ctx context.Context, out Result, attempt string) (Result, error) {
	out.Grant.Attempt = attempt
	updated, err := s.Store.UpdateGrant(ctx, out.Grant)
	switch {
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrAmbiguous):
		return out, fmt.Errorf("%w: %w", errUnconfirmed, err)
	case err != nil:
		return Result{}, refuseNotFound(err)
	}
	out.Grant = updated
	return out, nil
}

// CheckRefreshToken says whether the client could use a refresh token now: what it is for, or ErrInactive. It changes nothing.
func (s *Service) CheckRefreshToken(ctx context.Context, sealed string, client *registry.Client) (*TokenInfo, error) {
	token, ok := s.openRefreshToken(sealed)
	server, serving := s.Registry.Server()
	if !ok || !serving || !client.HasGrantType(oauth.GrantRefreshToken) {
		return nil, ErrInactive
	}
	g, err := s.readGrantOf(ctx, s.Store, token, client)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	user, err := s.checkRefresh(ctx, client, g, server)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	switch s.chooseAction(g, token.Number, server.RefreshToken, client.IsPublic()) {
	case actionRotate, actionKeep, actionRepeat:
	default:
		return nil, ErrInactive
	}
	scopes, _, err := resolveAccess(client, coverageOf(g), nil, nil)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	idle := g.LastUsedAt.Add(server.RefreshToken.IdleLifetime.Duration())
	return &TokenInfo{
		Client: client, User: user, Subject: g.Subject, Scopes: scopes, GrantID: g.ID, Grant: g,
		IssuedAt: g.RefreshTokenIssuedAt, Expires: earlier(refreshEndsAt(g, server), idle),
	}, nil
}
