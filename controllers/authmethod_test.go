package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

func TestAChangeOfMethodKeepsTheOldOneWithItsKeysForTheOverlap(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	until := now.Add(24 * time.Hour).Unix()
	active := credentialFor(secretA, documents.CredentialActive, "a/1")
	soon := credentialFor(secretB, documents.CredentialRetiring, "")
	soon.RetireAfter = now.Add(time.Hour).Unix()
	retiring := active
	retiring.State, retiring.RetireAfter = documents.CredentialRetiring, until
	over := retiring
	over.RetireAfter = now.Unix()
	keys := []documents.JWK{{KeyType: "EC", KeyID: "k0"}}
	identities := []documents.WorkloadIdentity{{Subject: "system:serviceaccount:shop:web"}}
	credentials := []documents.Credential{active, soon}

	for name, test := range map[string]struct {
		stored          documents.Client
		method          string
		want            *documents.PreviousAuth
		wantCredentials []documents.Credential
	}{
		"basic to post": {
			documents.Client{AuthMethod: oauth.AuthMethodSecretBasic, Credentials: credentials}, oauth.AuthMethodSecretPost,
			&documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: until}, credentials,
		},
		"basic to private_key_jwt": {
			documents.Client{AuthMethod: oauth.AuthMethodSecretBasic, Credentials: credentials}, oauth.AuthMethodPrivateKey,
			&documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: until}, []documents.Credential{retiring, soon},
		},
		"private_key_jwt to WorkloadIdentity": {
			documents.Client{AuthMethod: oauth.AuthMethodPrivateKey, JWKS: keys, JWKSURI: "https://keys.example.com"}, oauth.AuthMethodWorkloadIdentity,
			&documents.PreviousAuth{Method: oauth.AuthMethodPrivateKey, JWKS: keys, JWKSURI: "https://keys.example.com", Until: until}, nil,
		},
		"WorkloadIdentity to basic": {
			documents.Client{AuthMethod: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities}, oauth.AuthMethodSecretBasic,
			&documents.PreviousAuth{Method: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Until: until}, nil,
		},
		"to none":   {documents.Client{AuthMethod: oauth.AuthMethodSecretBasic, Credentials: credentials}, oauth.AuthMethodNone, nil, nil},
		"from none": {documents.Client{AuthMethod: oauth.AuthMethodNone}, oauth.AuthMethodSecretBasic, nil, nil},
		"back": {
			documents.Client{
				AuthMethod: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Credentials: []documents.Credential{retiring},
				PreviousAuth: &documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: until},
			}, oauth.AuthMethodSecretBasic,
			&documents.PreviousAuth{Method: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Until: until}, []documents.Credential{active},
		},
		"back, and the value is replaced": {
			documents.Client{AuthMethod: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Credentials: []documents.Credential{soon}}, oauth.AuthMethodSecretBasic,
			&documents.PreviousAuth{Method: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Until: until}, []documents.Credential{soon},
		},
		"back, too late": {
			documents.Client{AuthMethod: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Credentials: []documents.Credential{over}}, oauth.AuthMethodSecretBasic,
			&documents.PreviousAuth{Method: oauth.AuthMethodWorkloadIdentity, WorkloadIdentities: identities, Until: until}, []documents.Credential{over},
		},
		"another pass": {
			documents.Client{AuthMethod: oauth.AuthMethodSecretPost, PreviousAuth: &documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: now.Unix() + 1}},
			oauth.AuthMethodSecretPost, &documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: now.Unix() + 1}, nil,
		},
		"its time": {
			documents.Client{AuthMethod: oauth.AuthMethodPrivateKey, Credentials: []documents.Credential{retiring}, PreviousAuth: &documents.PreviousAuth{Method: oauth.AuthMethodSecretBasic, Until: now.Unix()}},
			oauth.AuthMethodPrivateKey, nil, nil,
		},
	} {
		r := &clientReconciler{operator: newOperator(nil, nil, nil, Options{Now: func() time.Time { return now }})}
		s := &clientPass{client: &v1alpha1.OAuthClient{}, document: documents.Client{AuthMethod: test.method, Credentials: test.stored.Credentials}}
		r.keepPreviousAuth(s, test.stored)
		got := s.document.PreviousAuth
		if (got == nil) != (test.want == nil) || got != nil && (got.Method != test.want.Method || got.Until != test.want.Until || got.JWKSURI != test.want.JWKSURI ||
			len(got.JWKS) != len(test.want.JWKS) || !slices.Equal(got.WorkloadIdentities, test.want.WorkloadIdentities)) {
			t.Errorf("%s: the previous method is %+v, want %+v", name, got, test.want)
		}
		if !slices.Equal(s.document.Credentials, test.wantCredentials) {
			t.Errorf("%s: the credentials are %+v, want %+v", name, s.document.Credentials, test.wantCredentials)
		}
		if got != nil && !s.requeueAt.Equal(time.Unix(got.Until, 0)) {
			t.Errorf("%s: the next pass is at %v", name, s.requeueAt)
		}
	}
}

func TestTheSecretsOfAClientThatNeedsNoneAnyMoreAreGoodUntilTheirTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := credentialFor(secretA, documents.CredentialRetiring, "")
	c.RetireAfter = now.Unix() + 60
	state := secretState{withoutSecret: oauth.AuthMethodPrivateKey, credentials: []documents.Credential{c}}
	plan := state.planWithoutSecret(now)
	if len(plan.credentials) != 1 || plan.condition.reason != v1alpha1.ReasonNotNeeded || !strings.Contains(plan.condition.message, timeText(now.Add(time.Minute))) {
		t.Errorf("while it is good: %+v", plan)
	}
	if plan = state.planWithoutSecret(now.Add(time.Minute)); len(plan.credentials) != 0 || len(plan.ended) != 1 {
		t.Errorf("when it has ended: %+v", plan)
	}
}

func TestTheMethodBeforeIsGoodForTheOverlapUnlessARuleForbidsIt(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	secret := env.clientSecretOf(c)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPost })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	previous := env.document(c).PreviousAuth
	if previous == nil || previous.Method != oauth.AuthMethodSecretBasic || time.Until(time.Unix(previous.Until, 0)) < 23*time.Hour {
		t.Fatalf("the document says %+v", previous)
	}
	if got := c.Status.Authentication; got.PreviousMethod != oauth.AuthMethodSecretBasic || got.PreviousUntil.Unix() != previous.Until {
		t.Errorf("the status says %+v", got)
	}
	if env.clientSecretOf(c) != secret {
		t.Error("the secret is another one")
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].TokenEndpointAuthMethods = []v1alpha1.AuthMethodPattern{"client_secret_post", "none"}
	})
	eventually.True(t, "the rule ends it", func() bool { return env.document(c).PreviousAuth == nil })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	eventually.True(t, "the status says so", func() bool { env.get(c); return c.Status.Authentication.PreviousMethod == "" })
	eventually.True(t, "an event says it", func() bool {
		text := strings.Join(env.eventsOf(c), "\n")
		return strings.Contains(text, "Warning "+reasonAuthMethodEnded+" the client may not authenticate by client_secret_basic any more, by which it could until "+timeText(time.Unix(previous.Until, 0))) &&
			strings.Contains(text, `tokenEndpointAuthMethod: "client_secret_basic" is not allowed`)
	})

	updateObject(env, c, func(c *v1alpha1.OAuthClient) {
		c.Spec.TokenEndpointAuthMethod, c.Spec.GrantTypes = v1alpha1.AuthMethodNone, []v1alpha1.GrantType{"authorization_code"}
		c.Spec.RedirectURIs = []string{"https://app.example.com/callback"}
	})
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonNotNeeded)
	if doc := env.document(c); doc.PreviousAuth != nil || doc.Credentials != nil {
		t.Errorf("a public client keeps %+v and %+v", doc.PreviousAuth, doc.Credentials)
	}
	eventually.True(t, "its Secret is deleted", func() bool {
		return !env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name + "-oauth"}})
	})
}

func TestTheMethodBeforeEndsWithTheOverlap(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodPost })
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.clock.move(24 * time.Hour)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	eventually.True(t, "the document has it no more", func() bool { return env.document(c).PreviousAuth == nil })
	if text := strings.Join(env.eventsOf(c), "\n"); strings.Contains(text, reasonAuthMethodEnded) {
		t.Errorf("what ends as the status said is no warning: %s", text)
	}
}

// A fleet that is moved away from its secret and back, shortly before the overlap is over, has the
// secret mounted all the time.
func TestAClientThatGoesBackToItsSecretGoesOnWithTheValueThatIsMounted(t *testing.T) {
	env := newEnv(t)
	env.newSecret(env.apps, "key", map[string]string{"key": string(jwkstest.NewSigner("ES256", "").PEM())})
	c := env.readyClient()
	secret := env.clientSecretOf(c)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) {
		c.Spec.TokenEndpointAuthMethod, c.Spec.JWKSSecretRef = v1alpha1.AuthMethodPrivateKey, &v1alpha1.SecretKeyReference{Name: "key", Key: "key"}
	})
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.clock.move(24*time.Hour - 30*time.Second)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) {
		c.Spec.TokenEndpointAuthMethod, c.Spec.JWKSSecretRef = v1alpha1.AuthMethodBasic, nil
	})
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonSecretReady)
	if env.clientSecretOf(c) != secret || env.stateOf(c, secret) != documents.CredentialActive || len(c.Status.Credentials) != 1 {
		t.Errorf("the Secret holds another value is %v, and the one before is %q", env.clientSecretOf(c) != secret, env.stateOf(c, secret))
	}
	if s := env.secretOf(c); s.Annotations[supersededAnnotation] != "" {
		t.Error("the Secret is still superseded")
	}
}
