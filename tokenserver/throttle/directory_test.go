package throttle

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

var directoryLimits = DirectoryLimits{Failures: 4, Window: 30 * time.Minute}

// try makes one attempt, and reports whether the directory is asked about the entry.
func try(t *testing.T, a *DirectoryAttempt, entry, device string, isRight bool) (asked bool) {
	t.Helper()
	if err := a.CheckTyped(); err != nil && device == "" {
		return false
	}
	a.Found(entry, device)
	mayBind, err := a.Begin()
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		if refused.Wait < time.Second || refused.Wait > directoryLimits.Window {
			t.Errorf("it is to wait %s", refused.Wait)
		}
		return false
	case err != nil:
		t.Fatal(err)
	}
	a.End(isRight && mayBind)
	return mayBind
}

func TestADirectoryIsAskedAboutAnEntryOnlyAsOftenAsTheWindowAllows(t *testing.T) {
	p := newFixture(t)
	d := p.NewDirectory(directoryLimits)
	asked := 0
	for i := range 1000 {
		if try(t, d.NewAttempt(fmt.Sprint("spelling", i%100), fmt.Sprint("source", i), 1), "alice", "", false) {
			asked++
		}
		p.now = p.now.Add(time.Second)
	}
	if asked != 4 {
		t.Errorf("the directory was asked %d times within a window, want 4", asked)
	}
	p.now = p.now.Add(directoryLimits.Window)
	if !try(t, d.NewAttempt("alice", "source", 1), "alice", "", true) {
		t.Error("when the window is over, the directory is not asked")
	}
	for i := range 4 {
		if !try(t, d.NewAttempt("alice", "source", 1), "alice", "", false) {
			t.Errorf("after a right password wrong one number %d is refused", i)
		}
	}
}

func TestAttemptsAtOnceAreNotMoreThanOneAfterAnother(t *testing.T) {
	p := newFixture(t)
	d := p.NewDirectory(directoryLimits)
	var begun []*DirectoryAttempt
	for i := range 100 {
		a := d.NewAttempt(fmt.Sprint("spelling", i), fmt.Sprint("source", i), 1)
		a.Found("alice", "")
		mayBind, err := a.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if mayBind {
			begun = append(begun, a)
		}
	}
	if len(begun) != 4 {
		t.Errorf("%d attempts run at once, want 4", len(begun))
	}
	for _, a := range begun {
		a.End(false)
	}
}

func TestTheFailuresAreDividedAmongTheReplicasAndEachHasOne(t *testing.T) {
	for replicas, want := range map[int]int{0: 4, 1: 4, 2: 4, 3: 3, 4: 4, 9: 9} {
		asked := 0
		for range max(1, replicas) {
			p := newFixture(t)
			d := p.NewDirectory(directoryLimits)
			for i := range 50 {
				if try(t, d.NewAttempt(fmt.Sprint(i), "source", replicas), "alice", "", false) {
					asked++
				}
			}
		}
		if asked != want {
			t.Errorf("%d replicas ask %d times, want %d", replicas, asked, want)
		}
	}
}

func TestAKnownBrowserHasOneMoreAndAnAttackerNone(t *testing.T) {
	p := newFixture(t)
	d := p.NewDirectory(directoryLimits)
	for range 10 {
		try(t, d.NewAttempt("alice", "attacker", 1), "alice", "", false)
	}
	if try(t, d.NewAttempt("alice", "home", 1), "alice", "", true) {
		t.Error("an unknown browser is let in")
	}
	if !try(t, d.NewAttempt("alice", "home", 1), "alice", "device", false) {
		t.Error("the known browser has none")
	}
	if try(t, d.NewAttempt("alice", "home", 1), "alice", "device", true) {
		t.Error("the known browser has two")
	}
	if try(t, d.NewAttempt("bob", "home", 1), "bob", "device", true); try(t, d.NewAttempt("alice", "home", 1), "alice", "device", true) {
		t.Error("a right password of another user clears what is counted for this one")
	}
}

func TestAnUnknownNameIsRefusedAsAKnownOneIs(t *testing.T) {
	for _, entry := range []string{"", "alice"} {
		p := newFixture(t)
		d := p.NewDirectory(directoryLimits)
		for i := range 4 {
			if !try(t, d.NewAttempt("name", fmt.Sprint("source", i), 1), entry, "", false) {
				t.Errorf("entry %q: attempt %d is refused", entry, i)
			}
		}
		if err := d.NewAttempt("name", "another source", 1).CheckTyped(); err == nil {
			t.Errorf("entry %q: the fifth attempt is not refused", entry)
		}
	}
}

func TestASourceThatFailsOftenWaits(t *testing.T) {
	p := newFixture(t)
	d := p.NewDirectory(directoryLimits)
	for i := range perSource.maxFailures {
		try(t, d.NewAttempt(fmt.Sprint("name", i), "source", 1), "", "", false)
	}
	if d.NewAttempt("name", "source", 1).CheckTyped() == nil {
		t.Error("the source may go on")
	}
	if err := d.NewAttempt("name", "another", 1).CheckTyped(); err != nil {
		t.Errorf("another source: %v", err)
	}
}

func TestOtherLimitsKeepWhatHasFailed(t *testing.T) {
	p := newFixture(t)
	d := p.NewDirectory(directoryLimits)
	for range 4 {
		try(t, d.NewAttempt("alice", "source", 1), "alice", "", false)
	}
	d = d.WithLimits(DirectoryLimits{Failures: 5, Window: time.Hour})
	p.now = p.now.Add(directoryLimits.Window)
	if !try(t, d.NewAttempt("alice", "source", 1), "alice", "", false) || try(t, d.NewAttempt("alice", "source", 1), "alice", "", false) {
		t.Error("within the longer window there is not exactly one more")
	}
}

func TestMadeUpNamesNeitherForgetFailuresNorUseMoreMemory(t *testing.T) {
	p := newFixture(t)
	d := p.NewDirectory(directoryLimits)
	for range 4 {
		try(t, d.NewAttempt("alice", "source", 1), "alice", "", false)
	}
	var crowd sync.WaitGroup
	for part := range 4 {
		crowd.Go(func() {
			for i := range 50_000 {
				a := d.NewAttempt(fmt.Sprint("made up", part, i), fmt.Sprint(part, i), 1)
				if _, err := a.Begin(); err == nil {
					a.End(false)
				}
			}
		})
	}
	crowd.Wait()
	if try(t, d.NewAttempt("another spelling", "another source", 1), "alice", "", true) {
		t.Error("the failures of the entry are forgotten")
	}
	held := 0
	for _, set := range d.tables.names.sets {
		for i := range set {
			held += len(set[i].failures)
		}
	}
	if most := 4 * setSize * len(d.tables.names.sets); held > most {
		t.Errorf("%d failures are held, more than %d", held, most)
	}
}

// What a replica has counted ends with it: this is how much that is, at most.
func TestAWindowInWhichAllReplicasAreReplacedHasTwiceTheFailures(t *testing.T) {
	for failures, most := range map[int]int{3: 6, 4: 6, 6: 12, 9: 18} {
		limits := DirectoryLimits{Failures: failures, Window: 30 * time.Minute}
		asked := 0
		for replica := range 6 { // three, and three in their place
			d := newFixture(t).NewDirectory(limits)
			for i := range 100 {
				if try(t, d.NewAttempt(fmt.Sprint("spelling", i), fmt.Sprint("source", i), 3), "alice", "", false) {
					asked++
				}
			}
			if replica == 2 && asked > failures {
				t.Errorf("failures %d: the directory was asked %d times before the replicas were replaced", failures, asked)
			}
		}
		if asked != most || asked > 2*failures {
			t.Errorf("failures %d: the directory was asked %d times, want %d", failures, asked, most)
		}
	}
}
