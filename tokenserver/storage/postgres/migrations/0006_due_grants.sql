-- due_at is when the sweep looks at a grant: when it is due, the sweep deletes it if it has expired, and sets due_at to expires_at if not. So
-- due_at is never after expires_at, and a refresh, which extends expires_at alone, changes no index: PostgreSQL then writes the new version of
-- the row beside the old one and leaves the indexes as they are. What an earlier version of the program inserts is due at once; if one lowers
-- expires_at alone, the walk through all grants lowers due_at.
--
-- Indexes are made and dropped while token servers read and write the table. A column needs the table for itself: the program adds it only if
-- it is missing, waits a moment for the table, since all others wait behind it, and tries again later.

ALTER TABLE oauth_grants ADD COLUMN IF NOT EXISTS due_at TIMESTAMPTZ NOT NULL DEFAULT now();

-- For the sweep of a server, and for counting what is live without reading the table.
CREATE INDEX CONCURRENTLY IF NOT EXISTS oauth_grants_due ON oauth_grants (server_uid, due_at, ended_at);

-- For the bound of a user and a client. Ended grants stay for a quarter of an hour, and are as many as there were logins meanwhile.
CREATE INDEX CONCURRENTLY IF NOT EXISTS oauth_grants_live_of_pair ON oauth_grants (server_uid, user_uid, client_uid) WHERE ended_at IS NULL;

-- Those that they replace. Earlier versions of the program sweep without them by reading the whole table.
DROP INDEX CONCURRENTLY IF EXISTS oauth_grants_by_expiry;

DROP INDEX CONCURRENTLY IF EXISTS oauth_grants_of_pair;

-- Room for the next version of a row beside it.
ALTER TABLE oauth_grants SET (fillfactor = 85);

ALTER TABLE oauth_pairs SET (fillfactor = 85);

-- Which replica sweeps for a server.
CREATE TABLE IF NOT EXISTS oauth_sweeps (
    server_uid TEXT        NOT NULL PRIMARY KEY,
    holder     TEXT        NOT NULL,
    claimed_at TIMESTAMPTZ NOT NULL
);
