package postgrestest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Records are what Fill makes: a server's grants of the last 29 days, which live for 30 days after
// their last use. A third of as many users have three grants each, at three of a hundred clients, and
// every third client needs a consent. A tenth of as many access tokens were revoked or sessions ended,
// and as many users are from an identity provider, of whom a third is idle.
type Records struct {
	ServerUID string
	Grants    int
}

// GrantID returns the id of the i-th grant.
func (r Records) GrantID(i int) string { return r.hash("grant", i)[:40] }

// UserUID returns the UID of the user of the i-th grant.
func (r Records) UserUID(i int) string { return uuid(r.hash("user", i%r.users())) }

// ClientUID returns the UID of the client of the i-th grant.
func (r Records) ClientUID(i int) string {
	u := i % r.users()
	return uuid(hash("client", (i/r.users()+u)%100))
}

func (r Records) users() int { return max(1, r.Grants/3) }

func (r Records) hash(kind string, i int) string { return hash(r.ServerUID+kind, i) }

func hash(kind string, i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%d", kind, i))
	return hex.EncodeToString(sum[:])
}

func uuid(hash string) string {
	return strings.Join([]string{hash[:8], hash[8:12], hash[12:16], hash[16:20], hash[20:32]}, "-")
}

// fillGrants computes what the methods of Records do. The i-th grant was created before the next one.
const fillGrants = `INSERT INTO oauth_grants (server_uid, id, version, incarnation, attempt, client_uid, client_id, user_uid, subject, user_epoch,
		session_hash, auth_time, amr, scopes, resources, redirect_uri, nonce, claims_request, consented, offline, generation, advanced_at, seal_kid,
		created_at, last_used, refresh_until, expires_at, end_reason, apis, consent_uid, due_at)
	SELECT @server::TEXT, left(h, 40), left(h, 32), left(h, 32), left(h, 32), left(ch, 32)::uuid::text, 'team-' || c % 10 || '.app-' || c, user_uid, user_uid,
		left(h, 32), CASE WHEN i % 2 = 0 THEN left(h, 40) ELSE '' END, created_at, '{pwd}', '{openid,profile,offline_access,orders:read}', '{}',
		'https://app-' || c || '.example.com/callback', left(h, 22), '', c % 3 = 0, i % 2 = 1, 1 + i % 50, last_used, left(ch, 16),
		created_at, last_used, created_at + INTERVAL '90 days', last_used + INTERVAL '30 days', '',
		ARRAY['0b6f5f6e-7f0c-4f0e-9d57-0d3a4a0c7d11 https://orders.example.com orders:read'],
		CASE WHEN c % 3 = 0 THEN left(h, 32) ELSE '' END, created_at + INTERVAL '30 days'
	FROM (SELECT i, c, encode(sha256((@server::TEXT || 'grant' || i)::bytea), 'hex') AS h, encode(sha256(('client' || c)::bytea), 'hex') AS ch,
			left(encode(sha256((@server::TEXT || 'user' || u)::bytea), 'hex'), 32)::uuid::text AS user_uid,
			created_at, created_at + (now() - created_at) * (i * 7919 % 1000 / 1000.0) AS last_used
		FROM (SELECT i, i % @users::BIGINT AS u, (i / @users::BIGINT + i % @users::BIGINT) % 100 AS c,
				now() - INTERVAL '29 days' * (1 - i::DOUBLE PRECISION / @grants::BIGINT) AS created_at
			FROM generate_series(@from::BIGINT, @to::BIGINT - 1) AS i) AS numbers) AS hashes`

// fillOthers makes the other records, from the grants.
const fillOthers = `
	INSERT INTO oauth_consents (server_uid, user_uid, client_uid, version, scopes, granted_at, updated_at, uid, apis)
		SELECT server_uid, user_uid, client_uid, consent_uid, scopes, created_at, created_at, consent_uid, apis FROM oauth_grants
		WHERE server_uid = @server::TEXT AND consented ON CONFLICT DO NOTHING;
	INSERT INTO oauth_pairs SELECT server_uid, user_uid, client_uid, now() + INTERVAL '1 hour' FROM oauth_grants
		WHERE server_uid = @server::TEXT AND created_at > now() - INTERVAL '4 days' ON CONFLICT DO NOTHING;
	INSERT INTO oauth_marks (server_uid, kind, id, expires_at, user_uid, client_uid, namespace)
		SELECT server_uid, CASE WHEN generation % 2 = 0 THEN 'token' ELSE 'session' END, id, due_at, user_uid,
			CASE WHEN generation % 2 = 0 THEN client_uid ELSE '' END, CASE WHEN generation % 2 = 0 THEN split_part(client_id, '.', 1) ELSE '' END
		FROM oauth_grants WHERE server_uid = @server::TEXT AND right(id, 1) IN ('0', '1') ON CONFLICT DO NOTHING;
	INSERT INTO oauth_identities SELECT server_uid, user_uid, id, id, 'provider-uid', 'corporate', '', NULL,
			now() - INTERVAL '1 day' * (abs(hashtext(id)) % 90), '', '', '', 0
		FROM oauth_grants WHERE server_uid = @server::TEXT AND right(id, 2) < '1a' LIMIT least(100000, @grants::BIGINT / 10) ON CONFLICT DO NOTHING`

// indexesOf reads what makes the indexes of a table, the primary key too, and what drops them.
const indexesOf = `SELECT COALESCE('ALTER TABLE oauth_grants ADD ' || pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid)),
		COALESCE('ALTER TABLE oauth_grants DROP CONSTRAINT ' || c.conname, 'DROP INDEX ' || i.indexrelid::regclass)
	FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid WHERE i.indrelid = 'oauth_grants'::regclass`

// Fill makes records in a database with the schema of the token server. A million of grants take
// about a minute and 1.5 GB.
func (s *Server) Fill(t testing.TB, database string, r Records) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the records are there, or the test has failed
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	rows, err := conn.Query(t.Context(), indexesOf)
	if err != nil {
		t.Fatal(err)
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Make, Drop string }])
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range indexes {
		exec(index.Drop)
	}
	const step = 1_000_000
	for from := 0; from < r.Grants; from += step {
		exec(fillGrants, pgx.NamedArgs{
			"server": r.ServerUID, "grants": r.Grants, "users": r.users(), "from": from, "to": min(from+step, r.Grants),
		})
	}
	for _, index := range indexes {
		exec(index.Make)
	}
	for statement := range strings.SplitSeq(fillOthers, ";") {
		exec(statement, pgx.NamedArgs{"server": r.ServerUID, "grants": r.Grants})
	}
	exec("VACUUM ANALYZE")
}
