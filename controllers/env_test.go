package controllers

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// maxResourceVersion is at least as high as every version that a token server could have applied.
const maxResourceVersion = "9223372036854775807"

// testEnv is a platform team's namespace with an AuthorizationServer, an app team's namespace, and
// a Replica that says that all Entries are served.
type testEnv struct {
	t              *testing.T
	identity, apps string
	server         *v1alpha1.AuthorizationServer
	replica        *internalv1alpha1.Replica
	manager        ctrl.Manager
	clock          *clock
}

// newEnv starts a manager and creates an AuthorizationServer that allows everything to the app
// team's namespace.
func newEnv(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *testEnv {
	t.Helper()
	env := newEnvWithoutManager(t, change...)
	env.manager = startManager(t, env.clock.set)
	env.startServer()
	return env
}

// clock is the manager's clock. A test can move it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) move(d time.Duration) { c.ahead.Add(int64(d)) }
func (c *clock) set(o *Options)       { o.Now = c.now }

// newEnvWithStop is newEnv with a manager that the test stops.
func newEnvWithStop(t *testing.T) (env *testEnv, stop func()) {
	t.Helper()
	env = newEnvWithoutManager(t)
	_, stop = runManager(t, env.clock.set)
	env.startServer()
	return env, stop
}

func newEnvWithoutManager(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *testEnv {
	t.Helper()
	env := &testEnv{t: t, identity: newNamespace(t), clock: &clock{}}
	env.apps = newNamespace(t, map[string]string{"apps-of": env.identity})
	env.server = &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "main"},
		Spec: v1alpha1.AuthorizationServerSpec{
			Issuer: "https://" + env.identity + ".example.com",
			AllowedClients: []v1alpha1.ClientRule{{
				Name: "apps", Namespaces: env.selectNamespaces("apps-of", env.identity), ClientIDs: []string{"free-*"},
				GrantTypes: []v1alpha1.GrantType{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
			}},
			AllowedResourceServers: []v1alpha1.ResourceServerRule{{Name: "apps", Namespaces: env.selectNamespaces("apps-of", env.identity)}},
		},
	}
	for _, f := range change {
		f(env.server)
	}
	t.Cleanup(env.cleanUp)
	return env
}

func (env *testEnv) selectNamespaces(label, value string) *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: value}}}
}

// startServer creates the AuthorizationServer and a Replica of it.
func (env *testEnv) startServer() {
	env.t.Helper()
	env.server.ResourceVersion, env.server.UID = "", ""
	create(env.t, env.server)
	env.replica = env.newReplica("main-0", maxResourceVersion)
	env.keepRenewing(env.replica)
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// cleanUp removes what the managers of other tests would reconcile.
func (env *testEnv) cleanUp() {
	ctx := context.Background()
	for _, o := range []client.Object{
		&v1alpha1.OAuthClient{}, &v1alpha1.OAuthUser{}, &v1alpha1.OAuthIdentity{}, &v1alpha1.ResourceServer{}, &v1alpha1.IdentityProvider{}, &v1alpha1.AuthorizationServer{}, &internalv1alpha1.Replica{}, &internalv1alpha1.Usage{}, &internalv1alpha1.Entry{},
	} {
		for _, namespace := range []string{env.identity, env.apps} {
			if err := admin.DeleteAllOf(ctx, o, client.InNamespace(namespace)); err != nil {
				env.t.Error(err)
			}
		}
	}
}

// anotherNamespace creates a namespace with labels, which is cleaned up as the app team's is.
func (env *testEnv) anotherNamespace(labels map[string]string) string {
	env.t.Helper()
	name := newNamespace(env.t, labels)
	env.t.Cleanup(func() {
		apps := env.apps
		env.apps = name
		env.cleanUp()
		env.apps = apps
	})
	return name
}

// waitForCondition waits until a condition has a status and a reason for the current generation,
// reads the object, and returns the condition's message.
func (env *testEnv) waitForCondition(o client.Object, kind string, status metav1.ConditionStatus, reason string) string {
	env.t.Helper()
	var c *metav1.Condition
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		env.get(o)
		c = meta.FindStatusCondition(conditionsOf(o), kind)
		if c != nil && c.Status == status && c.Reason == reason && c.ObservedGeneration == o.GetGeneration() {
			return c.Message
		}
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(conditionsOf(o), "", " ")
			env.t.Fatalf("%s is not %s/%s within 30 seconds: %s", kind, status, reason, text)
		}
	}
}

func (env *testEnv) get(o client.Object) {
	env.t.Helper()
	if err := admin.Get(env.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		env.t.Fatal(err)
	}
}

// exists reads the object and reports whether it exists.
func (env *testEnv) exists(o client.Object) bool {
	env.t.Helper()
	err := admin.Get(env.t.Context(), client.ObjectKeyFromObject(o), o)
	if client.IgnoreNotFound(err) != nil {
		env.t.Fatal(err)
	}
	return err == nil
}

// updateObject changes an object, and reads it again and retries on a conflict.
func updateObject[T client.Object](env *testEnv, o T, change func(T)) {
	env.t.Helper()
	for {
		env.get(o)
		change(o)
		err := admin.Update(env.t.Context(), o)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			env.t.Fatal(err)
		}
	}
}

func (env *testEnv) deleteObject(o client.Object) {
	env.t.Helper()
	if err := admin.Delete(env.t.Context(), o); err != nil {
		env.t.Fatal(err)
	}
}

// secretOf returns the Secret of a client, which must exist.
func (env *testEnv) secretOf(c *v1alpha1.OAuthClient) *corev1.Secret {
	env.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: compile.SecretTarget(c).Name}}
	env.get(s)
	return s
}

// clientSecretOf returns the client_secret in the client's Secret.
func (env *testEnv) clientSecretOf(c *v1alpha1.OAuthClient) string {
	env.t.Helper()
	return string(env.secretOf(c).Data["client_secret"])
}
