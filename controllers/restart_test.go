package controllers

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/jwks/jwkstest"
)

// missed is something that happens while no manager runs, and what the next one makes of it.
type missed struct {
	what   string
	happen func()
	isSeen func() bool
}

// has reports whether a condition of an object has a reason for the current generation.
func (env *testEnv) has(o client.Object, kind, reason string) bool {
	env.t.Helper()
	env.get(o)
	c := meta.FindStatusCondition(conditionsOf(o), kind)
	return c != nil && c.Reason == reason && c.ObservedGeneration == o.GetGeneration()
}

// Handlers ignore what there is when the manager starts, since each controller looks at all objects of
// its kind then, after it has seen all others.
func TestWhatHappenedWhileNoManagerRanIsSeen(t *testing.T) {
	env, stop := newEnvWithStop(t)
	defer func() { stop() }()
	all := slices.Concat(
		env.missedByServers(), env.missedByClients(), env.missedByUsers(), env.missedByAPIs(), env.missedByProviders(),
	)
	stop()
	for _, m := range all {
		m.happen()
	}
	_, stop = runManager(t, env.clock.set)
	for _, m := range all {
		eventually.True(t, m.what, m.isSeen)
	}
}

// lose returns that the Entry of a name is deleted, and that it is there again.
func (env *testEnv) lose(what string, space internalv1alpha1.Space, value string) missed {
	var lost *internalv1alpha1.Entry
	return missed{
		"the Entry of " + what + " is written again",
		func() { lost = env.entry(space, value); env.deleteObject(lost) },
		func() bool { e := env.entry(space, value); return e != nil && e.UID != lost.UID },
	}
}

func (env *testEnv) missedByServers() []missed {
	first, second := jwkstest.NewSigner("ES256", "first"), jwkstest.NewSigner("ES256", "second")
	keys := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "ci-keys"},
		Data:       map[string]string{"jwks.json": jwkstest.SetOf(first)},
	}
	// Not of the server of the clients: they are looked at when its document changes.
	other := *env
	other.server = &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "without-clients"}}
	other.server.Spec = v1alpha1.AuthorizationServerSpec{Issuer: env.server.Spec.Issuer + "/without-clients", TLS: &v1alpha1.TLSSettings{SecretName: "certificate"}}
	withKeysIn("ci-keys")(other.server)
	create(env.t, keys, other.server)
	env.waitForCondition(other.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	other.waitForIssuerKeys("first")
	rivals := env.anotherNamespace(nil)
	var servers []*v1alpha1.AuthorizationServer
	for _, name := range []string{"one", "two"} {
		s := &v1alpha1.AuthorizationServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: rivals, Name: name},
			Spec:       v1alpha1.AuthorizationServerSpec{Issuer: env.server.Spec.Issuer + "/rivals"},
		}
		create(env.t, s)
		servers = append(servers, s)
	}
	older, younger := servers[0], servers[1]
	eventually.True(env.t, "one of them has the issuer", func() bool {
		if env.has(older, v1alpha1.ConditionAccepted, v1alpha1.ReasonIssuerTaken) { // of one second the lower UID is the older
			older, younger = younger, older
		}
		return env.has(younger, v1alpha1.ConditionAccepted, v1alpha1.ReasonIssuerTaken) && env.has(older, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	})
	all := []missed{
		{"a certificate that came", func() { env.newSecret(env.identity, "certificate", map[string]string{"tls.crt": "x"}) }, func() bool {
			return env.has(other.server, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs)
		}},
		{"other keys of a workload issuer", func() {
			updateObject(env, keys, func(c *corev1.ConfigMap) { c.Data["jwks.json"] = jwkstest.SetOf(first, second) })
		}, func() bool { return other.issuerKeyIDs() == "first second" }},
		{"an issuer that is free", func() { env.deleteObject(older) }, func() bool { return env.has(younger, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted) }},
		{"another number of clients", func() { env.newClient(named("counted")) }, func() bool {
			var list v1alpha1.OAuthClientList
			if err := admin.List(env.t.Context(), &list, client.InNamespace(env.apps)); err != nil {
				env.t.Fatal(err)
			}
			list.Items = slices.DeleteFunc(list.Items, func(c v1alpha1.OAuthClient) bool { return !isAccepted(&c) })
			env.get(env.server)
			return int(env.server.Status.Clients) == len(list.Items)
		}},
		other.lose("a server", internalv1alpha1.SpaceIdentity, other.server.Spec.Issuer),
	}
	for _, o := range []client.Object{&corev1.ServiceAccount{}, &rbacv1.RoleBinding{}, &appsv1.Deployment{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}} {
		o.SetNamespace(env.identity)
		o.SetName("main-tokenserver")
		if !env.exists(o) { // a single replica has no PodDisruptionBudget
			continue
		}
		all = append(all, missed{"what a token server runs in", func() { env.deleteObject(o) }, func() bool { return env.exists(o) }})
	}
	return all
}

func (env *testEnv) missedByClients() []missed {
	generated := env.readyClient(named("generated"), withConfigMap("generated", nil))
	source := env.newSecret(env.apps, "source", map[string]string{"value": strongSecret})
	copied := env.readyClient(named("copied"), withFromSecret("source", "value"))
	first, second := jwkstest.NewSigner("ES256", "first"), jwkstest.NewSigner("ES256", "second")
	key := env.newSecret(env.apps, "key", map[string]string{"tls.key": jwkstest.SetOf(first)})
	signing := env.readyClient(named("signing"), withKeySecret("key", "tls.key"))
	holder := env.readyClient(named("holder"), asking("free-id"))
	waiting := env.newClient(named("waiting"), asking("free-id"))
	env.waitForCondition(waiting, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken)
	scoped := env.newClient(named("scoped"), func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"late:read"} })
	env.waitForCondition(scoped, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	orphan := env.newClient(named("orphan"), func(c *v1alpha1.OAuthClient) { c.Spec.ServerRef.Name = "late" })
	env.waitForCondition(orphan, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	lost := env.readyClient(named("lost"))
	secret := env.secretOf(generated)
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "generated"}}
	return []missed{
		{"a Secret that was edited", func() { updateObject(env, secret, func(s *corev1.Secret) { s.Data["issuer"] = []byte("x") }) }, func() bool {
			env.get(secret)
			return string(secret.Data["issuer"]) == env.server.Spec.Issuer
		}},
		{"a ConfigMap that was edited", func() { updateObject(env, config, func(c *corev1.ConfigMap) { c.Data["issuer"] = "x" }) }, func() bool {
			env.get(config)
			return config.Data["issuer"] == env.server.Spec.Issuer
		}},
		{"another secret in a source", func() {
			updateObject(env, source, func(s *corev1.Secret) { s.Data["value"] = []byte(strongSecret + strongSecret) })
		}, func() bool { return env.isCredential(copied, strongSecret+strongSecret) }},
		{"another key in a Secret", func() {
			updateObject(env, key, func(s *corev1.Secret) { s.Data["tls.key"] = []byte(jwkstest.SetOf(second)) })
		}, func() bool {
			keys := env.keysOf(signing)
			return len(keys) == 1 && keys[0] == second.JWK
		}},
		{"a client id that is free", func() { env.deleteObject(holder) }, func() bool { return env.has(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonReady) }},
		{"a scope that is declared", func() { env.newAPI("https://late.example.com", "late:read") }, func() bool {
			return env.has(scoped, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs)
		}},
		{"a server that came", func() {
			create(env.t, &v1alpha1.AuthorizationServer{
				ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "late"},
				Spec:       v1alpha1.AuthorizationServerSpec{Issuer: env.server.Spec.Issuer + "/late"},
			})
		}, func() bool { return env.has(orphan, v1alpha1.ConditionAccepted, v1alpha1.ReasonNotAllowedByServer) }},
		{"a use of a credential", func() {
			env.newUsage(env.replica.Name, useOf(generated.UID, generated.Status.Credentials[0].ID, env.clock.now()))
		}, func() bool {
			env.get(generated)
			return generated.Status.Credentials[0].LastUsed != nil
		}},
		env.lose("a client", internalv1alpha1.SpaceIdentity, lost.Status.ClientID),
	}
}

func (env *testEnv) missedByUsers() []missed {
	alice, bob := env.readyUser("alice", "correct horse"), env.readyUser("bob", "correct horse")
	second := env.newUser("bob-2", "correct horse", username("bob"))
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonUsernameTaken)
	lost := env.readyUser("carol", "correct horse")
	identity := env.newIdentity(suspendedIdentity)
	env.waitForCondition(identity, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	return []missed{
		{"another password", func() {
			updateObject(env, env.userSecret("alice"), func(s *corev1.Secret) { s.Data["password"] = []byte("battery staple") })
		}, func() bool {
			return env.logsIn(alice, "battery staple")
		}},
		{"a username that is free", func() { env.deleteObject(bob) }, func() bool { return env.has(second, v1alpha1.ConditionReady, v1alpha1.ReasonReady) }},
		env.lose("a user", internalv1alpha1.SpaceIdentity, lost.Status.Subject),
		env.lose("what is said about a user", internalv1alpha1.SpaceIdentitySpec, identitySubject),
	}
}

func (env *testEnv) missedByAPIs() []missed {
	introspector := env.readyClient(named("introspector"))
	api := env.newAPI("https://orders.example.com", "orders:read")
	updateObject(env, api, func(api *v1alpha1.ResourceServer) {
		api.Spec.IntrospectionClients = []v1alpha1.ClientReference{{Name: introspector.Name}}
	})
	env.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	second := env.newAPI("https://bills.example.com", "orders:read")
	env.waitForCondition(second, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonScopeTaken)
	holder := env.newAPI("https://held.example.com")
	env.waitForCondition(holder, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	waiting := env.newAPI("https://held.example.com")
	env.waitForCondition(waiting, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIdentifierTaken)
	outside := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.anotherNamespace(map[string]string{"apps-of": env.identity})}}
	elsewhere := env.readyClient(named("elsewhere"), func(c *v1alpha1.OAuthClient) { c.Namespace = outside.Name })
	return []missed{
		{"a client that is gone", func() { env.deleteObject(introspector) }, func() bool {
			return env.has(api, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonClientNotFound)
		}},
		{"a scope that is free", func() { updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = nil }) }, func() bool {
			return env.has(second, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs)
		}},
		{"an identifier that is free", func() { env.deleteObject(holder) }, func() bool { return env.has(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonReady) }},
		{"other labels of a namespace", func() { updateObject(env, outside, func(n *corev1.Namespace) { n.Labels = nil }) }, func() bool {
			return env.has(elsewhere, v1alpha1.ConditionAccepted, v1alpha1.ReasonNotAllowedByServer)
		}},
		env.lose("an API", internalv1alpha1.SpaceIdentity, second.Spec.Identifier),
	}
}

func (env *testEnv) missedByProviders() []missed {
	acme, gone := env.readyProvider("acme"), env.readyProvider("gone")
	refused := env.readyProvider("refused")
	second := env.newProvider("second", func(p *v1alpha1.IdentityProvider) { p.Spec.Realm = gone.Spec.OIDC.Issuer })
	env.waitForCondition(second, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonRealmTaken)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "acme"}}
	return []missed{
		{"another credential", func() { updateObject(env, secret, func(s *corev1.Secret) { s.Data["secret"] = []byte("another") }) }, func() bool {
			credentials := env.providerDocument(acme.Name).Credentials
			return len(credentials) == 2 && string(env.upstreams()[credentials[0]]) == "another"
		}},
		{"a realm that is free", func() { env.deleteObject(gone) }, func() bool { return env.has(second, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted) }},
		{"a Secret that a server comes to name", func() {
			create(env.t, &v1alpha1.AuthorizationServer{
				ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "other"},
				Spec:       v1alpha1.AuthorizationServerSpec{Issuer: env.server.Spec.Issuer + "/other", TLS: &v1alpha1.TLSSettings{SecretName: "refused"}},
			})
		}, func() bool { return env.has(refused, v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonSecretRefused) }},
		env.lose("a provider", internalv1alpha1.SpaceIdentityProvider, acme.Name),
	}
}
