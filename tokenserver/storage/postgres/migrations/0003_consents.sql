-- Consents have a UID, and grants carry that of the consent they rest on, so that a withdrawn consent ends them for good. Scopes and APIs are
-- those of one ResourceServer object: each element of apis is its UID, its identifier, and those of the scopes that are its own, with a space
-- between two of them.
--
-- What was written before goes on where that is safe. A consent gets a UID, and the grants of its pair that rest on a consent get it too; where
-- there is no consent any more they have none, and end. Whose the scopes of an API were nobody wrote down: they have no owner, so grants lose
-- them, and consents ask for them again.

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
