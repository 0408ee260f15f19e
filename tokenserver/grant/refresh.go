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
type refresh struct {
	Grant       string `json:"g"`
	Incarnation string `json:"i"`
	Generation  int64  `json:"n"`
}

// refreshToken of the grant's current generation, always the same string; empty if the grant has none.
func (s *Service) refreshToken(g storage.Grant) (string, error) {
	if g.Generation == 0 {
		return "", nil
	}
	plain, err := json.Marshal(refresh{g.ID, g.Incarnation, g.Generation})
	if err != nil {
		return "", fmt.Errorf("encode a refresh token: %w", err)
	}
	return s.Keys.SealDeterministic(keys.PurposeRefresh, g.SealKID, plain)
}

func (s *Service) openRefreshToken(sealed string) (refresh, bool) {
	plain, err := s.Keys.Open(keys.PurposeRefresh, sealed)
	if err != nil {
		return refresh{}, false
	}
	var r refresh
	if err := json.Unmarshal(plain, &r); err != nil || r.Grant == "" || r.Generation < 1 {
		return refresh{}, false
	}
	return r, true
}

// Refreshing is a token request with a refresh token (RFC 6749 section 6). The client has authenticated.
type Refreshing struct {
	Client       *registry.Client
	RefreshToken string
	// Scopes asked for; empty: all that was granted. Resources likewise.
	Scopes    []string
	Resources []string
}

// Refresh carries a grant on. As with codes, only a request that passes every check advances or ends the grant.
func (s *Service) Refresh(ctx context.Context, r Refreshing) (out Outcome, err error) {
	token, ok := s.openRefreshToken(r.RefreshToken)
	if !ok {
		return Outcome{}, refuse("the refresh token is not one of this server")
	}
	server, ok := s.Registry.Server()
	if !ok {
		return Outcome{}, errNotServing
	}
	attempt, err := s.draw()
	if err != nil {
		return Outcome{}, err
	}
	try := refreshing{Refreshing: r, token: token, server: server, attempt: attempt[:32]}
	s.refreshes.begin(token.Grant, try.attempt)
	err = errUnfinished
	defer func() {
		s.outages.note(ctx, err, s.Now())
		// Once the client has what it came for, an earlier token is in the wrong hands.
		s.refreshes.over(token.Grant, try.attempt, err, try.unknown, s.Now())
	}()
	return s.refresh(ctx, &try)
}

// refreshing is one request and what has become of it so far.
type refreshing struct {
	Refreshing
	token refresh
	// server as it was when the request came: one request is decided by one set of rules, however often it looks at the record.
	server documents.Server
	// attempt is the id of every write of this request: whichever of them happened, also late, is its own.
	attempt string
	// out is what it has tried to write last.
	out Outcome
	// raced: it has tried to write in place of a record that it had read. A copy that may have been old does not count.
	raced bool
	// unknown: of one of its writes it is not known whether it will happen, or has, and it would replace the refresh token.
	unknown bool
}

// refresh tries until it is known what became of the request. What a token means is decided by the first look at the record. Looking again may
// find that others were faster; whoever loses such a race has replayed nothing.
func (s *Service) refresh(ctx context.Context, try *refreshing) (Outcome, error) {
	if out, err := s.glance(ctx, try); err == nil {
		return out, nil
	}
	for range maxTries {
		g, err := s.grantOfRefreshToken(ctx, s.Store, try.token, try.Client)
		if err != nil {
			return Outcome{}, err
		}
		if g.Attempt == try.attempt && !g.IsEnded() {
			return s.landed(try, g)
		}
		out, err := s.refreshOnce(ctx, try, g, s.stepOf(g, try.token.Generation, try.server.RefreshToken, try.Client.IsPublic()))
		if !errors.Is(err, errTried) {
			return out, err
		}
		try.tried(out, g)
		try.raced = true
	}
	return Outcome{}, storage.ErrAmbiguous
}

// tried notes that it was tried to write out in place of g. A conflict, too, may be with this very write, delivered twice.
func (r *refreshing) tried(out Outcome, g storage.Grant) {
	r.out = out
	r.unknown = r.unknown || out.Grant.Generation > g.Generation
}

// glance spares the store a read where it has cheaper ones. A record that may be a moment old is good enough to be advanced: if it has changed
// since, the write is a conflict, and nothing has happened. Whatever else it says, and every error, means that the record has to be read.
//
// A conflict then leaves open whether the token was current when the request came, which makes no difference within the grace. Where the grace
// may be over before the request is, the record has to be read first, or the slower one of two parallel requests would be taken for a thief.
func (s *Service) glance(ctx context.Context, try *refreshing) (Outcome, error) {
	recent := storage.RecentReader(s.Store)
	if recent == storage.Reader(s.Store) || try.server.RefreshToken.ReuseGracePeriod.Duration() < slowest {
		return Outcome{}, errGlance
	}
	g, err := s.grantOfRefreshToken(ctx, recent, try.token, try.Client)
	if err != nil {
		return Outcome{}, err
	}
	decided := s.stepOf(g, try.token.Generation, try.server.RefreshToken, try.Client.IsPublic())
	if decided != advance {
		return Outcome{}, errGlance
	}
	out, err := s.refreshOnce(ctx, try, g, decided)
	if errors.Is(err, errTried) {
		try.tried(out, g)
	}
	return out, err
}

// slowest is longer than a request takes, with all that it may wait for.
const slowest = 30 * time.Second

// errGlance: the record has to be read.
var errGlance = errors.New("grant: not by a glance")

// landed answers with a write of this request that has happened, although its answer was lost or was a conflict.
func (s *Service) landed(try *refreshing, found storage.Grant) (out Outcome, err error) {
	out = try.out
	out.Grant = found
	if found.Generation > try.token.Generation {
		out.RefreshToken, err = s.refreshToken(found)
	}
	return out, err
}

// grantOfRefreshToken reads the record and checks that the token is of this client and this record.
func (s *Service) grantOfRefreshToken(ctx context.Context, from storage.Reader, token refresh, client *registry.Client) (storage.Grant, error) {
	g, err := from.GetGrant(ctx, token.Grant)
	switch {
	case err != nil:
		return storage.Grant{}, notFoundIsRefused(err)
	case g.ClientUID != client.UID || g.ClientID != client.ID:
		return storage.Grant{}, refuse("the refresh token was issued to another client")
	case g.Incarnation != token.Incarnation || g.Generation == 0:
		return storage.Grant{}, refuse("the refresh token is of an authorization that is gone")
	}
	return g, nil
}

func notFoundIsRefused(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return refuse("the authorization is gone: it has expired or was deleted")
	}
	return err
}

// errTried: it was tried to write what the outcome holds. Whether it has happened shows when the record is read again.
var errTried = errors.New("grant: written by another request, or without an answer")

// refreshOnce does what was decided by the record as it was read.
func (s *Service) refreshOnce(ctx context.Context, r *refreshing, g storage.Grant, decided step) (Outcome, error) {
	user, err := s.refreshStands(ctx, r.Client, g, r.server)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Grant: g, User: user}
	if out.Scopes, out.Audience, err = access(r.Client, authorizedBy(g), r.Scopes, r.Resources); err != nil {
		return Outcome{}, err
	}
	switch decided {
	case advance:
		return s.advance(ctx, out, r)
	case keep:
		return s.touch(ctx, out, r)
	case repeat:
		return s.repeated(out)
	case ahead:
		s.Log.WarnContext(ctx, "a refresh token is newer than its record: was the store restored from a backup?", "grant", g.ID, "client", g.ClientID)
		return Outcome{}, refuse("the refresh token is newer than what the server remembers")
	default:
		return s.reused(ctx, out, r)
	}
}

// reused answers to a token that was replaced long ago: it was used by a copy, unless its own successor never reached the client.
func (s *Service) reused(ctx context.Context, out Outcome, r *refreshing) (Outcome, error) {
	g := out.Grant
	switch {
	case r.token.Generation == g.Generation-1 && s.refreshes.take(g.ID, g.Attempt, s.Now()):
		r.attempt, r.unknown = g.Attempt, true
		return s.repeated(out)
	case r.raced:
		return Outcome{}, refuse("the refresh token was used by another request meanwhile")
	}
	if err := s.End(ctx, g.ID, storage.EndRefreshTokenReuse); err != nil {
		return Outcome{}, err
	}
	return Outcome{}, refuse("the refresh token was used already; all tokens of the authorization are revoked")
}

// repeated answers with the refresh token that is current already.
func (s *Service) repeated(out Outcome) (Outcome, error) {
	var err error
	out.RefreshToken, err = s.refreshToken(out.Grant)
	if errors.Is(err, keys.ErrNoKey) {
		return Outcome{}, refuse("the key of the refresh token was revoked")
	}
	return out, err
}

// refreshStands says whether the grant may be refreshed at all, by whichever generation.
func (s *Service) refreshStands(ctx context.Context, client *registry.Client, g storage.Grant, server documents.Server) (*registry.User, error) {
	now := s.Now()
	switch {
	case g.IsEnded():
		return nil, refuse("the authorization has ended")
	case !now.Before(refreshEnds(g, server)):
		return nil, refuse("the refresh token has reached the end of its lifetime")
	case !now.Before(g.LastUsed.Add(server.RefreshToken.IdleLifetime.Duration())):
		return nil, refuse("the refresh token was not used for too long")
	case !client.HasGrantType(begunBy(g)):
		return nil, refuse("the client no longer lists the grant type that the authorization began with")
	case !offlineStands(client, g):
		return nil, refuse("the client may no longer use offline_access")
	}
	return s.stands(ctx, s.Store, client, restsOf(g))
}

// refreshEnds is the absolute end of refreshing. Lifetimes that were lowered since the grant began count at once; raised ones give it no more
// than it had. What rests on a session ends no later than the session does, which began with the login.
func refreshEnds(g storage.Grant, server documents.Server) time.Time {
	end := earlier(g.RefreshUntil, g.CreatedAt.Add(server.RefreshToken.AbsoluteLifetime.Duration()))
	if restsOf(g).sessionHash != "" {
		end = earlier(end, g.AuthTime.Add(server.SessionAbsoluteLifetime.Duration()))
	}
	return end
}

// step is what a refresh token's generation makes of a request.
type step int

const (
	reuse   step = iota // it was replaced long ago: someone uses a copy
	advance             // it is current and is replaced
	keep                // it is current and stays
	repeat              // it was just replaced: the answer was lost, or a parallel request was faster
	ahead               // the record is older than the token
)

// stepOf a token of the generation, by the server's rules.
func (s *Service) stepOf(g storage.Grant, generation int64, rules documents.RefreshToken, public bool) step {
	switch {
	case generation > g.Generation:
		return ahead
	case generation == g.Generation && rules.RotatePublicClientsOnly && !public:
		return keep
	case generation == g.Generation:
		return advance
	case generation == g.Generation-1 && s.graced(g, rules.ReuseGracePeriod.Duration()):
		return repeat
	default:
		return reuse
	}
}

// graced says whether the grace since the last rotation is not over. An outage stops it, if there is one.
func (s *Service) graced(g storage.Grant, grace time.Duration) bool {
	if grace > 0 {
		grace += s.outages.since(g.AdvancedAt)
	}
	return s.Now().Before(g.AdvancedAt.Add(grace))
}

// advance makes the next generation current. It does not extend the absolute lifetime.
func (s *Service) advance(ctx context.Context, out Outcome, r *refreshing) (Outcome, error) {
	g, now := out.Grant, s.Now()
	g.Generation++
	g.AdvancedAt, g.LastUsed, g.SealKID = now, now, s.Keys.SealingKID()
	g.ExpiresAt = expiry(g, r.Client, r.server, now)
	out.Grant = g
	var err error
	if out.RefreshToken, err = s.refreshToken(g); err != nil {
		return Outcome{}, err
	}
	return s.update(ctx, out, r.attempt)
}

// maxTouch is how often the last use of a refresh token that is kept is written down, at most: it must not cost a write each.
const maxTouch = time.Hour

// touch writes the last use down, if that is due. Under a short idle lifetime it is due earlier, or the token would seem idle.
func (s *Service) touch(ctx context.Context, out Outcome, r *refreshing) (Outcome, error) {
	now := s.Now()
	due := out.Grant.LastUsed.Add(min(maxTouch, r.server.RefreshToken.IdleLifetime.Duration()/2))
	if now.Before(due) {
		return out, nil
	}
	out.Grant.LastUsed = now
	out.Grant.ExpiresAt = expiry(out.Grant, r.Client, r.server, now)
	return s.update(ctx, out, r.attempt)
}

// update writes the grant of out.
func (s *Service) update(ctx context.Context, out Outcome, attempt string) (Outcome, error) {
	out.Grant.Attempt = attempt
	updated, err := s.Store.UpdateGrant(ctx, out.Grant)
	switch {
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrAmbiguous):
		return out, fmt.Errorf("%w: %w", errTried, err)
	case err != nil:
		return Outcome{}, notFoundIsRefused(err)
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
	g, err := s.grantOfRefreshToken(ctx, s.Store, token, client)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	user, err := s.refreshStands(ctx, client, g, server)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	switch s.stepOf(g, token.Generation, server.RefreshToken, client.IsPublic()) {
	case advance, keep, repeat:
	default:
		return nil, ErrInactive
	}
	scopes, _, err := access(client, authorizedBy(g), nil, nil)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	idle := g.LastUsed.Add(server.RefreshToken.IdleLifetime.Duration())
	return &TokenInfo{
		Client: client, User: user, Subject: g.Subject, Scopes: scopes, GrantID: g.ID, Grant: g,
		IssuedAt: g.AdvancedAt, Expires: earlier(refreshEnds(g, server), idle),
	}, nil
}
