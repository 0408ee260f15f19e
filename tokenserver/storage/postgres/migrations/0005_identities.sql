-- Users who have signed in at an identity provider. claims is an object as text, or empty; nothing reads it but the token server.
-- sealed_subject is sealed with a key that is not in the database.

CREATE TABLE IF NOT EXISTS oauth_identities (
    server_uid       TEXT        NOT NULL,
    subject          TEXT        NOT NULL,
    incarnation      TEXT        NOT NULL,
    version          TEXT        NOT NULL,
    provider_uid     TEXT        NOT NULL,
    provider_name    TEXT        NOT NULL,
    claims           TEXT        NOT NULL,
    claims_at        TIMESTAMPTZ,
    last_sign_in     TIMESTAMPTZ NOT NULL,
    allow_hash       TEXT        NOT NULL,
    password_changed TEXT        NOT NULL,
    sealed_subject   TEXT        NOT NULL,
    endings          BIGINT      NOT NULL,
    PRIMARY KEY (server_uid, subject)
);

-- For the bound of a provider.
CREATE INDEX IF NOT EXISTS oauth_identities_of_provider ON oauth_identities (server_uid, provider_uid);

-- For the sweep, in the order in which it reads.
CREATE INDEX IF NOT EXISTS oauth_identities_by_sign_in ON oauth_identities (server_uid, last_sign_in, subject);
