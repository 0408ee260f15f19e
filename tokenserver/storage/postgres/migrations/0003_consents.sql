-- Consents have a UID, and grants have that of the consent they rest on, so that a withdrawn consent ends them for good. Each element of apis
-- is the UID of a ResourceServer, its identifier, and those of the scopes that belong to it, separated by spaces.
--
-- Existing rows are kept where that is safe. A consent gets a UID, and so do the grants of its user and client that rest on a consent; where the
-- consent no longer exists, they get none and end. The ResourceServer of a scope was not stored, so grants lose the scopes of APIs, and users
-- are asked for them again.

ALTER TABLE oauth_consents ADD COLUMN IF NOT EXISTS uid TEXT NOT NULL DEFAULT '';

ALTER TABLE oauth_consents ADD COLUMN IF NOT EXISTS apis TEXT[] NOT NULL DEFAULT '{}';

ALTER TABLE oauth_consents ADD COLUMN IF NOT EXISTS claims TEXT[] NOT NULL DEFAULT '{}';

ALTER TABLE oauth_grants ADD COLUMN IF NOT EXISTS apis TEXT[] NOT NULL DEFAULT '{}';

ALTER TABLE oauth_grants ADD COLUMN IF NOT EXISTS claims TEXT[] NOT NULL DEFAULT '{}';

ALTER TABLE oauth_grants ADD COLUMN IF NOT EXISTS consent_uid TEXT NOT NULL DEFAULT '';

-- A version is random, and so as good as a UID.
UPDATE oauth_consents SET uid = version WHERE uid = '';

UPDATE oauth_grants SET consent_uid = COALESCE((
    SELECT c.uid FROM oauth_consents AS c
    WHERE c.server_uid = oauth_grants.server_uid AND c.user_uid = oauth_grants.user_uid AND c.client_uid = oauth_grants.client_uid), '')
WHERE consented AND consent_uid = '';
