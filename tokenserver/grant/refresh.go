package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registration"
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
func (s *Service) Refresh(ctx context.Context, r Refreshing) (Outcome, error) {
	token, ok := s.openRefreshToken(r.RefreshToken)
	if !ok {
		return Outcome{}, refuse("the refresh token is not one of this server")
	}
	// What a token means is decided by the first look at the record. Looking again after a conflict may find that others were faster; whoever
	// loses such a race has replayed nothing.
	raced := false
	for range maxTries {
		g, err := s.grantOfRefreshToken(ctx, token, r.Client)
		if err != nil {
			return Outcome{}, err
		}
		out, err := s.refreshOnce(ctx, r, g, token.Generation, raced)
		tried := out.Grant.ID != "" && (errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrAmbiguous))
		if !tried {
			return out, err
		}
		raced = true
		mine, ok, readErr := s.landed(ctx, out)
		if readErr != nil {
			if errors.Is(err, storage.ErrAmbiguous) {
				s.unsettled.remember(out.Grant, s.Now())
			}
			return Outcome{}, readErr
		}
		if ok {
			return mine, nil
		}
	}
	return Outcome{}, storage.ErrAmbiguous
}

// landed says whether the write that out stands for has happened, although its answer was lost or was a conflict.
func (s *Service) landed(ctx context.Context, out Outcome) (Outcome, bool, error) {
	found, err := s.Store.Grant(ctx, out.Grant.ID)
	if err != nil {
		return Outcome{}, false, notFoundIsRefused(err)
	}
	if found.Attempt != out.Grant.Attempt || found.Ended() {
		return Outcome{}, false, nil
	}
	out.Grant = found
	return out, true, nil
}

// grantOfRefreshToken reads the record and checks that the token is of this client and this record.
func (s *Service) grantOfRefreshToken(ctx context.Context, token refresh, client *registry.Client) (storage.Grant, error) {
	g, err := s.Store.Grant(ctx, token.Grant)
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

// refreshOnce decides by the record as it was read. After ErrConflict and ErrAmbiguous, the outcome holds what it tried to write.
func (s *Service) refreshOnce(ctx context.Context, r Refreshing, g storage.Grant, generation int64, raced bool) (Outcome, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return Outcome{}, errNotServing
	}
	user, err := s.refreshStands(ctx, r.Client, g, server)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Grant: g, User: user}
	if out.Scopes, out.Audience, err = access(r.Client, g.Scopes, r.Scopes, g.Resources, r.Resources); err != nil {
		return Outcome{}, err
	}
	now := s.Now()
	switch decide(g, generation, server.RefreshToken, r.Client.Public(), now) {
	case advance:
		return s.advance(ctx, out, r.Client, server, now)
	case keep:
		return s.touch(ctx, out, r.Client, server, now)
	case repeat:
		out.RefreshToken, err = s.refreshToken(g)
		if errors.Is(err, keys.ErrNoKey) {
			return Outcome{}, refuse("the key of the refresh token was revoked")
		}
		return out, err
	case ahead:
		s.Log.WarnContext(ctx, "a refresh token is newer than its record: was the store restored from a backup?", "grant", g.ID, "client", g.ClientID)
		return Outcome{}, refuse("the refresh token is newer than what the server remembers")
	default:
		if raced {
			return Outcome{}, refuse("the refresh token was used by another request meanwhile")
		}
		if earlier, ok := s.unsettled.take(g.ID, now); ok && earlier.Attempt == g.Attempt && generation == g.Generation-1 {
			out.RefreshToken, err = s.refreshToken(g)
			return out, err
		}
		if err := s.End(ctx, g.ID, storage.EndRefreshTokenReuse); err != nil {
			return Outcome{}, err
		}
		return Outcome{}, refuse("the refresh token was used already; all tokens of the authorization are revoked")
	}
}

// refreshStands says whether the grant may be refreshed at all, by whichever generation.
func (s *Service) refreshStands(ctx context.Context, client *registry.Client, g storage.Grant, server registration.Server) (*registry.User, error) {
	now := s.Now()
	lifetimes := server.RefreshToken
	switch {
	case g.Ended():
		return nil, refuse("the authorization has ended")
	case !now.Before(g.RefreshUntil), !now.Before(g.CreatedAt.Add(lifetimes.AbsoluteLifetime.Duration())):
		return nil, refuse("the refresh token has reached the end of its lifetime")
	case !now.Before(g.LastUsed.Add(lifetimes.IdleLifetime.Duration())):
		return nil, refuse("the refresh token was not used for too long")
	case !offlineStands(client, g):
		return nil, refuse("the client may no longer use offline_access")
	}
	return s.stands(ctx, client, restsOf(g))
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

func decide(g storage.Grant, generation int64, lifetimes registration.RefreshToken, public bool, now time.Time) step {
	switch {
	case generation > g.Generation:
		return ahead
	case generation == g.Generation && lifetimes.RotatePublicClientsOnly && !public:
		return keep
	case generation == g.Generation:
		return advance
	case generation == g.Generation-1 && now.Before(g.AdvancedAt.Add(lifetimes.ReuseGracePeriod.Duration())):
		return repeat
	default:
		return reuse
	}
}

// advance makes the next generation current. It does not extend the absolute lifetime.
func (s *Service) advance(ctx context.Context, out Outcome, client *registry.Client, server registration.Server, now time.Time) (Outcome, error) {
	g := out.Grant
	g.Generation++
	g.AdvancedAt, g.LastUsed, g.SealKID = now, now, s.Keys.SealingKID()
	g.ExpiresAt = expiry(g, client, server, now)
	out.Grant = g
	var err error
	if out.RefreshToken, err = s.refreshToken(g); err != nil {
		return Outcome{}, err
	}
	return s.update(ctx, out)
}

// maxTouch is how often the last use of a refresh token that is kept is written down, at most: it must not cost a write each.
const maxTouch = time.Hour

// touch writes the last use down, if that is due. Under a short idle lifetime it is due earlier, or the token would seem idle.
func (s *Service) touch(ctx context.Context, out Outcome, client *registry.Client, server registration.Server, now time.Time) (Outcome, error) {
	due := out.Grant.LastUsed.Add(min(maxTouch, server.RefreshToken.IdleLifetime.Duration()/2))
	if now.Before(due) {
		return out, nil
	}
	out.Grant.LastUsed = now
	out.Grant.ExpiresAt = expiry(out.Grant, client, server, now)
	return s.update(ctx, out)
}

// update writes the grant of out as an attempt of its own.
func (s *Service) update(ctx context.Context, out Outcome) (Outcome, error) {
	attempt, err := s.draw()
	if err != nil {
		return Outcome{}, err
	}
	out.Grant.Attempt = attempt[:32]
	updated, err := s.Store.UpdateGrant(ctx, out.Grant)
	if errors.Is(err, storage.ErrNotFound) {
		return Outcome{}, notFoundIsRefused(err)
	}
	if err != nil {
		return out, err
	}
	out.Grant = updated
	return out, nil
}

// CheckRefreshToken says whether the client could use a refresh token now: what it is for, or ErrInactive. It changes nothing.
func (s *Service) CheckRefreshToken(ctx context.Context, sealed string, client *registry.Client) (*TokenInfo, error) {
	token, ok := s.openRefreshToken(sealed)
	server, serving := s.Registry.Server()
	if !ok || !serving || !client.HasGrant(oauth.GrantRefreshToken) {
		return nil, ErrInactive
	}
	g, err := s.grantOfRefreshToken(ctx, token, client)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	user, err := s.refreshStands(ctx, client, g, server)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	now := s.Now()
	switch decide(g, token.Generation, server.RefreshToken, client.Public(), now) {
	case advance, keep, repeat:
	default:
		return nil, ErrInactive
	}
	scopes, _, err := access(client, g.Scopes, nil, g.Resources, nil)
	if err != nil {
		return nil, inactiveIfRefused(err)
	}
	lifetimes := server.RefreshToken
	expires := earlier(g.CreatedAt.Add(lifetimes.AbsoluteLifetime.Duration()), g.LastUsed.Add(lifetimes.IdleLifetime.Duration()))
	return &TokenInfo{
		Client: client, User: user, Subject: g.Subject, Scopes: scopes, GrantID: g.ID, Grant: g,
		IssuedAt: g.AdvancedAt, Expires: earlier(g.RefreshUntil, expires),
	}, nil
}
