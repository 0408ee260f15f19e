package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// testVerifier is a Verifier with requests that are held in its queue until they are released.
type testVerifier struct {
	*Verifier
	t    *testing.T
	held sync.WaitGroup
}

func newTestVerifier(t *testing.T, limits Limits) *testVerifier {
	o := &testVerifier{t: t, Verifier: NewVerifier(limits, time.Now)}
	t.Cleanup(o.held.Wait)
	return o
}

// heldRequest is a request that waits in the queue and then hashes nothing until it is released.
type heldRequest struct {
	release func()
	started chan struct{} // closed when its hashing would start
	result  chan error
}

// hold starts a request, and returns when it has a place in the queue or is refused.
func (o *testVerifier) hold(r Request) *heldRequest {
	o.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.t.Context()))
	o.t.Cleanup(cancel)
	held := &heldRequest{release: cancel, started: make(chan struct{}), result: make(chan error, 1)}
	r.BeforeHash = func() error {
		close(held.started)
		<-ctx.Done()
		return ctx.Err()
	}
	before := o.QueueLength()
	o.held.Go(func() {
		_, err := o.Verify(ctx, r)
		held.result <- err
	})
	for o.QueueLength() == before && len(held.result) == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	return held
}

// isRefused reports whether the request got no place.
func (r *heldRequest) isRefused() bool { return len(r.result) > 0 }

// running returns how many of the requests are being hashed.
func (o *testVerifier) running(requests []*heldRequest) (n int) {
	for _, r := range requests {
		select {
		case <-r.started:
			n++
		case <-time.After(20 * time.Millisecond):
		}
	}
	return n
}

// argon2Hash returns a hash of no known password, with these costs.
func argon2Hash(memory, passes, threads int) string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", memory, passes, threads)
}

func bcryptHash(cost int) string { return fmt.Sprintf("$2a$%02d$%s", cost, strings.Repeat(".", 53)) }

func TestAVerifierComputesADummyWhereThereIsNoHash(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 1})
	known := mustHash(t, "secret")
	for i, phc := range []string{known, "", known, ""} {
		ok, err := o.Verify(t.Context(), Request{Hash: phc, Password: "guess"})
		if ok || err != nil || o.CountHashed() != int64(i+1) {
			t.Errorf("Verify(%q) = %v, %v after %d computations", phc, ok, err, o.CountHashed())
		}
	}
	if ok, err := o.Verify(t.Context(), Request{Hash: known, Password: "secret"}); !ok || err != nil {
		t.Errorf("the right password: %v, %v", ok, err)
	}
	if ok, err := o.Verify(t.Context(), Request{Hash: "no hash", Password: "secret"}); ok || !errors.Is(err, ErrHash) {
		t.Errorf("what is no hash: %v, %v", ok, err)
	}
}

func TestAPasswordThatMayNotBeVerifiedIsNotComputed(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 1})
	early := errors.New("too early")
	r := Request{Hash: mustHash(t, "secret"), Password: "secret", BeforeHash: func() error { return early }}
	ok, err := o.Verify(t.Context(), r)
	if ok || !errors.Is(err, early) || o.CountHashed() != 0 {
		t.Errorf("Verify = %v, %v after %d computations", ok, err, o.CountHashed())
	}
	r.BeforeHash = func() error { return nil }
	if ok, err := o.Verify(t.Context(), r); !ok || err != nil {
		t.Errorf("the one after it: %v, %v", ok, err)
	}
}

func TestHashesAtOnceTakeNoMoreCPUsAndMemoryThanThereAre(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		limits Limits
		hash   string
		want   int
	}{
		"one thread each":                         {Limits{CPUs: 3}, "", 3},
		"four threads each":                       {Limits{CPUs: 9}, argon2Hash(1024, 1, 4), 2},
		"more threads than CPUs":                  {Limits{CPUs: 2}, argon2Hash(1024, 1, 8), 1},
		"many CPUs and little memory":             {Limits{CPUs: 64, Memory: 150 * mib}, argon2Hash(64<<10, 2, 1), 2},
		"a hash that takes all the memory":        {Limits{CPUs: 64, Memory: 64 * mib}, argon2Hash(64<<10, 2, 1), 1},
		"bcrypt, which takes next to no memory":   {Limits{CPUs: 4, Memory: 19 * mib}, bcryptHash(4), 4},
		"our own, with as much as is always left": {Limits{CPUs: 64, Memory: DefaultHashMemory}, "", 1},
	} {
		o := newTestVerifier(t, c.limits)
		var requests []*heldRequest
		for range c.want + 3 {
			requests = append(requests, o.hold(Request{Hash: c.hash}))
		}
		if n := o.running(requests); n != c.want {
			t.Errorf("%s: %d at once, want %d", name, n, c.want)
		}
		for _, r := range requests { // in the order in which they came
			select {
			case <-r.started:
			case <-time.After(5 * time.Second):
				t.Errorf("%s: one waits although CPUs and memory suffice", name)
			}
			r.release()
		}
		o.held.Wait()
		if q := o.queue; o.QueueLength() != 0 || q.cpus != 0 || q.memory != 0 || q.waiting.Len() != 0 || len(q.usage) != 0 {
			t.Errorf("%s: afterwards the queue is %+v", name, q)
		}
	}
}

func TestAHashThatTakesMoreMemoryThanAllMayIsRefusedUncomputedWithWhatToChange(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 2, Memory: 96 << 20})
	ok, err := o.Verify(t.Context(), Request{Hash: argon2Hash(102400, 2, 8), Password: "secret"})
	if ok || !errors.Is(err, ErrMemory) || o.CountHashed() != 0 {
		t.Fatalf("Verify = %v, %v after %d computations", ok, err, o.CountHashed())
	}
	for _, part := range []string{"raise the memory limit of the server", "102400 KiB", "98304"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// fill holds requests until one is refused, and returns how many were not.
func (o *testVerifier) fill(r Request) int {
	o.t.Helper()
	for n := range 10_000 {
		if held := o.hold(r); held.isRefused() {
			if err := <-held.result; !errors.Is(err, ErrBusy) {
				o.t.Errorf("one too many: %v", err)
			}
			return n
		}
	}
	o.t.Fatal("the queue has no end")
	return 0
}

func TestTheQueueIsAsLongAsItTakesFourSecondsAndHasAnEndForTheFastestHashesToo(t *testing.T) {
	for name, c := range map[string]struct {
		limits      Limits
		hash        string
		least, most int
	}{
		"our own":                      {Limits{CPUs: 1}, "", 140, 150},
		"our own on two CPUs":          {Limits{CPUs: 2}, "", 285, 300},
		"our own, with memory for one": {Limits{CPUs: 4, Memory: DefaultHashMemory}, "", 140, 150},
		"half a second each":           {Limits{CPUs: 1}, bcryptHash(13), 8, 8},
		"seconds each":                 {Limits{CPUs: 1}, argon2Hash(128<<10, 10, 1), 4, 4},
		"the fastest":                  {Limits{CPUs: 8}, bcryptHash(4), maxPlaces, maxPlaces},
	} {
		if n := newTestVerifier(t, c.limits).fill(Request{Hash: c.hash}); n < c.least || n > c.most {
			t.Errorf("%s: %d places, want %d to %d", name, n, c.least, c.most)
		}
	}
}

func TestTheQueueIsShorterWhereHashesTakeLonger(t *testing.T) {
	var clock time.Duration
	o := newTestVerifier(t, Limits{CPUs: 1})
	o.now = func() time.Time { clock += 100 * time.Millisecond; return time.Unix(0, int64(clock)) }
	for range 50 {
		if _, err := o.Verify(t.Context(), Request{Hash: bcryptHash(4)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := o.fill(Request{Hash: bcryptHash(4)}); n < 38 || n > 42 {
		t.Errorf("%d places for hashes of a tenth of a second, want 40", n)
	}
	// A measurement of one algorithm does not change the estimate of the other, and a single long
	// pause changes little.
	other := newTestVerifier(t, Limits{CPUs: 1})
	other.rates.update(mustParse(t, DummyHash("")), 1, time.Hour)
	if n := other.fill(Request{}); n < 80 {
		t.Errorf("%d places after a pause", n)
	}
}

func TestNoKeyHasMoreThanItsShareOfTheQueue(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 1})
	if n := o.fill(Request{Quotas: []Quota{FixedQuota("alice", 2)}}); n != 2 {
		t.Errorf("a name has %d places, want 2", n)
	}
	if n := o.fill(Request{Quotas: []Quota{FixedQuota("bob", 2), QuarterQuota("here")}}); n != 2 {
		t.Errorf("another name has %d places, want 2", n)
	}
	all := newTestVerifier(t, Limits{CPUs: 1}).fill(Request{})
	for i, source := range []string{"here", "there"} {
		if n := o.fill(Request{Quotas: []Quota{QuarterQuota(source)}}); n < all/4-1-2*(1-i) || n > all/4-2*(1-i) {
			t.Errorf("%s has %d places more, want a quarter of %d", source, n, all)
		}
	}
	// Where a hash takes as long as a quarter of the queue, one name still leaves places to others
	// of its source.
	costly := newTestVerifier(t, Limits{CPUs: 2})
	for name, want := range map[string]int{"alice": 2, "bob": 2} {
		if n := costly.fill(Request{Hash: bcryptHash(14), Quotas: []Quota{FixedQuota(name, 2), QuarterQuota("here")}}); n != want {
			t.Errorf("%s has %d places for costly hashes, want %d", name, n, want)
		}
	}
	if n := costly.fill(Request{Hash: bcryptHash(14), Quotas: []Quota{QuarterQuota("here")}}); n != 0 {
		t.Errorf("the source has %d places for costly hashes more", n)
	}
}

func TestAFullQueueStillHasAReserve(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 1})
	all := o.fill(Request{})
	if n := o.fill(Request{UseReserve: true}); n < all/4-1 || n > all/4 {
		t.Errorf("the reserve has %d places, want a quarter of %d", n, all)
	}
	// Requests that may use the reserve do not while there are other places.
	o = newTestVerifier(t, Limits{CPUs: 1})
	if n := o.fill(Request{UseReserve: true}); n < all+all/4-2 || n > all+all/4+1 {
		t.Errorf("there are %d places in all", n)
	}
}

func TestACostlyHashIsNotOvertaken(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 2})
	first := o.hold(Request{Hash: bcryptHash(4)})
	costly := o.hold(Request{Hash: argon2Hash(1024, 1, 2)}) // needs both CPUs
	later := o.hold(Request{Hash: bcryptHash(4)})
	if o.running([]*heldRequest{first}) != 1 || o.running([]*heldRequest{costly, later}) != 0 {
		t.Error("another one runs than the first")
	}
	first.release()
	<-costly.started
	if o.running([]*heldRequest{later}) != 0 {
		t.Error("a third CPU was found")
	}
	costly.release()
	<-later.started
}

func TestARequestWhoseClientHasGoneLeavesTheQueue(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 1})
	first := o.hold(Request{})
	gone := o.hold(Request{Quotas: []Quota{FixedQuota("alice", 1)}})
	next := o.hold(Request{})
	gone.release()
	if err := <-gone.result; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that has gone: %v", err)
	}
	if n := o.QueueLength(); n != 2 {
		t.Errorf("%d places are taken, want 2", n)
	}
	if o.hold(Request{Quotas: []Quota{FixedQuota("alice", 1)}}).isRefused() {
		t.Error("its quota is still in use")
	}
	first.release()
	<-next.started
	if o.CountHashed() != 0 {
		t.Errorf("%d were computed", o.CountHashed())
	}
}

func TestNoRequestWaitsMuchLongerThanWasEstimated(t *testing.T) {
	o := newTestVerifier(t, Limits{CPUs: 1})
	o.hold(Request{}) // never ends
	began := time.Now()
	_, err := o.Verify(t.Context(), Request{})
	if took := time.Since(began); !errors.Is(err, ErrBusy) || took > maxWait+2*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
}
