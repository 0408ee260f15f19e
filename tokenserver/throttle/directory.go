package throttle

import (
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/places"
)

const (
	// byEntry is the value of the label for entries of directories.
	byEntry = "entry"
	// maxDeviceFailures is how many wrong passwords a known browser may try beyond what all others may.
	maxDeviceFailures = 1
)

// DirectoryLimits say how many wrong passwords for one user a directory is asked about: Failures
// within each Window, by all replicas together, but for what a replica that has started since does not
// know of. A directory locks an account after some, so this has to be at most half of that. To know it,
// a replica would have to read what others had written for each wrong password, and so strangers could
// make it write.
type DirectoryLimits struct {
	Failures int
	Window   time.Duration
}

// Directory counts wrong passwords for the users of one directory. Other than those for OAuthUsers,
// which only slow down guessing, its limits are strict. A failure counts
//
//   - for the source, under the rule of all sources,
//   - for the username that was typed, whether or not there is such a user,
//   - for the entry that the directory has found: it ignores case, spaces and accents, so one user has
//     many usernames.
//
// Safe for concurrent use.
type Directory struct {
	throttle *Throttle
	limits   DirectoryLimits
	tables   *directoryTables
}

type directoryTables struct {
	mu                               sync.Mutex
	sources, names, entries, devices *table
}

// NewDirectory returns a Directory without failures.
func (t *Throttle) NewDirectory(limits DirectoryLimits) *Directory {
	strict := func(by string, buckets int) *table {
		return newTable(rule{by: by, window: limits.Window, isStrict: true, buckets: buckets})
	}
	return &Directory{throttle: t, limits: limits, tables: &directoryTables{
		sources: newTable(perSource), names: strict(perName.by, 1<<14), entries: strict(byEntry, 1<<14), devices: strict(perDevice.by, 1<<12),
	}}
}

// WithLimits returns a Directory with other limits, which shares the failures.
func (d *Directory) WithLimits(limits DirectoryLimits) *Directory {
	d.tables.mu.Lock()
	defer d.tables.mu.Unlock()
	for _, t := range []*table{d.tables.names, d.tables.entries, d.tables.devices} {
		t.window = limits.Window
	}
	return &Directory{throttle: d.throttle, limits: limits, tables: d.tables}
}

// DirectoryAttempt is one password from its arrival to the answer of the directory.
type DirectoryAttempt struct {
	directory   *Directory
	maxFailures int // of this replica
	name        string
	source      string
	entry       string
	deviceID    string
	began       []begunBucket
}

type begunBucket struct {
	rule      rule
	bucket    *bucket
	isCleared bool
}

// NewAttempt returns an attempt for a username that was typed, from a source, at one of the replicas
// that served within the window. Each replica has an equal part of the failures, and at least one.
func (d *Directory) NewAttempt(name, source string, replicas int) *DirectoryAttempt {
	return &DirectoryAttempt{directory: d, maxFailures: max(1, d.limits.Failures/max(1, replicas)), name: name, source: source}
}

// Places returns what the attempt may count in while it waits for the directory, which does not know yet
// whose it is. A browser that is known counts by the user who has signed in with it, and not by what is
// typed: else one user with many browsers and made-up names would have all places.
func (a *DirectoryAttempt) Places(browser Browser) []places.Request {
	t := a.directory.throttle
	unknown := places.Request{Quotas: []places.Quota{
		places.FixedQuota(a.nameTag().key(), placesPerName), places.QuarterQuota(a.sourceTag().key()),
	}}
	if browser == (Browser{}) {
		return []places.Request{unknown}
	}
	known := places.Request{UseReserve: true, Quotas: []places.Quota{
		places.FixedQuota(t.newTag("browser", browser.ID).key(), 1), places.FixedQuota(t.newTag("browsers", browser.UserUID).key(), placesPerName),
	}}
	return []places.Request{known, unknown}
}

// CheckTyped returns a *RefusedError if too many passwords were wrong for the username or from the
// source.
func (a *DirectoryAttempt) CheckTyped() error {
	d := a.directory
	d.tables.mu.Lock()
	defer d.tables.mu.Unlock()
	return a.checkTyped(d.throttle.elapsed())
}

// Found tells whose entry the directory has found, and with which known browser the user is; "" if
// with none.
func (a *DirectoryAttempt) Found(entry, deviceID string) { a.entry, a.deviceID = entry, deviceID }

// Begin begins the attempt. From here on it counts as one that may fail, so that attempts at the same
// time are not more than one after another. It returns a *RefusedError if the attempt comes too soon,
// by what was typed. mayBind is false if it comes too soon by the entry alone: another answer than to
// a wrong password would tell that there is this user.
func (a *DirectoryAttempt) Begin() (mayBind bool, err error) {
	d := a.directory
	d.tables.mu.Lock()
	defer d.tables.mu.Unlock()
	now := d.throttle.elapsed()
	refused := a.checkTyped(now)
	isEntryFree := a.entry == "" || a.wait(d.tables.entries, a.entryTag(), a.maxFailures, now) == 0
	switch {
	case refused == nil && isEntryFree:
		a.begin(d.tables.names, a.nameTag(), now, true)
		if a.entry != "" {
			a.begin(d.tables.entries, a.entryTag(), now, true)
		}
		if a.deviceID == "" {
			a.begin(d.tables.sources, a.sourceTag(), now, false)
		}
		return true, nil
	case a.deviceID != "" && a.wait(d.tables.devices, a.deviceTag(), maxDeviceFailures, now) == 0:
		a.begin(d.tables.devices, a.deviceTag(), now, true)
		return true, nil
	case refused != nil:
		return false, refused
	}
	d.throttle.refused.WithLabelValues(byEntry).Inc()
	a.begin(d.tables.names, a.nameTag(), now, false)
	a.begin(d.tables.sources, a.sourceTag(), now, false)
	return false, nil
}

// End counts the result. A right password clears what is counted for the user, as directories do.
func (a *DirectoryAttempt) End(isRight bool) {
	d := a.directory
	d.tables.mu.Lock()
	defer d.tables.mu.Unlock()
	now := d.throttle.elapsed()
	for _, b := range a.began {
		b.bucket.running--
		switch {
		case !isRight:
			b.bucket.addFailure(b.rule, now)
		case b.isCleared:
			b.bucket.clear()
		}
	}
	a.began = nil
}

func (a *DirectoryAttempt) checkTyped(now time.Duration) error {
	d := a.directory
	by := perName.by
	wait := a.wait(d.tables.names, a.nameTag(), a.maxFailures, now)
	if source := a.wait(d.tables.sources, a.sourceTag(), perSource.maxFailures, now); a.deviceID == "" && source > wait {
		by, wait = perSource.by, source
	}
	if wait == 0 {
		return nil
	}
	d.throttle.refused.WithLabelValues(by).Inc()
	return &RefusedError{Wait: wait}
}

// wait returns how long the attempt has to wait because of one bucket.
func (a *DirectoryAttempt) wait(t *table, g tag, maxFailures int, now time.Duration) time.Duration {
	r := t.rule
	r.maxFailures = maxFailures
	return t.find(g, now).waitTime(r, now)
}

func (a *DirectoryAttempt) begin(t *table, g tag, now time.Duration, isCleared bool) {
	b, isShared := t.assign(g, now)
	if isShared {
		a.directory.throttle.shared.WithLabelValues(t.by).Inc()
	}
	b.running++
	a.began = append(a.began, begunBucket{t.rule, b, isCleared})
}

func (a *DirectoryAttempt) nameTag() tag   { return a.directory.throttle.newTag("typed", a.name) }
func (a *DirectoryAttempt) sourceTag() tag { return a.directory.throttle.newTag("source", a.source) }
func (a *DirectoryAttempt) entryTag() tag  { return a.directory.throttle.newTag("entry", a.entry) }
func (a *DirectoryAttempt) deviceTag() tag {
	return a.directory.throttle.newTag("device", a.deviceID, a.entry)
}
