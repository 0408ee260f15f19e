package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestARevokedCredentialIsRememberedAndItsValueNeverGoodAgain(t *testing.T) {
	retiringB := retiring(secretB, 1)
	kept, revoked, added := revoke([]documents.Credential{activeA, retiringB}, nil, []string{secretB, "unknown"})
	if len(kept) != 1 || kept[0].ID != secretA || !slices.Equal(added, []string{secretB}) || !isRevoked(revoked, hashSecret(secretB)) {
		t.Fatalf("kept %+v, revoked %+v, added %q", kept, revoked, added)
	}
	if unknown := findUnknown(revoked, []string{secretB, "unknown"}); !slices.Equal(unknown, []string{"unknown"}) {
		t.Errorf("unknown: %q", unknown)
	}
	// The value comes back under another id, and the id is not listed any more.
	again := credentialFor(secretB, documents.CredentialActive, "")
	again.ID = "another"
	kept, remembered, added := revoke([]documents.Credential{again, activeA}, revoked, nil)
	if len(kept) != 1 || kept[0].ID != secretA || !slices.Equal(remembered, revoked) || len(added) > 0 {
		t.Errorf("kept %+v, revoked %+v, added %q", kept, remembered, added)
	}
}

func TestOfThousandsOfRevokedCredentialsThoseThatAreListedAndTheLatestAreRemembered(t *testing.T) {
	var revoked []documents.RevokedCredential
	listed := []string{"c-0", "c-7"}
	for i := range 2000 {
		id := fmt.Sprintf("c-%d", i)
		ids := append(slices.Clone(listed), id)
		_, revoked, _ = revoke([]documents.Credential{{ID: id, SHA256: hashSecret(id)}}, revoked, ids)
	}
	if len(revoked) != maxRevoked || !isRevoked(revoked, hashSecret("c-0")) || !isRevoked(revoked, hashSecret("c-7")) ||
		!isRevoked(revoked, hashSecret("c-1999")) || !isRevoked(revoked, hashSecret("c-1800")) || isRevoked(revoked, hashSecret("c-8")) {
		t.Errorf("%d are remembered, from %s to %s", len(revoked), revoked[0].ID, revoked[len(revoked)-1].ID)
	}
}

func TestThePlanOfAClientWhoseCredentialIsRevoked(t *testing.T) {
	revoked := []documents.RevokedCredential{{ID: secretA, SHA256: hashSecret(secretA)}}
	for name, c := range map[string]struct {
		state     secretState
		generates bool
		reason    string
		cause     string
	}{
		"the Active one":             {secretState{target: targetIn(), stored: secretA}, true, v1alpha1.ReasonSecretReady, "revokedCredentials"},
		"interrupted, value pending": {secretState{target: targetIn(), stored: secretA, pending: secretA}, true, v1alpha1.ReasonSecretReady, "revokedCredentials"},
		"a restored Secret": {
			secretState{credentials: []documents.Credential{credentialFor(secretB, documents.CredentialActive, "uid/7")}, target: targetIn(isEdited), stored: secretA},
			true, v1alpha1.ReasonSecretReady, "was not what the operator wrote",
		},
		"a Secret to adopt": {
			secretState{credentials: []documents.Credential{credentialFor(secretB, documents.CredentialActive, "uid/7")}, target: targetIn(isForeign), stored: secretA},
			false, v1alpha1.ReasonRevokedSecret, "",
		},
		"a source": {secretState{fromSecret: sourceRef, source: readVersion, sourceValue: secretA}, false, v1alpha1.ReasonRevokedSecret, ""},
	} {
		c.state.revoked = revoked
		plan := rotatingPlan(t, compile.SecretRotation{}, c.state)
		if plan.isGenerated != c.generates || plan.secret == secretA || plan.condition.reason != c.reason || !strings.Contains(plan.cause.text, c.cause) {
			t.Errorf("%s: a new value is %v, %s, cause %q", name, plan.isGenerated, plan.condition.reason, plan.cause.text)
		}
		if findBySecret(plan.credentials, secretA) != nil {
			t.Errorf("%s: it is good again", name)
		}
	}
}

func withRevoked(ids ...string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) {
		if c.Spec.Secret == nil {
			c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate}
		}
		c.Spec.Secret.RevokedCredentials = ids
	}
}

func TestAListedCredentialEndsAtOnceAndIsReplacedAndStaysRevokedWhateverHappens(t *testing.T) {
	env, stop := newEnvWithStop(t)
	c := env.readyClient()
	leaked, id := env.clientSecretOf(c), c.Status.Credentials[0].ID
	isReplaced := func() bool {
		now := env.clientSecretOf(c)
		return now != leaked && env.stateOf(c, now) == documents.CredentialActive && !env.isCredential(c, leaked)
	}
	updateObject(env, c, withRevoked(id, "c-0000000000000000"))
	eventually.True(t, "it is replaced", isReplaced)
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonSecretReady)
	if !strings.Contains(message, "c-0000000000000000") || strings.Contains(message, id) || strings.Contains(message, leaked) {
		t.Error(message)
	}
	eventually.True(t, "events say so", func() bool {
		text := strings.Join(env.eventsOf(c), "\n")
		return strings.Contains(text, "Normal "+reasonCredentialRevoked+" no token server accepts "+id) && strings.Contains(text, "Normal "+reasonSecretRotated)
	})
	if env.get(c); len(c.Status.Credentials) != 1 || c.Status.Credentials[0].ID == id {
		t.Errorf("the status lists %+v", c.Status.Credentials)
	}

	stop()
	_, stop = runManager(t, env.clock.set)
	defer stop()
	updateObject(env, c, withRevoked())
	restore := func() {
		before := env.clientSecretOf(c)
		updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Data["client_secret"] = []byte(leaked) })
		eventually.True(t, "a Secret that was restored with it gets another value", func() bool { return isReplaced() && env.clientSecretOf(c) != before })
	}
	restore()

	source := env.newSecret(env.apps, "source", map[string]string{"value": leaked})
	updateObject(env, c, withFromSecret("source", "value"))
	message = env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRevokedSecret)
	if !strings.Contains(message, "spec.secret.fromSecret") || strings.Contains(message, leaked) || env.isCredential(c, leaked) {
		t.Errorf("%s, good again: %v", message, env.isCredential(c, leaked))
	}
	updateObject(env, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strongSecret) })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	env.newSecret(env.apps, "adopted", map[string]string{"client_secret": leaked}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name}
	})
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Secret = nil; withTarget("adopted")(c) })
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRevokedSecret)
	if env.isCredential(c, leaked) {
		t.Error("a Secret that is adopted makes it good again")
	}
}

// What the token servers in force read says that the credential is revoked; the newer format follows
// when all of them read it.
func TestACredentialIsRevokedAtOnceThoughATokenServerIsOlder(t *testing.T) {
	env := newEnv(t)
	old := env.newReplica("old-0", maxResourceVersion, without("client/v2"))
	env.keepRenewing(old)
	c := env.readyClient()
	leaked, id := env.clientSecretOf(c), c.Status.Credentials[0].ID
	updateObject(env, c, withRevoked(id))
	isGood := func() bool { // to a token server
		found := findBySecret(env.document(c).Credentials, leaked)
		return found != nil && (found.State != documents.CredentialRetiring || found.RetireAfter > 1)
	}
	format := func() string { return env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID).Spec.Format }
	eventually.True(t, "it is replaced", func() bool {
		now := env.clientSecretOf(c)
		return now != leaked && env.stateOf(c, now) == documents.CredentialActive && !isGood()
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if format() != documents.FormatClient {
		t.Errorf("the document is %s, which one token server does not read", format())
	}
	updateObject(env, old, func(r *internalv1alpha1.Replica) { r.Spec.Formats = documents.Formats() })
	touch(env, c)
	eventually.True(t, "it is remembered in the format for it", func() bool {
		doc := env.document(c)
		return format() == "client/v2" && isRevoked(doc.RevokedCredentials, hashSecret(leaked)) && findBySecret(doc.Credentials, leaked) == nil
	})
}

func TestWhereverTheManagerStopsARevokedCredentialIsNotGoodAgainAndIsReplaced(t *testing.T) {
	made := recordWrites(t)
	env, stop := newEnvWithStop(t)
	for n := range 5 {
		c := env.readyClient()
		leaked, id := env.clientSecretOf(c), c.Status.Credentials[0].ID
		resourceVersion := func() string { return env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID).ResourceVersion }
		stop()
		before := resourceVersion()
		updateObject(env, c, withRevoked(id))
		made.limit(n)
		_, stop = runManager(t)
		eventually.True(t, "the manager has written what it may", func() bool {
			env.get(c)
			return made.hasRefused() || hasCondition(c.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, c.Generation)
		})
		stop()
		if resourceVersion() != before && env.isCredential(c, leaked) {
			t.Errorf("after %d writes, of its Entry too, the revoked credential is good", n)
		}
		made.limit(-1)
		_, stop = runManager(t)
		eventually.True(t, "it is replaced once", func() bool {
			credentials := env.document(c).Credentials
			return !env.isCredential(c, leaked) && len(credentials) == 1 && env.stateOf(c, env.clientSecretOf(c)) == documents.CredentialActive
		})
	}
	stop()
}

// An id that is taken out of the list while a token server is older must not be forgotten: the older
// format has no field for it.
func TestARevokedCredentialIsRememberedInTheFirstFormatThoughItIsNotListedAnyMore(t *testing.T) {
	leaked := credentialFor(secretA, documents.CredentialActive, "uid/7")
	kept, revoked, _ := revoke([]documents.Credential{leaked, retiring(secretB, time.Hour)}, nil, []string{leaked.ID})
	for pass := range 2 {
		first := inFirstFormat(documents.Client{Credentials: kept, RevokedCredentials: revoked})
		if len(first.RevokedCredentials) > 0 {
			t.Fatalf("%+v", first)
		}
		var added []string
		kept, revoked, added = revoke(first.Credentials, first.RevokedCredentials, []string{leaked.ID}[:1-pass])
		if !isRevoked(revoked, leaked.SHA256) || findBySecret(kept, secretA) != nil || findBySecret(kept, secretB) == nil {
			t.Errorf("pass %d: %+v is revoked, and %+v is good", pass, revoked, kept)
		}
		if len(added) > 0 {
			t.Errorf("pass %d: %q is said to be revoked again", pass, added)
		}
	}
}
