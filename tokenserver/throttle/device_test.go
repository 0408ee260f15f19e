package throttle

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

const issuer = "https://auth.example.com"

// deviceFixture is Devices with a clock that the test sets, and one browser.
type deviceFixture struct {
	*Devices
	t     *testing.T
	now   time.Time
	jar   map[string]*http.Cookie
	epoch string // of all users
}

func newDeviceFixture(t *testing.T) *deviceFixture {
	t.Helper()
	d := &deviceFixture{t: t, now: time.Unix(1_800_000_000, 0), jar: map[string]*http.Cookie{}, epoch: "first"}
	kid, content, err := keys.GenerateSealing(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, kid+".sealing"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	set := keys.NewSet(rand.Reader)
	if err := set.LoadDir(dir); err != nil {
		t.Fatal(err)
	}
	set.SetDocument(documents.Server{Issuer: issuer, Keys: []documents.Key{
		{KID: kid, Algorithm: documents.AlgorithmSealing, Phase: documents.KeyActive},
	}})
	d.Devices = &Devices{Keys: set, Now: func() time.Time { return d.now }, Random: rand.Reader}
	return d
}

// request returns a request of the browser.
func (d *deviceFixture) request() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	for _, c := range d.jar {
		r.AddCookie(c)
	}
	return r
}

// signIn signs a user in with the browser, and returns the cookie.
func (d *deviceFixture) signIn(userUID string) *http.Cookie {
	d.t.Helper()
	w := httptest.NewRecorder()
	if err := d.RememberUser(w, d.request(), issuer, userUID, d.epoch); err != nil {
		d.t.Fatal(err)
	}
	set := w.Result().Cookies()
	if len(set) != 1 {
		d.t.Fatalf("%d cookies", len(set))
	}
	d.jar[set[0].Name] = set[0]
	return set[0]
}

func (d *deviceFixture) knows(userUID string) bool {
	return d.KnownID(d.request(), issuer, userUID, d.epoch, notbefore.Limits{}) != ""
}

func TestABrowserIsKnownForThoseWhoSignedInWithIt(t *testing.T) {
	d := newDeviceFixture(t)
	if d.knows("alice") || d.knows("") {
		t.Error("a new browser is known")
	}
	cookie := d.signIn("alice")
	if !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(cookie.Name, "__Host-") ||
		strings.Contains(cookie.Value, "alice") || cookie.MaxAge != 180*24*3600 {
		t.Errorf("the cookie is %s", cookie)
	}
	if !d.knows("alice") || d.knows("bob") || d.knows("") {
		t.Error("the browser is not known for alice alone")
	}
	first := d.KnownID(d.request(), issuer, "alice", d.epoch, notbefore.Limits{})
	d.signIn("bob")
	if d.KnownID(d.request(), issuer, "alice", d.epoch, notbefore.Limits{}) != first || d.KnownID(d.request(), issuer, "bob", d.epoch, notbefore.Limits{}) != first {
		t.Error("the browser became another one")
	}
	other := newDeviceFixture(t)
	other.signIn("alice")
	if other.KnownID(other.request(), issuer, "alice", d.epoch, notbefore.Limits{}) == first {
		t.Error("two browsers are one")
	}
}

func TestABrowserIsKnownForAFewUsersAndNotForEver(t *testing.T) {
	d := newDeviceFixture(t)
	for _, user := range []string{"a", "b", "c", "a", "d", "e"} {
		d.signIn(user)
	}
	for user, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true, "e": true} {
		if d.knows(user) != want {
			t.Errorf("known for %s: %v", user, !want)
		}
	}
	d.now = d.now.Add(100 * 24 * time.Hour)
	d.signIn("e")
	d.now = d.now.Add(80 * 24 * time.Hour)
	if d.knows("a") || !d.knows("e") {
		t.Error("a login half a year ago counts, or one after it does not")
	}
	for range 100 {
		d.signIn(rand.Text())
	}
	if n := len(d.signIn("e").String()); n > 1024 {
		t.Errorf("the cookie has grown to %d bytes", n)
	}
}

func TestABrowserIsUnknownAfterAChangeOfThePasswordUntilTheNextLogin(t *testing.T) {
	d := newDeviceFixture(t)
	d.signIn("alice")
	first := d.KnownID(d.request(), issuer, "alice", "first", notbefore.Limits{})
	d.epoch = "second"
	if d.knows("alice") {
		t.Error("the browser is known by a login with the password from before")
	}
	d.signIn("alice")
	if d.KnownID(d.request(), issuer, "alice", "second", notbefore.Limits{}) != first || d.KnownID(d.request(), issuer, "alice", "first", notbefore.Limits{}) != "" {
		t.Error("the browser is not known, for the new password alone, after a login with it")
	}
	cookie := d.signIn("alice")
	d.jar[cookie.Name].Value = sealed(t, d, keys.PurposeDevice, `{"id":"x","users":[{"uid":"alice","at":1800000000}]}`)
	if d.knows("alice") {
		t.Error("a cookie that names no epoch makes the browser known")
	}
}

func TestADeviceCookieThatWeDidNotSealForThisMakesNoBrowserKnown(t *testing.T) {
	d := newDeviceFixture(t)
	cookie := d.signIn("alice")
	stranger := newDeviceFixture(t)
	for what, value := range map[string]string{
		"another server's": stranger.signIn("alice").Value,
		"changed":          cookie.Value[:len(cookie.Value)-2] + "AA",
		"nothing":          "",
		"no JSON":          sealed(t, d, keys.PurposeDevice, "x"),
		"a session":        sealed(t, d, keys.PurposeSession, `{"id":"x","users":[{"uid":"alice","ep":"first","at":1800000000}]}`),
	} {
		d.jar[cookie.Name].Value = value
		if d.knows("alice") {
			t.Errorf("%s: known", what)
		}
	}
	d.jar[cookie.Name].Value = sealed(t, d, keys.PurposeDevice, `{"id":"x","users":[{"uid":"alice","ep":"first","at":1800000000}]}`)
	if !d.knows("alice") {
		t.Error("what was sealed for this is refused too")
	}
	if name := web.CookiesOf(issuer).Name(cookieDevice); name != cookie.Name {
		t.Errorf("the cookie is called %s, want %s", cookie.Name, name)
	}
}

func sealed(t *testing.T, d *deviceFixture, purpose keys.Purpose, content string) string {
	t.Helper()
	value, err := d.Keys.Seal(purpose, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestABrowserIsUnknownToTheTokensNotBeforeOfItsLogin(t *testing.T) {
	d := newDeviceFixture(t)
	d.signIn("alice")
	limits := notbefore.Limits{Login: d.Now().Unix()}
	if d.KnownID(d.request(), issuer, "alice", d.epoch, limits) != "" {
		t.Error("a login that is void makes the browser known")
	}
	limits.Login--
	if d.KnownID(d.request(), issuer, "alice", d.epoch, limits) == "" {
		t.Error("a later login does not")
	}
}

func TestABrowserIsKnownByItsLastUserUntilThatSignInIsVoidOrHalfAYearOld(t *testing.T) {
	d := newDeviceFixture(t)
	limits := map[string]notbefore.Limits{}
	check := func(when string, want Browser) {
		t.Helper()
		if got := d.Browser(d.request(), issuer, func(userUID string) notbefore.Limits { return limits[userUID] }); got != want {
			t.Errorf("%s it is %+v, want %+v", when, got, want)
		}
	}
	check("at first", Browser{})
	d.signIn("alice")
	d.signIn("bob")
	id := d.KnownID(d.request(), issuer, "bob", d.epoch, notbefore.Limits{})
	check("after two sign-ins", Browser{id, "bob"})
	limits["alice"] = notbefore.Limits{Login: d.Now().Unix()}
	check("when that of another user is void", Browser{id, "bob"})
	limits["bob"] = limits["alice"]
	check("when that of its last user is void", Browser{})
	delete(limits, "bob")
	d.now = d.now.Add(180 * 24 * time.Hour)
	check("after half a year", Browser{})
}
