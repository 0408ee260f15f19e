package throttle

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/argon2"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

const right, wrong = "right", "wrong"

// hash returns a hash of the right password, as cheap as possible.
var hash = sync.OnceValue(func() string {
	salt := []byte("salted salt")
	sum := argon2.IDKey([]byte(right), salt, 1, 8, 1, 16)
	return "$argon2id$v=19$m=8,t=1,p=1$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(sum)
})

// fixture is a Throttle with a clock that the test sets.
type fixture struct {
	*Throttle
	t        *testing.T
	verifier *password.Verifier
	metrics  *prometheus.Registry
	now      time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	p := &fixture{t: t, verifier: password.NewVerifier(password.Limits{CPUs: 4}, time.Now), metrics: prometheus.NewRegistry(), now: time.Unix(1_800_000_000, 0)}
	var err error
	if p.Throttle, err = New(func() time.Time { return p.now }, rand.Reader, p.metrics); err != nil {
		t.Fatal(err)
	}
	return p
}

// try verifies a password, and returns "right", "wrong", or how many seconds it has to wait. A
// password that has to wait must not be hashed, and any other must be.
func (p *fixture) try(a *Attempt, secret string) string {
	p.t.Helper()
	before := p.verifier.CountHashed()
	ok, err := a.Verify(p.t.Context(), p.verifier, hash(), secret)
	hashed := p.verifier.CountHashed() - before
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		if ok || hashed != 0 {
			p.t.Errorf("a refused attempt is %v after %d hashes", ok, hashed)
		}
		return refused.RetryAfter()
	case err != nil:
		p.t.Fatal(err)
	case hashed != 1:
		p.t.Errorf("%d hashes, want 1", hashed)
	}
	if ok {
		return right
	}
	return wrong
}

// login tries to log in, from another source each time.
func (p *fixture) login(name, secret string) string {
	p.t.Helper()
	return p.try(p.NewLoginAttempt(name, rand.Text(), ""), secret)
}

// fail fails n attempts, none of which must be refused.
func (p *fixture) fail(n int, attempt func() *Attempt) {
	p.t.Helper()
	for i := range n {
		if got := p.try(attempt(), wrong); got != wrong {
			p.t.Fatalf("failure %d is %s", i+1, got)
		}
	}
}

func (p *fixture) want(what, got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestAfterTenFailuresOfANameTheNextOneWaits(t *testing.T) {
	p := newFixture(t)
	for _, name := range []string{"alice", "unknown", strings.Repeat("x", 1000), ""} {
		p.fail(10, func() *Attempt { return p.NewLoginAttempt(name, rand.Text(), "") })
		p.want("the eleventh", p.login(name, wrong), "1")
		p.want("the right password", p.login(name, right), "1")
		p.want("the right password at the token endpoint", p.try(p.NewGrantAttempt(name, "client"), right), "1")
	}
	p.want("another name", p.login("bob", right), right)
}

func TestFailuresOfBothEndpointsAddUp(t *testing.T) {
	p := newFixture(t)
	p.fail(5, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.fail(5, func() *Attempt { return p.NewGrantAttempt("alice", rand.Text()) })
	p.want("the eleventh", p.login("alice", right), "1")
}

func TestDelaysDoubleUpToAQuarterOfAnHour(t *testing.T) {
	p := newFixture(t)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} {
		p.want("at once", p.login("alice", wrong), fmt.Sprint(seconds))
		p.now = p.now.Add(time.Duration(seconds)*time.Second - time.Millisecond)
		p.want("just before", p.login("alice", right), "1")
		p.now = p.now.Add(time.Millisecond)
		p.want("in time", p.login("alice", wrong), wrong)
	}
}

func TestAfterTenQuietMinutesADelayIsForgotten(t *testing.T) {
	p := newFixture(t)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.now = p.now.Add(time.Second + 10*time.Minute - time.Millisecond)
	p.fail(1, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.want("within ten minutes of the delay", p.login("alice", wrong), "2")
	p.now = p.now.Add(2*time.Second + 10*time.Minute)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.want("later", p.login("alice", wrong), "1")
}

func TestOnlyFailuresOfTheLastTenMinutesCount(t *testing.T) {
	p := newFixture(t)
	p.fail(5, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.now = p.now.Add(9 * time.Minute)
	p.fail(4, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.now = p.now.Add(time.Minute)
	p.fail(6, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.want("ten within two minutes", p.login("alice", right), "1")
}

func TestARightPasswordClearsTheNameButNotWhereItCameFrom(t *testing.T) {
	p := newFixture(t)
	for range 11 {
		p.fail(9, func() *Attempt { return p.NewLoginAttempt("alice", "here", "") })
		p.want("the right password", p.try(p.NewLoginAttempt("alice", "here", ""), right), right)
	}
	p.fail(1, func() *Attempt { return p.NewLoginAttempt("alice", "here", "") })
	p.want("the hundred-and-first failure from there", p.try(p.NewLoginAttempt("alice", "here", ""), right), "1")
	p.want("from elsewhere", p.login("alice", right), right)

	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.now = p.now.Add(time.Second)
	p.want("after a delay", p.login("alice", right), right)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.want("the first delay again", p.login("alice", right), "1")
}

func TestTheOwnersDeviceGetsInWhileOthersGuess(t *testing.T) {
	p := newFixture(t)
	p.fail(100, func() *Attempt { return p.NewLoginAttempt(rand.Text(), "office", "") })
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.want("a stranger", p.login("alice", right), "1")
	p.want("a colleague", p.try(p.NewLoginAttempt("bob", "office", ""), right), "1")
	p.fail(9, func() *Attempt { return p.NewLoginAttempt("alice", "office", "laptop") })
	p.want("the owner", p.try(p.NewLoginAttempt("alice", "office", "laptop"), right), right)
	p.want("a stranger after the owner", p.login("alice", right), "1")

	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", "office", "laptop") })
	p.want("a thief of the device", p.try(p.NewLoginAttempt("alice", "office", "laptop"), right), "1")
	p.want("the owner's other device", p.try(p.NewLoginAttempt("alice", "office", "phone"), right), right)
	p.want("another user of the device", p.try(p.NewLoginAttempt("carol", "home", "laptop"), right), right)
}

func TestAHundredFailuresOfASourceAndAThousandOfAClientMakeAllOfItWaitAMinuteAtMost(t *testing.T) {
	p := newFixture(t)
	for _, c := range []struct {
		failures int
		attempt  func(name string) *Attempt
	}{
		{100, func(name string) *Attempt { return p.NewLoginAttempt(name, "192.0.2.7/32", "") }},
		{1000, func(name string) *Attempt { return p.NewGrantAttempt(name, "client-uid") }},
	} {
		p.fail(c.failures, func() *Attempt { return c.attempt(rand.Text()) })
		for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			p.want("one more", p.try(c.attempt("bob"), right), fmt.Sprint(seconds))
			p.now = p.now.Add(time.Duration(seconds) * time.Second)
			p.fail(1, func() *Attempt { return c.attempt(rand.Text()) })
		}
	}
	p.want("bob from elsewhere", p.login("bob", right), right)
}

// crowd makes n attempts at once, each of which tries again while it gets no place in the queue.
func (p *fixture) crowd(n int, attempt func() *Attempt, secret string) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for {
				if _, err := attempt().Verify(p.t.Context(), p.verifier, hash(), secret); !errors.Is(err, password.ErrBusy) {
					return
				}
			}
		})
	}
	all.Wait()
}

func TestGuessesAtOnceAreNotMoreThanOneAfterAnother(t *testing.T) {
	p := newFixture(t)
	guess := func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") }
	p.crowd(100, guess, wrong)
	if hashed := p.verifier.CountHashed(); hashed != 10 {
		t.Errorf("%d of 100 guesses were hashed, want 10", hashed)
	}
	p.want("the next one", p.login("alice", right), "1")
	p.now = p.now.Add(time.Second)
	before := p.verifier.CountHashed()
	p.crowd(100, guess, wrong)
	if hashed := p.verifier.CountHashed() - before; hashed != 1 {
		t.Errorf("%d guesses were hashed after a delay, want 1", hashed)
	}
}

func TestOnlySoManyAttemptsRunAsMayFail(t *testing.T) {
	for _, failed := range []int{0, 8} {
		p := newFixture(t)
		p.fail(failed, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
		running := make([]*Attempt, 12-failed)
		for i := range running {
			running[i] = p.NewLoginAttempt("alice", rand.Text(), "")
			if err := running[i].check(); err != nil {
				t.Fatal(err)
			}
		}
		for i, attempt := range running {
			if err := attempt.begin(); (err == nil) != (i < 10-failed) {
				t.Errorf("attempt %d at once, after %d failures: %v", i+1, failed, err)
			}
		}
		running[0].end(false, nil)
		p.want("with the others running", p.login("alice", right), "1")
		for _, attempt := range running[1 : 10-failed] {
			attempt.end(true, nil)
		}
		p.want("after they were right", p.login("alice", right), right)
	}
}

func TestAnAttemptThatWaitedForItsTurnIsLookedAtAgain(t *testing.T) {
	p := newFixture(t)
	late := p.NewLoginAttempt("alice", rand.Text(), "")
	if err := late.check(); err != nil {
		t.Fatal(err)
	}
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	if err := late.begin(); err == nil {
		t.Error("it began after ten others had failed")
	}
}

func TestAUserWhoSignsInAgainAndAgainIsNotRefused(t *testing.T) {
	p := newFixture(t)
	p.crowd(100, func() *Attempt { return p.NewGrantAttempt("robot", "client") }, right)
	if hashed := p.verifier.CountHashed(); hashed != 100 {
		t.Errorf("%d right passwords were verified, want all 100", hashed)
	}
}

func TestWhatWasNotVerifiedDoesNotCount(t *testing.T) {
	p := newFixture(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	full := busy(t)
	for range 50 {
		if _, err := p.NewLoginAttempt("alice", "here", "").Verify(gone, full, hash(), wrong); err == nil {
			t.Fatal("it was verified")
		}
		if _, err := p.NewLoginAttempt("alice", "here", "").Verify(t.Context(), p.verifier, "no hash", wrong); !errors.Is(err, password.ErrHash) {
			t.Fatal(err)
		}
	}
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", "here", "") })
}

// busy returns a verifier that verifies nothing until the test ends.
func busy(t *testing.T) *password.Verifier {
	v := password.NewVerifier(password.Limits{CPUs: 1}, time.Now)
	held, release := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = v.Verify(context.WithoutCancel(t.Context()), password.Request{BeforeHash: func() error { close(held); <-release; return errors.New("over") }})
	})
	<-held
	t.Cleanup(func() { close(release); done.Wait() })
	return v
}

func TestNoNumberOfNamesMakesItForgetOrGrow(t *testing.T) {
	p := newFixture(t)
	small := rule{by: "name", maxFailures: 10, window: failureWindow, maxDelay: 15 * time.Minute, buckets: 4 * setSize}
	p.names = newTable(small)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.fail(5, func() *Attempt { return p.NewLoginAttempt("bob", rand.Text(), "") })
	for i := range 2000 {
		p.login(fmt.Sprint("made-up-", i), wrong)
		if p.login("alice", right) == right {
			t.Fatalf("after %d made-up names alice's failures are forgotten", i)
		}
	}
	if got := p.names.buckets; got != 4*setSize || len(p.names.sets) != 4 {
		t.Errorf("there are %d buckets in %d sets", got, len(p.names.sets))
	}
	admitted := 0
	for range 10 {
		if p.login("bob", wrong) == wrong {
			admitted++
		}
	}
	if admitted > 5 {
		t.Errorf("%d more failures of bob were let in after 5", admitted)
	}
	// It does not help either to fill the table between guesses.
	admitted = 0
	for range 50 {
		if p.login("carol", wrong) == wrong {
			admitted++
		}
		for range 4 * setSize {
			p.login(rand.Text(), wrong)
		}
		p.now = p.now.Add(time.Second)
	}
	if admitted > 15 {
		t.Errorf("%d guesses of carol were let in within a minute", admitted)
	}
	if p.count("oauth_operator_tokenserver_password_counters_shared_total", "name") == 0 {
		t.Error("no metric says that there are too many names")
	}
	// When the window is over, all is as before.
	p.now = p.now.Add(time.Hour)
	p.want("alice", p.login("alice", right), right)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("someone", rand.Text(), "") })
}

func TestTheMetricsNameWhatFailedTooOftenAndNothingElse(t *testing.T) {
	p := newFixture(t)
	p.fail(10, func() *Attempt { return p.NewLoginAttempt("alice", rand.Text(), "") })
	p.login("alice", wrong)
	p.login("alice", wrong)
	const refused = "oauth_operator_tokenserver_password_attempts_refused_total"
	if n := p.count(refused, "name"); n != 2 {
		t.Errorf("%v attempts were refused by name, want 2", n)
	}
	for _, by := range []string{"device", "source", "client"} {
		if n := p.count(refused, by); n != 0 {
			t.Errorf("%v attempts were refused by %s", n, by)
		}
	}
}

// count returns the value of a metric with a value of the label by. The test fails if the metric
// has other labels or values than the fixed ones.
func (p *fixture) count(name, by string) (value float64) {
	p.t.Helper()
	families, err := p.metrics.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	found := false
	for _, family := range families {
		if len(family.GetMetric()) != 5 {
			p.t.Errorf("%s has %d series, want 5", family.GetName(), len(family.GetMetric()))
		}
		for _, metric := range family.GetMetric() {
			label := metric.GetLabel()[0]
			if len(metric.GetLabel()) != 1 || label.GetName() != "by" {
				p.t.Errorf("%s has the labels %v", family.GetName(), metric.GetLabel())
			}
			if family.GetName() == name && label.GetValue() == by {
				value, found = metric.GetCounter().GetValue(), true
			}
		}
	}
	if !found {
		p.t.Fatalf("there is no %s by %s", name, by)
	}
	return value
}
