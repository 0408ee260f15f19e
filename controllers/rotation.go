package controllers

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// maxGoodCredentials is how many credentials of a client are good at a time. Token servers compare
// as many hashes with every secret, so that the time does not tell how many there are.
const maxGoodCredentials = 4

// Two programs that write one Secret must not keep the manager and each other busy: after
// maxQuickRotations within quickRotations, forced rotations are forcedInterval apart.
const (
	maxQuickRotations = 3
	quickRotations    = 10 * time.Minute
	forcedInterval    = time.Minute
)

// maxLateness is how long after its time a scheduled rotation that is overdue still happens. A
// later one waits for its next time: otherwise all clients that are overdue at once, since their
// interval was set or shortened, would rotate at once.
const maxLateness = 5 * time.Minute

// rotationCause is why a client gets a new secret, as a clause for events.
type rotationCause struct {
	text string
	// forced rotations do not wait for their time, unless they come too quickly. What they replace is
	// good for the overlap, used or not.
	forced bool
}

func (c rotationCause) isSet() bool { return c.text != "" }

// findRotationCause returns why a client whose secret the operator generates needs a new one. kept
// is the credential of the value in the target; nil if that is no good one. The cause is not set if
// the client needs none, or has not had one before.
func (state secretState) findRotationCause(kept *documents.Credential, now time.Time) rotationCause {
	active := findByState(state.credentials, documents.CredentialActive)
	switch {
	case kept != nil && state.rotation.Revision > parseCredentialSource(kept.Source).revision:
		return rotationCause{text: fmt.Sprintf("spec.secret.rotation.revision was raised to %d", state.rotation.Revision), forced: true}
	case kept != nil && kept.State == documents.CredentialActive && isDue(nextRotation(state.credentials, state.rotation, state.uid, now), now):
		return rotationCause{text: "spec.secret.rotation.interval has passed"}
	case kept == nil && active == nil && len(state.revoked) > 0:
		return rotationCause{text: "spec.secret.revokedCredentials lists the one that it had"}
	case kept != nil || active == nil:
		return rotationCause{}
	case !parseCredentialSource(active.Source).read.isZero():
		return rotationCause{text: "spec.secret.source was FromSecret before", forced: true}
	case state.target.metadata == nil:
		return rotationCause{text: fmt.Sprintf("Secret %q was deleted", state.target.spec.Name), forced: true}
	}
	return rotationCause{text: fmt.Sprintf("client_secret in Secret %q was not what the operator wrote", state.target.spec.Name), forced: true}
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// nextRotation returns when the next scheduled rotation of a client is; the zero time if there is
// none. It waits while an old credential is still good.
func nextRotation(credentials []documents.Credential, rotation compile.SecretRotation, uid types.UID, now time.Time) time.Time {
	active := findByState(credentials, documents.CredentialActive)
	if active == nil || rotation.Interval == 0 {
		return time.Time{}
	}
	var freeFrom time.Time
	for _, c := range credentials {
		if c.State == documents.CredentialRetiring {
			freeFrom = latest(freeFrom, time.Unix(c.RetireAfter, 0))
		}
	}
	return scheduleRotation(time.Unix(active.NotBefore, 0), rotation.Interval, uid, freeFrom, now)
}

// scheduleRotation returns when a credential that was made at some time is replaced: in the last
// tenth of the interval, at a time that follows from the client's UID, and not before freeFrom. If
// the interval is over, it is the next such time that comes around.
func scheduleRotation(made time.Time, interval time.Duration, uid types.UID, freeFrom, now time.Time) time.Time {
	window := interval / 10
	from := latest(made.Add(interval-window), freeFrom)
	if now.After(made.Add(interval)) {
		from = latest(from, now.Add(-min(maxLateness, window/20)))
	}
	period := int64(window / time.Second)
	wait := (phaseOf(uid, period) - from.Unix()%period + period) % period
	return time.Unix(from.Unix()+wait, 0)
}

// phaseOf returns a number in [0, period) that follows from a UID.
func phaseOf(uid types.UID, period int64) int64 {
	sum := sha256.Sum256([]byte(uid))
	return int64(binary.BigEndian.Uint32(sum[:])) % period
}

// waitUntil returns until when a rotation has to wait, since others came too quickly; the zero time
// if it has not.
func (state secretState) waitUntil(cause rotationCause, now time.Time) time.Time {
	var made []int64
	for _, c := range state.credentials {
		if c.State != documents.CredentialPending && c.NotBefore <= now.Unix() { // else the clock was ahead then
			made = append(made, c.NotBefore)
		}
	}
	slices.Sort(made)
	recent := 0
	for _, at := range made[min(len(made), 1):] { // the oldest has replaced none of the others
		if now.Sub(time.Unix(at, 0)) < quickRotations {
			recent++
		}
	}
	if !cause.forced || recent < maxQuickRotations {
		return time.Time{}
	}
	if until := time.Unix(made[len(made)-1], 0).Add(forcedInterval); until.After(now) {
		return until
	}
	return time.Time{}
}

// retirement is what becomes of an Active credential that is replaced.
type retirement struct {
	at time.Time // when the Secret was written
	// overlap is how long the credential stays good.
	overlap time.Duration
	// whileUsed has it end before, when it is not used any more.
	whileUsed bool
}

// retire returns a credential that was replaced.
func (r retirement) retire(c documents.Credential) documents.Credential {
	var source credentialSource
	if r.whileUsed {
		source.replaced = r.at.Unix()
	}
	c.State, c.RetireAfter, c.Source = documents.CredentialRetiring, r.at.Add(r.overlap).Unix(), source.String()
	return c
}

// retireBy returns what becomes of a credential that a rotation replaces at some time. One whose
// rotation was interrupted, so that its cause is not known, counts as scheduled: it ends later.
func retireBy(r compile.SecretRotation, cause rotationCause, at time.Time) retirement {
	if r.MaxOverlap > 0 && !cause.forced {
		return retirement{at, r.MaxOverlap, true}
	}
	return retirement{at, r.Overlap, false}
}

// limitGood removes Retiring credentials, the one that was replaced first before the others, until
// no more than maxGoodCredentials are good. It returns those that it removed too.
func limitGood(credentials []documents.Credential) (kept, removed []documents.Credential) {
	surplus := len(credentials) - maxGoodCredentials
	kept = slices.Clone(credentials)
	for i := len(kept) - 1; i >= 0 && surplus > 0; i-- {
		if kept[i].State == documents.CredentialRetiring {
			removed = append(removed, kept[i])
			kept = slices.Delete(kept, i, i+1)
			surplus--
		}
	}
	return kept, removed
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
