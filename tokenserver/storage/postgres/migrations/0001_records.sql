-- server_uid is the UID of the AuthorizationServer that owns the row, so that one database can serve several. No row contains a secret, a code
-- or a usable token.
--
-- The statements are what CockroachDB and YugabyteDB understand too. Each is executed by itself, and may be executed again after a crash.

CREATE TABLE IF NOT EXISTS oauth_grants (
    server_uid     TEXT        NOT NULL,
    id             TEXT        NOT NULL,
    version        TEXT        NOT NULL,
    incarnation    TEXT        NOT NULL,
    attempt        TEXT        NOT NULL,
    client_uid     TEXT        NOT NULL,
    client_id      TEXT        NOT NULL,
    user_uid       TEXT        NOT NULL,
    subject        TEXT        NOT NULL,
    user_epoch     TEXT        NOT NULL,
    session_hash   TEXT        NOT NULL,
    auth_time      TIMESTAMPTZ,
    amr            TEXT[]      NOT NULL,
    scopes         TEXT[]      NOT NULL,
    resources      TEXT[]      NOT NULL,
    redirect_uri   TEXT        NOT NULL,
    nonce          TEXT        NOT NULL,
    claims_request TEXT        NOT NULL,
    consented      BOOLEAN     NOT NULL,
    offline        BOOLEAN     NOT NULL,
    generation     BIGINT      NOT NULL,
    advanced_at    TIMESTAMPTZ,
    seal_kid       TEXT        NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    last_used      TIMESTAMPTZ,
    refresh_until  TIMESTAMPTZ,
    expires_at     TIMESTAMPTZ NOT NULL,
    ended_at       TIMESTAMPTZ,
    end_reason     TEXT        NOT NULL,
    PRIMARY KEY (server_uid, id)
);

CREATE INDEX IF NOT EXISTS oauth_grants_of_pair ON oauth_grants (server_uid, user_uid, client_uid);

-- For the sweep, and for counting what is live without reading the table.
CREATE INDEX IF NOT EXISTS oauth_grants_by_expiry ON oauth_grants (expires_at, server_uid, ended_at);

-- One row for each user and client with grants. Creating a grant locks it first, so that creations for one user and client are serialized.
CREATE TABLE IF NOT EXISTS oauth_pairs (
    server_uid TEXT        NOT NULL,
    user_uid   TEXT        NOT NULL,
    client_uid TEXT        NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (server_uid, user_uid, client_uid)
);

CREATE INDEX IF NOT EXISTS oauth_pairs_by_expiry ON oauth_pairs (expires_at, server_uid);

CREATE TABLE IF NOT EXISTS oauth_consents (
    server_uid TEXT        NOT NULL,
    user_uid   TEXT        NOT NULL,
    client_uid TEXT        NOT NULL,
    version    TEXT        NOT NULL,
    scopes     TEXT[]      NOT NULL,
    granted_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (server_uid, user_uid, client_uid)
);

CREATE TABLE IF NOT EXISTS oauth_marks (
    server_uid TEXT        NOT NULL,
    kind       TEXT        NOT NULL,
    id         TEXT        NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (server_uid, kind, id)
);

CREATE INDEX IF NOT EXISTS oauth_marks_by_expiry ON oauth_marks (expires_at, server_uid);
