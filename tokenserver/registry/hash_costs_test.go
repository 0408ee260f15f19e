package registry_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

// Hashes of three costs, which no test computes.
var (
	argonHash    = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	oldArgonHash = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	bcryptHash   = "$2a$12$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
)

// newUser returns a user with a password hash.
func newUser(i int, hash string) documents.User {
	return documents.User{
		UID: fmt.Sprint("uid-", i), Subject: fmt.Sprint("subject-", i), Username: fmt.Sprint("user-", i), PasswordHash: hash, Epoch: "e",
	}
}

// thousandUsers returns 1,000 users: 600, 300 and 100 of each cost.
func thousandUsers() []any {
	all := make([]any, 1000)
	for i := range all {
		hash := argonHash
		if i%10 == 0 {
			hash = bcryptHash
		} else if i%10 < 4 {
			hash = oldArgonHash
		}
		all[i] = newUser(i, hash)
	}
	return all
}

// costsOf returns the cost of each name: the dummy of the hash that LookUpLogin returns.
func costsOf(r *registry.Registry, name func(int) string) []string {
	all := make([]string, 5000)
	for i := range all {
		_, _, hash := r.LookUpLogin(name(i))
		all[i] = password.DummyHash(hash)
	}
	return all
}

func unknownName(i int) string { return fmt.Sprint("unknown-", i) }

func TestUnknownNamesCostWhatUsersCostAndAsOften(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, append(thousandUsers(), server())...)
	found := map[string]int{}
	for i, dummy := range costsOf(r, unknownName) {
		found[dummy]++
		if _, user, hash := r.LookUpLogin(unknownName(i)); user != nil || password.CheckHash(hash) != nil {
			t.Fatalf("%s is %v with %s", unknownName(i), user, hash)
		}
	}
	for hash, share := range map[string]float64{argonHash: 0.6, oldArgonHash: 0.3, bcryptHash: 0.1} {
		// Four standard deviations of a binomial distribution.
		want, slack := 5000*share, 4*math.Sqrt(5000*share*(1-share))
		if got := float64(found[password.DummyHash(hash)]); math.Abs(got-want) > slack {
			t.Errorf("%.20s: %v of 5000 unknown names, want %v ± %.0f", hash, got, want, slack)
		}
	}
	if len(found) != 3 {
		t.Errorf("there are %d costs, want those of users: %v", len(found), found)
	}
}

func TestAnUnknownNameCostsAlwaysTheSameOnEveryReplica(t *testing.T) {
	one, other := registry.New(time.Now), registry.New(time.Now)
	users := thousandUsers()
	registrytest.Fill(t, one, append(users, server())...)
	// In another order, with users that are removed again.
	registrytest.Fill(t, other, newUser(0, argonHash), newUser(9999, oldArgonHash))
	registrytest.Fill(t, other, server())
	for i := len(users) - 1; i >= 0; i-- {
		registrytest.Fill(t, other, users[i])
	}
	for _, name := range []string{"identity/subject-9999", "username/user-9999"} {
		other.Remove(name)
	}
	before := costsOf(one, unknownName)
	for i, dummy := range costsOf(other, unknownName) {
		if dummy != before[i] {
			t.Fatalf("%s costs %s here and %s there", unknownName(i), before[i], dummy)
		}
	}
	// As for users, upper case makes no difference.
	if _, _, hash := one.LookUpLogin(strings.ToUpper(unknownName(1))); password.DummyHash(hash) != before[1] {
		t.Error("UNKNOWN-1 costs something else than unknown-1")
	}
	registrytest.Fill(t, one, newUser(1001, bcryptHash))
	changed := 0
	for i, dummy := range costsOf(one, unknownName) {
		if dummy != before[i] {
			changed++
		}
	}
	if changed > 50 {
		t.Errorf("one more user changed what %d of 5000 unknown names cost", changed)
	}
}

func TestANameWithoutAPasswordIsAsANameThatIsNobodys(t *testing.T) {
	r := registry.New(time.Now)
	locked := newUser(1, "")
	registrytest.Fill(t, r, server(), locked, newUser(2, bcryptHash))
	for _, name := range []string{locked.Username, "unknown", "no\x7fname", "", strings.Repeat("n", 300)} {
		if _, user, hash := r.LookUpLogin(name); user != nil || hash != password.DummyHash(bcryptHash) {
			t.Errorf("%.10q: user %v, hash %q", name, user, hash)
		}
	}
	if name, user, hash := r.LookUpLogin("USER-2"); name != "user-2" || user == nil || user.UID != "uid-2" || hash != bcryptHash {
		t.Errorf("USER-2: %q, %v, %q", name, user, hash)
	}
	r.Remove("identity/subject-2")
	if _, user, hash := r.LookUpLogin("user-2"); user != nil || hash != password.DummyHash("") {
		t.Errorf("without users: %v, %q", user, hash)
	}
}
