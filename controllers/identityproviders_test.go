package controllers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// newProvider creates an OpenID provider, and a Secret of the same name with the client secret.
func (env *testEnv) newProvider(name string, change ...func(*v1alpha1.IdentityProvider)) *v1alpha1.IdentityProvider {
	env.t.Helper()
	p := &v1alpha1.IdentityProvider{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name},
		Spec: v1alpha1.IdentityProviderSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderOIDC,
			OIDC: &v1alpha1.OIDCProviderSettings{
				Issuer: "https://" + name + ".example", ClientID: "us", ClientSecretRef: v1alpha1.SecretKeyReference{Name: name, Key: "secret"},
			},
			Allow: `upstream.hd == "acme.example"`,
		},
	}
	for _, f := range change {
		f(p)
	}
	if s := (&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name}}); !env.exists(s) {
		env.newSecret(env.identity, name, map[string]string{"secret": "of " + name})
	}
	create(env.t, p)
	return p
}

// loadUpstreams has the replica hold what is in the Secret, as a token server does whose kubelet has
// updated the volume.
func (env *testEnv) loadUpstreams() {
	env.t.Helper()
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Upstreams = slices.Sorted(maps.Keys(env.upstreams())) })
}

// readyProvider is newProvider, and waits until it is Ready.
func (env *testEnv) readyProvider(name string, change ...func(*v1alpha1.IdentityProvider)) *v1alpha1.IdentityProvider {
	env.t.Helper()
	p := env.newProvider(name, change...)
	message := env.waitForCondition(p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	if !strings.Contains(message, "main-0 has not read the credential yet") {
		env.t.Error(message)
	}
	env.loadUpstreams()
	env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return p
}

// upstreams returns the credentials that the manager has copied, by the name of the file.
func (env *testEnv) upstreams() map[string][]byte {
	env.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver-upstreams"}}
	if !env.exists(s) {
		return nil
	}
	return s.Data
}

// providerDocument returns the document of a provider, or the zero document.
func (env *testEnv) providerDocument(name string) documents.IdentityProvider {
	env.t.Helper()
	e := env.entry(internalv1alpha1.SpaceIdentityProvider, name)
	if e == nil {
		return documents.IdentityProvider{}
	}
	doc, err := decodeEntry[documents.IdentityProvider](e)
	if err != nil {
		env.t.Fatal(err)
	}
	return doc
}

func TestAProviderIsServedOnceEachReplicaHasItsCredential(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme", func(p *v1alpha1.IdentityProvider) { p.Spec.Realm = "https://acme.example/realm" })
	doc, files := env.providerDocument("acme"), env.upstreams()
	if len(doc.Credentials) != 1 || string(files[doc.Credentials[0]]) != "of acme" || len(files) != 1 {
		t.Errorf("document %+v, files %v", doc, slices.Collect(maps.Keys(files)))
	}
	if doc.NotAccepted || doc.Realm != "https://acme.example/realm" || p.Status.Realm != doc.Realm || p.Status.RedirectURI != env.server.Spec.Issuer+"/callback/acme" {
		t.Errorf("document %+v, status %+v", doc, p.Status)
	}
	if e := env.entry(internalv1alpha1.SpaceRealm, doc.Realm); e == nil || e.Spec.Owner.UID != p.UID {
		t.Errorf("the realm's Entry is %+v", e)
	}
}

func TestAChangedCredentialIsNamedBeforeTheOneThatItReplaces(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme")
	before := env.providerDocument("acme").Credentials
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "acme"}}
	updateObject(env, secret, func(s *corev1.Secret) { s.Data["secret"] = []byte("another") })
	env.waitForCondition(p, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonPending)
	after := env.providerDocument("acme").Credentials
	if len(after) != 2 || after[1] != before[0] || string(env.upstreams()[after[0]]) != "another" {
		t.Errorf("before %q, after %q", before, after)
	}
	env.loadUpstreams()
	env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.clock.move(replicaLifetime / 2)
	env.renew(env.replica)
	env.deleteObject(secret) // what was copied stays in force
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if now := env.providerDocument("acme"); now.NotAccepted || now.Credentials[0] != after[0] {
		t.Errorf("document %+v", now)
	}
}

// The author of an IdentityProvider chooses where a secret is sent.
func TestNoSecretThatIsForSomethingElseIsCopied(t *testing.T) {
	env := newEnv(t)
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "web"}}
	c.Spec = v1alpha1.OAuthClientSpec{ServerRef: v1alpha1.ServerReference{Name: "main"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].Namespaces, s.Spec.TLS = nil, &v1alpha1.TLSSettings{SecretName: "certificate"}
	})
	create(t, c)
	env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonSecretReady)
	env.newSecret(env.identity, "certificate", map[string]string{"secret": "key"})
	env.newSecret(env.identity, "tls", map[string]string{"tls.key": "key", "tls.crt": "crt", "secret": "key"}, func(s *corev1.Secret) { s.Type = corev1.SecretTypeTLS })
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "robot"}})
	env.newSecret(env.identity, "token", map[string]string{"secret": "token"}, func(s *corev1.Secret) {
		s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
	})
	second := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "second"}}
	second.Spec.Issuer = env.server.Spec.Issuer + "/second"
	second.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StoragePostgreSQL, PostgreSQL: &v1alpha1.PostgreSQLSettings{
		SecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "secret"},
	}}
	create(t, second)
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	env.newSecret(env.identity, "database", map[string]string{"secret": "postgres://server:password@db/tokens"})
	for name, key := range map[string]string{
		"type-docker": corev1.DockerConfigJsonKey, "type-ssh": corev1.SSHAuthPrivateKey, "type-bootstrap": "secret",
	} {
		env.newSecret(env.identity, name, map[string]string{key: "{}", "secret": "key"}, func(s *corev1.Secret) {
			s.Type = map[string]corev1.SecretType{
				"type-docker": corev1.SecretTypeDockerConfigJson, "type-ssh": corev1.SecretTypeSSHAuth, "type-bootstrap": corev1.SecretTypeBootstrapToken,
			}[name]
		})
	}
	for name, ref := range map[string]v1alpha1.SecretKeyReference{
		"dsn":            {Name: "database", Key: "secret"},
		"type-docker":    {Name: "type-docker", Key: "secret"},
		"type-ssh":       {Name: "type-ssh", Key: "secret"},
		"type-bootstrap": {Name: "type-bootstrap", Key: "secret"},

		"keys":      {Name: "main-tokenserver-keys", Key: "secret"},
		"upstreams": {Name: "main-tokenserver-upstreams", Key: "secret"},
		"client":    {Name: c.Status.SecretName, Key: "client_secret"},
		"server":    {Name: "certificate", Key: "secret"},
		"type-tls":  {Name: "tls", Key: "secret"},
		"type-sa":   {Name: "token", Key: "secret"},
	} {
		if name == "upstreams" {
			env.newSecret(env.identity, ref.Name, map[string]string{"secret": "of another"})
		}
		p := env.newProvider(name, func(p *v1alpha1.IdentityProvider) { p.Spec.OIDC.ClientSecretRef = ref })
		message := env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
		if !strings.Contains(message, "spec.oidc.clientSecretRef: Secret") || !strings.Contains(message, "made for th") {
			t.Errorf("%s: %s", name, message)
		}
		if doc := env.providerDocument(name); len(doc.Credentials) > 0 {
			t.Errorf("%s: document %+v", name, doc)
		}
		if name == "upstreams" {
			env.deleteObject(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: ref.Name}})
		}
	}
	if files := env.upstreams(); len(files) > 0 {
		t.Errorf("copied: %v", slices.Collect(maps.Keys(files)))
	}
}

func TestASecretOfTheNameOfTheCopiesThatIsNotTheOperatorsIsLeftAlone(t *testing.T) {
	env := newEnv(t)
	foreign := env.newSecret(env.identity, "main-tokenserver-upstreams", map[string]string{"mine": "x"}, func(s *corev1.Secret) {
		s.Labels = map[string]string{"app.kubernetes.io/instance": "main"}
	})
	p := env.newProvider("login")
	message := env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonNameTaken)
	if !strings.Contains(message, `Secret "main-tokenserver-upstreams" exists and is not the operator's`) {
		t.Error(message)
	}
	if before := foreign.ResourceVersion; !env.exists(foreign) || foreign.ResourceVersion != before || env.providerDocument("login").Credentials != nil {
		t.Error("the Secret was changed, or is used")
	}
	env.deleteObject(foreign)
	eventually.True(t, "the credential is copied", func() bool { return len(env.upstreams()) == 1 })
}

func TestASecretThatAServerComesToNameIsRemovedFromTheCopies(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme")
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "acme"} })
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
	if files := env.upstreams(); len(files) > 0 || len(env.providerDocument("acme").Credentials) > 0 {
		t.Errorf("still there: %v", slices.Collect(maps.Keys(files)))
	}
}

func TestASecretThatAnotherServerComesToNameIsRemovedFromTheCopies(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme")
	other := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "other"}, Spec: *env.server.Spec.DeepCopy()}
	other.Spec.Issuer, other.Spec.TLS = env.server.Spec.Issuer+"/other", &v1alpha1.TLSSettings{SecretName: "acme"}
	create(t, other)
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
	if files := env.upstreams(); len(files) > 0 {
		t.Errorf("still there: %v", slices.Collect(maps.Keys(files)))
	}
	updateObject(env, other, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS.SecretName = "certificate" })
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
}

func TestOfTwoProvidersOfOneRealmTheOlderHasIt(t *testing.T) {
	env := newEnv(t)
	first := env.readyProvider("acme")
	second := env.newProvider("globex", func(p *v1alpha1.IdentityProvider) { p.Spec.Realm = first.Spec.OIDC.Issuer })
	env.waitForCondition(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRealmTaken)
	env.waitForReadyMessage(first, `; but IdentityProvider "globex" has the same spec.realm: when this one is deleted, that one says who these users are`)
	if doc := env.providerDocument("globex"); !doc.NotAccepted || doc.OIDC != nil || second.Status.Realm != "" {
		t.Errorf("document %+v, realm %q", doc, second.Status.Realm)
	}
	env.deleteObject(first)
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	if doc := env.providerDocument("globex"); doc.NotAccepted || doc.Realm != first.Spec.OIDC.Issuer {
		t.Errorf("document %+v", doc)
	}
	eventually.True(t, "the document and the credential of the other are gone", func() bool {
		for name := range env.upstreams() {
			if strings.HasPrefix(name, string(first.UID)) {
				return false
			}
		}
		return env.entry(internalv1alpha1.SpaceIdentityProvider, "acme") == nil
	})
}

// A provider that was never accepted keeps no realm from others, whichever its mistake is.
func TestAProviderWhoseExamplesFailHoldsUpNoRealm(t *testing.T) {
	env := newEnv(t)
	realm := func(p *v1alpha1.IdentityProvider) { p.Spec.Realm = "https://acme.example/realm" }
	older := env.newProvider("older", realm, func(p *v1alpha1.IdentityProvider) {
		p.Spec.Examples = []v1alpha1.MappingExample{{Name: "a guest", Denied: true, Upstream: runtime.RawExtension{Raw: []byte(`{"hd":"acme.example"}`)}}}
	})
	env.waitForCondition(older, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonExampleFailed)
	time.Sleep(1100 * time.Millisecond) // creationTimestamp counts seconds
	env.readyProvider("acme", realm)
	updateObject(env, older, func(p *v1alpha1.IdentityProvider) { p.Spec.Examples = nil })
	env.waitForCondition(older, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonRealmTaken)
}

func TestAProviderThatIsTheServerItselfHoldsUpNoRealm(t *testing.T) {
	env := newEnv(t)
	realm := func(p *v1alpha1.IdentityProvider) { p.Spec.Realm = "https://acme.example/realm" }
	older := env.newProvider("older", realm, func(p *v1alpha1.IdentityProvider) { p.Spec.OIDC.Issuer = env.server.Spec.Issuer })
	message := env.waitForCondition(older, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, "spec.oidc.issuer") {
		t.Error(message)
	}
	time.Sleep(1100 * time.Millisecond) // creationTimestamp counts seconds
	env.readyProvider("acme", realm)
}

// waitForReadyMessage waits until a provider is Ready with a message that ends so.
func (env *testEnv) waitForReadyMessage(p *v1alpha1.IdentityProvider, end string) {
	env.t.Helper()
	eventually.True(env.t, "Ready to say "+end, func() bool {
		env.get(p)
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		return ready.Status == metav1.ConditionTrue && strings.HasSuffix(ready.Message, end)
	})
}

func TestProvidersThatLookAlikeOnTheLoginPageSaySo(t *testing.T) {
	env := newEnv(t)
	first := env.readyProvider("acme", func(p *v1alpha1.IdentityProvider) { p.Spec.DisplayName = "Acme" })
	second := env.readyProvider("partners", func(p *v1alpha1.IdentityProvider) { p.Spec.DisplayName = "Acme" })
	const alike = `; but spec.displayName "Acme" is also that of IdentityProvider %q: the login page has two buttons that look alike`
	env.waitForReadyMessage(first, fmt.Sprintf(alike, "partners"))
	env.waitForReadyMessage(second, fmt.Sprintf(alike, "acme"))
	updateObject(env, second, func(p *v1alpha1.IdentityProvider) { p.Spec.DisplayName = "" })
	env.waitForReadyMessage(first, "users can sign in")
	env.waitForReadyMessage(second, "users can sign in")
}

func TestTheSecretOfCredentialsIsDeletedWithTheLastProvider(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme")
	env.deleteObject(p)
	eventually.True(t, "it is deleted", func() bool {
		return !env.exists(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main-tokenserver-upstreams"}})
	})
}

func TestTheCredentialOfADeletedProviderGoesThoughTheOthersHaveMistakes(t *testing.T) {
	env := newEnv(t)
	other := env.newProvider("globex", func(p *v1alpha1.IdentityProvider) { p.Spec.Allow = "upstream.(" })
	env.waitForCondition(other, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	p := env.readyProvider("acme")
	env.deleteObject(p)
	eventually.True(t, "it is gone", func() bool { return len(env.upstreams()) == 0 })
}

// An edit that is a mistake may be meant to tighten what was there: that is not kept.
func TestAProviderWithAMistakeIsNotServedAsBefore(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme")
	for reason, change := range map[string]func(*v1alpha1.IdentityProviderSpec){
		v1alpha1.ReasonInvalid: func(s *v1alpha1.IdentityProviderSpec) { s.Allow = `upstream.hd == "acme.example` },
		v1alpha1.ReasonExampleFailed: func(s *v1alpha1.IdentityProviderSpec) {
			s.Examples = []v1alpha1.MappingExample{{Name: "a guest", Denied: true, Upstream: runtime.RawExtension{Raw: []byte(`{"hd":"acme.example"}`)}}}
		},
	} {
		good := p.Spec.DeepCopy()
		updateObject(env, p, func(p *v1alpha1.IdentityProvider) { change(&p.Spec); p.Spec.Suspended = true })
		env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
		if doc := env.providerDocument("acme"); !doc.NotAccepted || doc.Allow != "" || doc.OIDC != nil || !doc.Suspended || doc.UID != string(p.UID) {
			t.Errorf("%s: document %+v", reason, doc)
		}
		if e := env.entry(internalv1alpha1.SpaceRealm, "https://acme.example"); e == nil || e.Spec.Owner.UID != p.UID {
			t.Errorf("%s: the realm is not kept: %+v", reason, e)
		}
		updateObject(env, p, func(p *v1alpha1.IdentityProvider) { p.Spec = *good.DeepCopy() })
		env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
}

// Without the certificates that the spec names, the public roots would count.
func TestAProviderWhoseCABundleIsNotThereIsNotServed(t *testing.T) {
	env := newEnv(t)
	p := env.newProvider("acme", func(p *v1alpha1.IdentityProvider) {
		p.Spec.CABundle = &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "roots", Key: "ca.crt"}}
	})
	message := env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound)
	if !strings.Contains(message, "spec.caBundle.configMapRef") || !env.providerDocument("acme").NotAccepted {
		t.Errorf("%s; document %+v", message, env.providerDocument("acme"))
	}
	for _, conditionType := range []string{v1alpha1.ConditionProgrammed, v1alpha1.ConditionAvailable} {
		env.waitForCondition(p, conditionType, metav1.ConditionUnknown, v1alpha1.ReasonPending)
	}
	roots := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "roots"}, Data: map[string]string{"ca.crt": jwkstest.NewServer(t).CABundle()}}
	create(t, roots)
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
	env.loadUpstreams()
	env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if doc := env.providerDocument("acme"); doc.NotAccepted || doc.CABundle != roots.Data["ca.crt"] {
		t.Errorf("document %+v", doc)
	}
	env.deleteObject(roots) // the same certificates stay in force
	env.waitForCondition(p, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound)
	if doc := env.providerDocument("acme"); doc.NotAccepted || doc.CABundle == "" {
		t.Errorf("document %+v", doc)
	}
	updateObject(env, p, func(p *v1alpha1.IdentityProvider) { p.Spec.CABundle.ConfigMapRef.Name = "others" })
	eventually.True(t, "others do not stand for them", func() bool { return env.providerDocument("acme").NotAccepted })
}

func TestAProviderThatIsAwayIsNotAvailable(t *testing.T) {
	env := newEnv(t)
	p := env.readyProvider("acme")
	for reason, test := range map[string]struct{ address, says string }{
		v1alpha1.ReasonUnreachable:    {"10.1.2.3", "10.1.2.3: have the network listed in spec.fetch.allowedNetworks of the AuthorizationServer main"},
		v1alpha1.ReasonUnresolvable:   {"", "does not resolve"},
		v1alpha1.ReasonBadCertificate: {"", "spec.caBundle"},
		v1alpha1.ReasonBadAnswer:      {"", "spec.oidc.issuer"},
		v1alpha1.ReasonClientRefused:  {"", "spec.oidc.clientID"},
	} {
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
			r.Spec.IdentityProviderProblems = []internalv1alpha1.IdentityProviderProblem{{ProviderUID: p.UID, Reason: reason, Address: test.address}}
		})
		message := env.waitForCondition(p, v1alpha1.ConditionAvailable, metav1.ConditionFalse, reason)
		if !strings.Contains(message, test.says) || !strings.Contains(message, "main-0") {
			t.Errorf("%s: %s", reason, message)
		}
		env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
	}
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.IdentityProviderProblems = nil })
	env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAServerHasAtMostThirtyTwoProviders(t *testing.T) {
	env := newEnv(t)
	var all []*v1alpha1.IdentityProvider
	for i := range maxProviders + 1 {
		all = append(all, env.newProvider(fmt.Sprintf("p%02d", i)))
	}
	refused := func() (n int, last *v1alpha1.IdentityProvider) {
		for _, p := range all {
			env.get(p)
			for _, c := range p.Status.Conditions {
				if c.Type == v1alpha1.ConditionAccepted && c.Reason == v1alpha1.ReasonTooManyProviders {
					n, last = n+1, p
				}
			}
		}
		return n, last
	}
	eventually.True(t, "one of them is refused", func() bool { n, _ := refused(); return n == 1 })
	_, last := refused()
	for i, p := range all {
		if p != last {
			env.deleteObject(p)
			all = slices.Delete(all, i, i+1)
			break
		}
	}
	env.waitForCondition(last, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
}

func TestARuleThatNamesNoProviderSaysSo(t *testing.T) {
	env := newEnv(t)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].IdentityProviders = []string{"local", "acme"}
	})
	message := env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonIdentityProviderNotFound)
	if !strings.Contains(message, `spec.allowedClients[0].identityProviders: there is no IdentityProvider "acme"`) {
		t.Error(message)
	}
	if message := env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady); !strings.Contains(message, `there is no IdentityProvider "acme"`) {
		t.Errorf("the other rules work, and Ready says %s", message)
	}
	env.newProvider("acme")
	env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, v1alpha1.ReasonResolvedRefs)
}
