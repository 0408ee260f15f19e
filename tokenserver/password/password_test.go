package password

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

func mustHash(t testing.TB, secret string) string {
	t.Helper()
	phc, err := Hash(secret, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

func TestAHashVerifiesItsPasswordAndNoOther(t *testing.T) {
	secret := "correct horse ☂"
	phc := mustHash(t, secret)
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(phc, secret) {
		t.Errorf("Hash = %q", phc)
	}
	if err := CheckHash(phc); err != nil {
		t.Error(err)
	}
	for candidate, want := range map[string]bool{secret: true, "": false, secret + " ": false, "Correct horse ☂": false, secret[:3]: false} {
		if got, err := Verify(phc, candidate); got != want || err != nil {
			t.Errorf("Verify(%q) = %v, %v", candidate, got, err)
		}
	}
}

func TestTwoHashesOfOnePasswordDiffer(t *testing.T) {
	if a, b := mustHash(t, "x"), mustHash(t, "x"); a == b {
		t.Errorf("both are %q", a)
	}
	if _, err := Hash("x", bytes.NewReader(nil)); err == nil {
		t.Error("a hash without randomness")
	}
}

// The example of the argon2 command line tool, so that hashes made elsewhere verify here.
func TestHashesMadeElsewhereVerify(t *testing.T) {
	blowfish, err := bcrypt.GenerateFromPassword([]byte("pässword"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for phc, secret := range map[string]string{
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "password",
		"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc":   "password",
		"$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy":                           "",
		string(blowfish): "pässword",
		strings.Replace(string(blowfish), "$2a$", "$2y$", 1): "pässword",
	} {
		if err := CheckHash(phc); err != nil {
			t.Errorf("CheckHash(%q): %v", phc, err)
		}
		if secret == "" {
			continue
		}
		if ok, err := Verify(phc, secret); !ok || err != nil {
			t.Errorf("Verify(%q) = %v, %v", phc, ok, err)
		}
		if ok, _ := Verify(phc, secret+"x"); ok {
			t.Errorf("Verify(%q) of another password", phc)
		}
	}
}

func TestAHashThatCostsTooMuchIsNeverComputed(t *testing.T) {
	argon := func(m, t, p, salt, sum string) string {
		return fmt.Sprintf("$argon2id$v=19$m=%s,t=%s,p=%s$%s$%s", m, t, p, salt, sum)
	}
	salt, sum := "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, phc := range []string{
		argon("131073", "2", "1", salt, sum), argon("4294967295", "2", "1", salt, sum), argon("99999999999999999999", "2", "1", salt, sum),
		argon("65536", "11", "1", salt, sum), argon("65536", "2", "9", salt, sum), argon("0", "2", "1", salt, sum), argon("65536", "0", "1", salt, sum),
		argon("65536", "2", "0", salt, sum), argon("8", "2", "2", salt, sum), argon("065536", "2", "1", salt, sum),
		argon("65536", "2", "1", "", sum), argon("65536", "2", "1", "c2FsdA", sum), argon("65536", "2", "1", salt, "c2hvcnQ"), argon("65536", "2", "1", salt, ""),
		argon("65536", "2", "1", salt, strings.Repeat("A", 200)), argon("65536", "2", "1", salt, sum+"="),
		"$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + sum, "$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + sum,
		"$argon2id$m=65536,t=2,p=1$" + salt + "$" + sum, "$argon2id$v=19$m=65536,t=2,p=1,x=1$" + salt + "$" + sum,
		"$2a$15$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "$2a$03$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"$2x$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "$2a$10$short", "$1$md5", "{SSHA}x", "plain", "",
	} {
		if err := CheckHash(phc); !errors.Is(err, ErrHash) {
			t.Errorf("CheckHash(%q) = %v, want ErrHash", phc, err)
		}
		began := time.Now()
		if ok, err := Verify(phc, "password"); ok || !errors.Is(err, ErrHash) {
			t.Errorf("Verify(%q) = %v, %v", phc, ok, err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("%q was computed: %s", phc, took)
		}
	}
}

func TestAVeryLongPasswordIsRefusedUnhashed(t *testing.T) {
	long := strings.Repeat("x", MaxLength+1)
	if _, err := Hash(long, rand.Reader); !errors.Is(err, ErrTooLong) {
		t.Errorf("Hash: %v", err)
	}
	if ok, err := Verify(mustHash(t, long[1:]), long); ok || err != nil {
		t.Errorf("Verify = %v, %v", ok, err)
	}
}

func TestADummyHashCostsWhatItStandsForAndFitsNoPassword(t *testing.T) {
	blowfish, err := bcrypt.GenerateFromPassword([]byte("secret"), 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, phc := range []string{
		mustHash(t, "secret"), "$argon2id$v=19$m=256,t=3,p=2$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
		string(blowfish), strings.Replace(string(blowfish), "$2a$", "$2y$", 1),
	} {
		dummy := DummyHash(phc)
		got, want := mustParse(t, dummy), mustParse(t, phc)
		if got.bcrypt != want.bcrypt || got.params != want.params {
			t.Errorf("%q stands for %q", dummy, phc)
		}
		if want.bcrypt && dummy[4:6] != phc[4:6] {
			t.Errorf("%q has another cost than %q", dummy, phc)
		}
		if again := DummyHash(dummy); again != dummy {
			t.Errorf("the dummy of %q is %q", dummy, again)
		}
		for _, secret := range []string{"secret", "", "x"} {
			if ok, err := Verify(dummy, secret); ok || err != nil {
				t.Errorf("Verify(%q, %q) = %v, %v", dummy, secret, ok, err)
			}
		}
	}
	if DummyHash("") != DummyHash(mustHash(t, "x")) || DummyHash("no hash") != DummyHash("") {
		t.Error("without a hash to stand for, a dummy costs something else than a hash that is made here")
	}
}

func mustParse(t *testing.T, phc string) parsedHash {
	t.Helper()
	p, err := parseHash(phc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHashesWithTheCostsOfDjangoAndVaultwardenVerify(t *testing.T) {
	for _, cost := range []argon2Params{{memory: 102400, time: 2, threads: 8}, {memory: 65540, time: 3, threads: 4}} {
		salt := []byte("sixteen bytes of")
		phc := fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", cost.memory, cost.time, cost.threads, base64.RawStdEncoding.EncodeToString(salt),
			base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("secret"), salt, cost.time, cost.memory, cost.threads, 32)))
		if err := CheckHash(phc); err != nil {
			t.Error(err)
		}
		if ok, err := Verify(phc, "secret"); !ok || err != nil {
			t.Errorf("Verify(%q) = %v, %v", phc, ok, err)
		}
	}
}

func TestOnePasswordThatKeyboardsWriteInSeveralWaysIsOne(t *testing.T) {
	const composed, decomposed = "caf\u00e9 au lait", "cafe\u0301\u00a0au\u3000lait"
	blowfish, err := bcrypt.GenerateFromPassword([]byte(composed), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, phc := range []string{mustHash(t, composed), mustHash(t, decomposed), string(blowfish)} {
		for _, typed := range []string{composed, decomposed} {
			if ok, err := Verify(phc, typed); !ok || err != nil {
				t.Errorf("Verify(%+q) = %v, %v", typed, ok, err)
			}
		}
		for _, other := range []string{"cafe au lait", "CAF\u00c9 au lait", " caf\u00e9 au lait", "caf\u00e9 au lait "} {
			if ok, err := Verify(phc, other); ok || err != nil {
				t.Errorf("Verify(%+q) = %v, %v", other, ok, err)
			}
		}
	}
}

func TestAPasswordThatTheProfileRefusesIsTakenAsTyped(t *testing.T) {
	for _, typed := range []string{"tab\there", "e\u0301\u0000", "\u0378 is unassigned", "\xff", " \u200b"} {
		phc := mustHash(t, typed)
		if ok, err := Verify(phc, typed); !ok || err != nil {
			t.Errorf("Verify(%+q) = %v, %v", typed, ok, err)
		}
	}
	if ok, _ := Verify(mustHash(t, "e\u0301\t"), "\u00e9\t"); ok {
		t.Error("what the profile refuses is changed all the same")
	}
}

func TestAUsernameHasOneForm(t *testing.T) {
	for name, want := range map[string]string{
		"alice": "alice", "Alice": "alice", "ALICE": "alice", "straße": "straße", "Ａｌｉｃｅ": "alice", "e\u0301va": "éva", "a.b-c_d@x": "a.b-c_d@x",
		"alice ": "alice", " \talice\u00a0\r\n": "alice", "\u3000alice" + strings.Repeat(" ", 300): "alice",
	} {
		got, err := NormalizeUsername(name)
		if err != nil || got != want {
			t.Errorf("NormalizeUsername(%q) = %q, %v, want %q", name, got, err, want)
		}
		again, err := NormalizeUsername(got)
		if err != nil || again != got {
			t.Errorf("the form of %q changes again: %q, %v", name, again, err)
		}
	}
	for _, name := range []string{"", " ", "a b", "a\tb", "a\x00", "a\u200b", "a\u202e", "\xff", strings.Repeat("a", 257), "♥"} {
		if got, err := NormalizeUsername(name); !errors.Is(err, ErrUsername) {
			t.Errorf("NormalizeUsername(%q) = %q, %v", name, got, err)
		}
	}
}
