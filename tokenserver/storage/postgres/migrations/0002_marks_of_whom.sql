-- Whose each mark is, so that the marks of a user, a client and a namespace can be counted. Marks from before are counted by no bound but the
-- server's.

ALTER TABLE oauth_marks ADD COLUMN IF NOT EXISTS user_uid TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_marks ADD COLUMN IF NOT EXISTS client_uid TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_marks ADD COLUMN IF NOT EXISTS namespace TEXT NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS oauth_marks_of_client ON oauth_marks (server_uid, kind, client_uid, user_uid, expires_at);

CREATE INDEX IF NOT EXISTS oauth_marks_of_user ON oauth_marks (server_uid, kind, user_uid, expires_at);

CREATE INDEX IF NOT EXISTS oauth_marks_of_namespace ON oauth_marks (server_uid, kind, namespace, expires_at);
