package controllers

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// newClient creates a client of the app team, with a generated name unless change sets one.
func (env *testEnv) newClient(change ...func(*v1alpha1.OAuthClient)) *v1alpha1.OAuthClient {
	env.t.Helper()
	c := &v1alpha1.OAuthClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, GenerateName: "client-"},
		Spec: v1alpha1.OAuthClientSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: env.identity}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
			TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		},
	}
	for _, f := range change {
		f(c)
	}
	if c.Name != "" {
		c.GenerateName = ""
	}
	create(env.t, c)
	return c
}

// readyClient is newClient, and waits until it is Ready.
func (env *testEnv) readyClient(change ...func(*v1alpha1.OAuthClient)) *v1alpha1.OAuthClient {
	env.t.Helper()
	c := env.newClient(change...)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return c
}

func named(name string) func(*v1alpha1.OAuthClient) {
	return func(c *v1alpha1.OAuthClient) { c.Name = name }
}

func (env *testEnv) newAPI(identifier string, scopes ...string) *v1alpha1.ResourceServer {
	env.t.Helper()
	api := &v1alpha1.ResourceServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, GenerateName: "api-"},
		Spec: v1alpha1.ResourceServerSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: env.identity}, Identifier: identifier, Scopes: resourceScopes(scopes...),
		},
	}
	create(env.t, api)
	return api
}

func resourceScopes(names ...string) []v1alpha1.ResourceScope {
	var list []v1alpha1.ResourceScope
	for _, name := range names {
		list = append(list, v1alpha1.ResourceScope{Name: name})
	}
	return list
}

// newUser creates a user, and a Secret of the same name with the password.
func (env *testEnv) newUser(name, password string, change ...func(*v1alpha1.OAuthUser)) *v1alpha1.OAuthUser {
	env.t.Helper()
	u := &v1alpha1.OAuthUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: name},
		Spec: v1alpha1.OAuthUserSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: name,
			PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: name, Key: "password"},
		},
	}
	for _, f := range change {
		f(u)
	}
	if password != "" {
		env.newSecret(env.identity, name, map[string]string{"password": password})
	}
	create(env.t, u)
	return u
}

func (env *testEnv) newSecret(namespace, name string, data map[string]string, change ...func(*corev1.Secret)) *corev1.Secret {
	env.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
	for _, f := range change {
		f(s)
	}
	create(env.t, s)
	return s
}

// newEntry returns an Entry of the identity space without a document.
func newEntry(t *testing.T, server *v1alpha1.AuthorizationServer, value string, owner internalv1alpha1.Owner) *internalv1alpha1.Entry {
	t.Helper()
	e, err := compile.NewEntry(server, compile.Name{Space: internalv1alpha1.SpaceIdentity, Value: value}, owner, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// entry returns the Entry of a name, or nil if there is none.
func (env *testEnv) entry(space internalv1alpha1.Space, value string) *internalv1alpha1.Entry {
	env.t.Helper()
	e := &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{
		Namespace: env.identity, Name: compile.EntryName(env.server.UID, compile.Name{Space: space, Value: value}),
	}}
	if !env.exists(e) {
		return nil
	}
	return e
}

// entries returns the Entries of all owners.
func (env *testEnv) entries() []internalv1alpha1.Entry {
	env.t.Helper()
	var list internalv1alpha1.EntryList
	if err := admin.List(env.t.Context(), &list, client.InNamespace(env.identity)); err != nil {
		env.t.Fatal(err)
	}
	return list.Items
}

// touch changes a client so that the manager looks at it.
func touch(env *testEnv, c *v1alpha1.OAuthClient) {
	env.t.Helper()
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = fmt.Sprint("touched ", time.Now().UnixNano()) })
}

// document returns the document that is served for a client, or the zero document.
func (env *testEnv) document(c *v1alpha1.OAuthClient) documents.Client {
	env.t.Helper()
	return documentAt[documents.Client](env, compile.ClientID(c))
}

func documentAt[T any](env *testEnv, identity string) T {
	env.t.Helper()
	var doc T
	if e := env.entry(internalv1alpha1.SpaceIdentity, identity); e != nil {
		var err error
		if doc, err = decodeEntry[T](e); err != nil {
			env.t.Fatal(err)
		}
	}
	return doc
}

// isCredential reports whether a secret is one of the client's, as the token server reads it.
func (env *testEnv) isCredential(c *v1alpha1.OAuthClient, secret string) bool {
	env.t.Helper()
	return findBySecret(env.document(c).Credentials, secret) != nil
}

// stateOf returns the state of the credential of a secret, or "" if it is none.
func (env *testEnv) stateOf(c *v1alpha1.OAuthClient, secret string) string {
	env.t.Helper()
	if credential := findBySecret(env.document(c).Credentials, secret); credential != nil {
		return credential.State
	}
	return ""
}

// eventsOf returns the events of an object, as "<type> <reason> <note>".
func (env *testEnv) eventsOf(o client.Object) []string {
	env.t.Helper()
	var list eventsv1.EventList
	if err := admin.List(env.t.Context(), &list, client.InNamespace(o.GetNamespace())); err != nil {
		env.t.Fatal(err)
	}
	var found []string
	for _, e := range list.Items {
		if e.Regarding.UID == o.GetUID() {
			found = append(found, e.Type+" "+e.Reason+" "+e.Note)
		}
	}
	return found
}
