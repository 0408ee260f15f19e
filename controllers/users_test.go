package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

func (env *testEnv) readyUser(name, password string, change ...func(*v1alpha1.OAuthUser)) *v1alpha1.OAuthUser {
	env.t.Helper()
	u := env.newUser(name, password, change...)
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return u
}

func (env *testEnv) userDocument(u *v1alpha1.OAuthUser) documents.User {
	env.t.Helper()
	return documentAt[documents.User](env, compile.Subject(u))
}

func (env *testEnv) logsIn(u *v1alpha1.OAuthUser, secret string) bool {
	env.t.Helper()
	hash := env.userDocument(u).PasswordHash
	if hash == "" {
		return false
	}
	ok, err := password.Verify(hash, secret)
	if err != nil {
		env.t.Fatal(err)
	}
	return ok
}

func (env *testEnv) userSecret(name string) *corev1.Secret {
	env.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name}}
	env.get(s)
	return s
}

func subject(s string) func(*v1alpha1.OAuthUser) {
	return func(u *v1alpha1.OAuthUser) { u.Spec.Subject = s }
}

func username(s string) func(*v1alpha1.OAuthUser) {
	return func(u *v1alpha1.OAuthUser) { u.Spec.Username = s }
}

func TestAPasswordIsHashedOnlyWhenItsSecretChanged(t *testing.T) {
	env, stop := newEnvWithStop(t)
	defer func() { stop() }()
	u := env.readyUser("alice", "correct horse")
	first := env.userDocument(u)
	if !env.logsIn(u, "correct horse") || u.Status.Subject != string(u.UID) || first.Username != "alice" {
		t.Errorf("the document is %+v", first)
	}
	same := func(when string) {
		t.Helper()
		if doc := env.userDocument(u); doc.PasswordHash != first.PasswordHash || doc.Epoch != first.Epoch {
			t.Errorf("%s the password was hashed again, or a new epoch begun", when)
		}
	}
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"name": "Alice"}`)} })
	eventually.True(t, "the claim is served", func() bool { return env.userDocument(u).Claims["name"] == "Alice" })
	same("when a claim came")
	stop()
	_, stop = runManager(t)
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = nil })
	eventually.True(t, "the claim is gone", func() bool { return len(env.userDocument(u).Claims) == 0 })
	same("when the manager started anew")
	updateObject(env, env.userSecret("alice"), func(s *corev1.Secret) { s.Data["other"] = []byte("x") })
	eventually.True(t, "the Secret was seen", func() bool { return env.userDocument(u).PasswordSource != first.PasswordSource })
	same("when another key of the Secret changed")

	updateObject(env, env.userSecret("alice"), func(s *corev1.Secret) { s.Data["password"] = []byte("battery staple") })
	eventually.True(t, "the new password is in force", func() bool { return env.logsIn(u, "battery staple") })
	if doc := env.userDocument(u); env.logsIn(u, "correct horse") || doc.Epoch == first.Epoch {
		t.Error("the old password is in force, or what began with it has not ended")
	}
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAnotherSpellingOfAPasswordsCharactersIsNoNewPassword(t *testing.T) {
	env := newEnv(t)
	u := env.readyUser("alice", "caf\u00e9 au lait")
	first := env.userDocument(u)
	updateObject(env, env.userSecret("alice"), func(s *corev1.Secret) { s.Data["password"] = []byte("cafe\u0301\u00a0au lait") })
	eventually.True(t, "the Secret was seen", func() bool { return env.userDocument(u).PasswordSource != first.PasswordSource })
	if doc := env.userDocument(u); doc.PasswordHash != first.PasswordHash || doc.Epoch != first.Epoch {
		t.Error("the password was hashed again, or a new epoch begun")
	}
	if !env.logsIn(u, "cafe\u0301 au lait") || env.logsIn(u, "cafe au lait") {
		t.Error("the password is not what it was")
	}
}

func TestAPasswordThatCannotBeUsedIsNamedAndTheOldOneStays(t *testing.T) {
	env := newEnv(t)
	u := env.readyUser("alice", "correct horse")
	for value, say := range map[string]string{
		"": "empty", "ends\n": "line break", strings.Repeat("x", password.MaxLength+1): "longer", "\xff": "UTF-8",
	} {
		updateObject(env, env.userSecret("alice"), func(s *corev1.Secret) { s.Data["password"] = []byte(value) })
		eventually.True(t, "it is refused: "+say, func() bool {
			message := env.waitForCondition(u, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidPassword)
			return strings.Contains(message, say) && strings.Contains(message, `"alice"`) && strings.Contains(message, "spec.passwordSecretRef")
		})
		if !env.logsIn(u, "correct horse") {
			t.Errorf("%s: the old password is not in force", say)
		}
	}
	env.deleteObject(env.userSecret("alice"))
	message := env.waitForCondition(u, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "spec.passwordSecretRef") || !strings.Contains(message, `"alice"`) {
		t.Error(message)
	}
	env.newSecret(env.identity, "alice", map[string]string{"password": "battery staple"})
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if !env.logsIn(u, "battery staple") {
		t.Error("the new password is not in force")
	}
}

// A user writes a hash where a password belongs, sees that the login fails, and corrects the
// field: same Secret, same key.
func TestAHashThatWasTakenForAPasswordIsReadAnew(t *testing.T) {
	env := newEnv(t)
	const bcrypt = "$2a$04$5dgz18Xd3GqgJ3pP5YfLMuEEzW7WnCzWyR3qN6XqW6yxJ7c0qgHLO"
	u := env.readyUser("alice", bcrypt)
	if !env.logsIn(u, bcrypt) {
		t.Error("what is a password to the user is none to the operator")
	}
	updateObject(env, u, func(u *v1alpha1.OAuthUser) {
		u.Spec.PasswordSecretRef, u.Spec.PasswordHashSecretRef = nil, u.Spec.PasswordSecretRef
	})
	eventually.True(t, "the hash is in force", func() bool { return env.userDocument(u).PasswordHash == bcrypt })
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, env.userSecret("alice"), func(s *corev1.Secret) {
		s.Data["password"] = []byte("$2a$31$5dgz18Xd3GqgJ3pP5YfLMuEEzW7WnCzWyR3qN6XqW6yxJ7c0qgHLO")
	})
	env.waitForCondition(u, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonInvalidPassword)
	if env.userDocument(u).PasswordHash != bcrypt {
		t.Error("a hash of excessive cost is in force")
	}
}

func TestTwoUsersCannotHaveOneName(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient(asking("free-client"))
	alice := env.readyUser("alice", "correct horse", subject("1"))
	for _, taken := range []struct {
		name   string
		change []func(*v1alpha1.OAuthUser)
		reason string
		say    string
	}{
		{"same-name", []func(*v1alpha1.OAuthUser){username("ALICE")}, v1alpha1.ReasonUsernameTaken, `"alice"`},
		{"same-subject", []func(*v1alpha1.OAuthUser){subject("1")}, v1alpha1.ReasonSubjectTaken, `"1"`},
		{"a-client", []func(*v1alpha1.OAuthUser){subject("free-client")}, v1alpha1.ReasonSubjectTaken, `"free-client"`},
		{"the-issuer", []func(*v1alpha1.OAuthUser){subject(env.server.Spec.Issuer)}, v1alpha1.ReasonSubjectTaken, "example.com"},
	} {
		u := env.newUser(taken.name, "correct horse", taken.change...)
		if message := env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, taken.reason); !strings.Contains(message, taken.say) {
			t.Errorf("%s: %s", taken.name, message)
		}
		if doc := env.userDocument(alice); doc.UID != string(alice.UID) || env.document(c).UID != string(c.UID) {
			t.Errorf("%s took the name", taken.name)
		}
		made.waitUntilQuiet(t) // and names are not reserved and released without end
		if slices.ContainsFunc(env.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == u.UID }) {
			t.Errorf("%s: who is not served holds a name", taken.name)
		}
	}
	env.deleteObject(alice)
	for _, name := range []string{"same-name", "same-subject"} {
		u := &v1alpha1.OAuthUser{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name}}
		env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
}

func TestARenamedUserLeavesTheOldName(t *testing.T) {
	env := newEnv(t)
	alice, bob := env.readyUser("alice", "correct horse"), env.readyUser("bob", "battery staple")
	epoch := env.userDocument(alice).Epoch
	updateObject(env, alice, username("bob"))
	env.waitForCondition(alice, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUsernameTaken)
	if doc := env.userDocument(alice); doc.Username != "alice" || env.entry(internalv1alpha1.SpaceUsername, "alice") == nil {
		t.Errorf("what was served is not: %+v", doc)
	}
	updateObject(env, alice, username("carol"))
	env.waitForCondition(alice, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if doc := env.userDocument(alice); doc.Username != "carol" || doc.Epoch != epoch || !env.logsIn(alice, "correct horse") {
		t.Errorf("the document is %+v", doc)
	}
	updateObject(env, bob, username("alice"))
	env.waitForCondition(bob, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if e := env.entry(internalv1alpha1.SpaceUsername, "bob"); e != nil {
		t.Error("the old name is claimed still")
	}
}

func TestAUserWhoIsCreatedAgainInheritsNothing(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	first := env.readyUser("alice", "correct horse")
	old := env.userDocument(first)
	second := first.DeepCopy()
	second.ResourceVersion, second.UID, second.Status = "", "", v1alpha1.OAuthUserStatus{}
	made.whileWritesFail(t, func() { env.deleteObject(first); create(t, second) })
	env.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	doc := env.userDocument(second)
	if doc.Subject == old.Subject || doc.Epoch == old.Epoch || doc.PasswordHash == old.PasswordHash || doc.UID == old.UID {
		t.Error("the new user has something of the old one")
	}
	eventually.True(t, "nothing of the former one is served", func() bool {
		return !slices.ContainsFunc(env.entries(), func(e internalv1alpha1.Entry) bool { return e.Spec.Owner.UID == first.UID })
	})
}

func TestATenantCannotAttachUsers(t *testing.T) {
	env := newEnv(t)
	u := &v1alpha1.OAuthUser{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "mallory"}, Spec: v1alpha1.OAuthUserSpec{
		ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: "mallory",
		PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: "mallory", Key: "password"},
	}}
	env.newSecret(env.apps, "mallory", map[string]string{"password": "correct horse"})
	create(t, u)
	env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	if doc := env.userDocument(u); doc.UID != "" || env.entry(internalv1alpha1.SpaceUsername, "mallory") != nil {
		t.Error("the tenant's user is served")
	}
}

func TestClaimsThatTheProtocolSetsAreRefused(t *testing.T) {
	env := newEnv(t)
	u := env.newUser("alice", "correct horse", func(u *v1alpha1.OAuthUser) {
		u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"name": "Alice", "sub": "0", "AUD": "x"}`)}
	})
	message := env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, "spec.claims.sub") || !strings.Contains(message, "spec.claims.AUD") || strings.Contains(message, "spec.claims.name") {
		t.Error(message)
	}
	if env.userDocument(u).UID != "" {
		t.Error("the user is served")
	}
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"name": "Alice"}`)} })
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	updateObject(env, u, func(u *v1alpha1.OAuthUser) {
		u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"name": "Eve", "iss": "x"}`)}
	})
	env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if doc := env.userDocument(u); doc.Claims["name"] != "Alice" {
		t.Errorf("what was served is not in force: %+v", doc.Claims)
	}
}

// An administrator who suspends a user in a hurry may make a mistake beside it.
func TestASuspensionIsInForceThoughTheRestOfTheSpecCannotBe(t *testing.T) {
	env := newEnv(t)
	u := env.readyUser("alice", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.Claims = &runtime.RawExtension{Raw: []byte(`{"name":"Alice"}`)} })
	env.readyUser("bob", "battery staple")
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Suspended, u.Spec.Claims.Raw = true, []byte(`{"sub":"mallory"}`) })
	env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if doc := env.userDocument(u); !doc.Suspended || doc.Claims["name"] != "Alice" || doc.Claims["sub"] != nil {
		t.Errorf("with a claim that is refused: %+v", doc)
	}
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Suspended, u.Spec.Claims = false, nil })
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	at := inSeconds(-5)
	updateObject(env, u, func(u *v1alpha1.OAuthUser) {
		u.Spec.Suspended, u.Spec.TokensNotBefore, u.Spec.Username = true, at, "bob"
	})
	env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUsernameTaken)
	if doc := env.userDocument(u); !doc.Suspended || doc.TokensNotBefore != at.Unix() || doc.Username != "alice" {
		t.Errorf("with a username that another user has: %+v", doc)
	}
	updateObject(env, u, func(u *v1alpha1.OAuthUser) {
		u.Spec.Suspended, u.Spec.TokensNotBefore, u.Spec.Username = false, nil, "alice"
	})
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if doc := env.userDocument(u); doc.Suspended || doc.TokensNotBefore != 0 {
		t.Errorf("when all is lifted: %+v", doc)
	}
}

// A time in the future would make good until then what is void.
func TestAMistakeMakesNothingGoodAgainAndHoldsUpNothing(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, test := range []struct{ before, asked, want int64 }{
		{0, 0, 0}, {900, 0, 900}, {0, 900, 900}, {0, 1100, 1100}, {800, 900, 900}, {900, 800, 900}, {900, 1000, 1000},
		{900, 1001, 900}, {900, 1100, 900}, {1100, 900, 900}, {1100, 1200, 1100}, {1200, 1100, 1200}, {1100, 0, 1100},
	} {
		if got := narrowedNotBefore(test.before, test.asked, now); got != test.want {
			t.Errorf("at %d, of %d and %d: %d, want %d", now.Unix(), test.before, test.asked, got, test.want)
		}
	}
	env := newEnv(t)
	past, future := inSeconds(-60), inSeconds(3600)
	u := env.readyUser("alice", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.TokensNotBefore = past })
	updateObject(env, u, func(u *v1alpha1.OAuthUser) {
		u.Spec.TokensNotBefore, u.Spec.Claims = future, &runtime.RawExtension{Raw: []byte(`{"sub":"mallory"}`)}
	})
	env.waitForCondition(u, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if doc := env.userDocument(u); doc.TokensNotBefore != past.Unix() {
		t.Errorf("not before %d, want %d", doc.TokensNotBefore, past.Unix())
	}
	env.clock.move(3601 * time.Second)
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Labels = map[string]string{"example.com/touched": "yes"} })
	eventually.True(t, "the time is in force when it has come", func() bool { return env.userDocument(u).TokensNotBefore == future.Unix() })
}
