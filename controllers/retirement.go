package controllers

import (
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// unusedMargin is how much longer than the overlap a credential must not have been used: a use is
// known to the hour, and up to an hour later.
const unusedMargin = 2 * time.Hour

// maxEndWarning is how long before its end, at most, an event tells that a credential is still used.
const maxEndWarning = 24 * time.Hour

// recentUse is how long ago a credential that is still used was used at most, as far as it is known.
const recentUse = unusedMargin + time.Hour

// credentialUses is what is known of the uses of a client's credentials.
type credentialUses struct {
	// last is the end of the hour in which each was used last, by id.
	last map[string]time.Time
	// possible is until when any of them may have been used although no token server has told: one
	// was killed, or cannot reach the API server.
	possible time.Time
}

// endOf returns when a Retiring credential ends. One that ends when it is not used any more does at
// RetireAfter at the latest.
func endOf(c documents.Credential, uses credentialUses, overlap time.Duration) time.Time {
	last := time.Unix(c.RetireAfter, 0)
	replaced := parseCredentialSource(c.Source).replaced
	if replaced == 0 {
		return last
	}
	used := latest(latest(time.Unix(replaced, 0), uses.last[c.ID]), uses.possible)
	return earliest(last, used.Add(overlap+unusedMargin))
}

// removeEnded returns the credentials without the Retiring ones whose time is over, and those.
func removeEnded(credentials []documents.Credential, uses credentialUses, overlap time.Duration, now time.Time) (kept, ended []documents.Credential) {
	for _, c := range credentials {
		if c.State == documents.CredentialRetiring && !endOf(c, uses, overlap).After(now) {
			ended = append(ended, c)
		} else {
			kept = append(kept, c)
		}
	}
	return kept, ended
}

// nextEnd returns when the first Retiring credential ends; the zero time if none retires.
func nextEnd(credentials []documents.Credential, uses credentialUses, overlap time.Duration) (next time.Time) {
	for _, c := range credentials {
		if c.State == documents.CredentialRetiring {
			next = earliest(next, endOf(c, uses, overlap))
		}
	}
	return next
}

// findStillUsed returns the Retiring credentials that end soon at the latest and were used lately,
// and when it is to be looked for others. Soon is the last quarter of their time, or the last day.
func findStillUsed(credentials []documents.Credential, uses credentialUses, overlap, maxOverlap time.Duration, now time.Time) (used []documents.Credential, next time.Time) {
	for _, c := range credentials {
		if c.State != documents.CredentialRetiring {
			continue
		}
		total := overlap
		if parseCredentialSource(c.Source).replaced != 0 {
			total = max(overlap, maxOverlap)
		}
		switch warnAt := time.Unix(c.RetireAfter, 0).Add(-min(maxEndWarning, total/4)); {
		case warnAt.After(now):
			next = earliest(next, warnAt)
		case now.Sub(uses.last[c.ID]) < recentUse:
			used = append(used, c)
		}
	}
	return used, next
}
