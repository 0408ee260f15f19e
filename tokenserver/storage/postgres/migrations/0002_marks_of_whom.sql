-- The user, the client and the client's namespace of each mark, for the bounds on marks. Marks that were set before count for the bound of
-- the server only.

ALTER TABLE oauth_marks ADD COLUMN IF NOT EXISTS user_uid TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_marks ADD COLUMN IF NOT EXISTS client_uid TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_marks ADD COLUMN IF NOT EXISTS namespace TEXT NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS oauth_marks_of_client ON oauth_marks (server_uid, kind, client_uid, user_uid, expires_at);

CREATE INDEX IF NOT EXISTS oauth_marks_of_user ON oauth_marks (server_uid, kind, user_uid, expires_at);

CREATE INDEX IF NOT EXISTS oauth_marks_of_namespace ON oauth_marks (server_uid, kind, namespace, expires_at);
