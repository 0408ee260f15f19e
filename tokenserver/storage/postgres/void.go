package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// countNotVoidGrants is countLiveGrants without the grants that notbefore.Limits void. It reads the
// rows, so it is for a server near its bound only.
const countNotVoidGrants = `SELECT COUNT(*) FROM (SELECT 1 FROM oauth_grants AS g
	LEFT JOIN unnest(@users::TEXT[], @users_from::TIMESTAMPTZ[]) AS u (uid, start) ON u.uid = g.user_uid
	LEFT JOIN unnest(@clients::TEXT[], @clients_from::TIMESTAMPTZ[]) AS c (uid, start) ON c.uid = g.client_uid
	LEFT JOIN unnest(@providers::TEXT[], @providers_from::TIMESTAMPTZ[]) AS p (uid, start) ON p.uid = g.provider_uid
	WHERE g.server_uid = @server_uid AND g.expires_at > @now AND g.ended_at IS NULL
		AND COALESCE(g.signed_in_at, g.auth_time, g.created_at) >= GREATEST(@server_from, u.start, p.start)
		AND g.created_at >= GREATEST(@server_from, u.start, p.start, c.start) LIMIT @limit) AS live`

// countNotVoid returns how many live grants are not void, at most the bound, where counted are live.
func (s *Store) countNotVoid(ctx context.Context, now time.Time, counted int) (int, error) {
	times := s.NotBefore()
	server := times.At(now, "", "", "").Login
	users, usersFrom := startsOf(times.Users, now)
	clients, clientsFrom := startsOf(times.Clients, now)
	providers, providersFrom := startsOf(times.Providers, now)
	if server == 0 && len(users) == 0 && len(providers) == 0 && len(clients) == 0 {
		return counted, nil
	}
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, countNotVoidGrants, pgx.StrictNamedArgs{
			"server_uid": s.options.ServerUID, "now": now.UTC(), "limit": s.liveGrants.currentBound(), "server_from": secondAfter(server),
			"providers": providers, "providers_from": providersFrom,
			"users": users, "users_from": usersFrom, "clients": clients, "clients_from": clientsFrom,
		}).Scan(&counted)
	})
	return counted, err
}

// startsOf returns the UIDs whose limit has come, and for each when what is not void begins.
func startsOf(limits map[string]int64, now time.Time) (uids []string, starts []time.Time) {
	uids, starts = []string{}, []time.Time{} // nil would be NULL
	for uid, limit := range limits {
		if limit <= now.Unix() {
			uids, starts = append(uids, uid), append(starts, secondAfter(limit))
		}
	}
	return uids, starts
}

// secondAfter returns when what a limit of notbefore.Limits does not void begins.
func secondAfter(limit int64) time.Time { return time.Unix(limit+1, 0).UTC() }
