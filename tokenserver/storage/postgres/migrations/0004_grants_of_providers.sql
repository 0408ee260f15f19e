-- The identity provider that the user of a grant signed in at, and when the user signed in here. Grants of users of the cluster have neither.

ALTER TABLE oauth_grants ADD COLUMN IF NOT EXISTS provider_uid TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_grants ADD COLUMN IF NOT EXISTS signed_in_at TIMESTAMPTZ;
