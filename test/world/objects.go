package world

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
)

// The user that every World has, with her name, mail address and groups as claims.
const (
	Username = "alice"
	Password = "a long enough pass-phrase"
	Subject  = "248289761001"
	Email    = "alice@example.com"
	Group    = "admins"
)

// World is a platform team's namespace with an AuthorizationServer "main" and the user alice, and an app team's namespace beside it.
type World struct {
	T              testing.TB
	Issuer         string
	Identity, Apps string // the namespaces
	Server         *v1alpha1.AuthorizationServer
	User           *v1alpha1.OAuthUser
	// Callback is the redirect URI of the clients that Config configures.
	Callback string
	// Authority of the server's certificate; nil where the server speaks plain HTTP.
	Authority *Authority
	// HTTP trusts the Authority.
	HTTP *http.Client
}

// New applies an AuthorizationServer that allows everything to the app team's namespace, changed as the test wants it, and a user, and waits
// until both serve. It is gone with the test.
func New(t testing.TB, change ...func(*v1alpha1.AuthorizationServer)) *World {
	t.Helper()
	n := serial.Add(1)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	w := &World{
		T: t, Callback: "https://app.example.com/callback", Identity: fmt.Sprintf("identity-%d", n), Apps: fmt.Sprintf("apps-%d", n),
		HTTP: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", Logs.Tail(200))
		}
		w.HTTP.CloseIdleConnections()
	})
	w.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Identity}})
	w.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Apps, Labels: map[string]string{"apps-of": w.Identity}}})
	w.Server = &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Identity, Name: "main"},
		Spec: v1alpha1.AuthorizationServerSpec{
			Issuer: fmt.Sprintf("http://127.0.0.1:%d", port),
			AllowedClients: []v1alpha1.ClientRule{{
				Name: "apps", Namespaces: w.fromApps(),
				GrantTypes: []v1alpha1.GrantType{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
				Consent:    []v1alpha1.ConsentMode{"Required", "Skip"},
			}},
			AllowedResourceServers: []v1alpha1.ResourceServerRule{{Name: "apps", Namespaces: w.fromApps()}},
		},
	}
	for _, f := range change {
		f(w.Server)
	}
	w.Issuer = w.Server.Spec.Issuer
	if w.Server.Spec.TLS != nil {
		w.trustNewAuthority()
	}
	w.Create(w.Server)
	t.Cleanup(func() { _ = Kube.Delete(context.Background(), w.Server) }) // the machine is too small for the servers of all tests
	w.Create(w.PasswordSecret("alice", Password))
	w.User = w.NewUser("alice", Username, Subject)
	w.Create(w.User)
	w.Wait("the AuthorizationServer to be Ready", w.Server, func() bool { return IsTrue(w.Server.Status.Conditions, v1alpha1.ConditionReady) })
	w.Wait("the user to be Ready", w.User, func() bool { return IsTrue(w.User.Status.Conditions, v1alpha1.ConditionReady) })
	return w
}

// trustNewAuthority makes an authority, and the Secret with a certificate of it.
func (w *World) trustNewAuthority() {
	w.T.Helper()
	w.Authority = NewAuthority(w.T)
	w.HTTP.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Authority.Roots(), MinVersion: tls.VersionTLS12}}
	certificate, key := w.Authority.Issue(w.T)
	w.Create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Identity, Name: w.Server.Spec.TLS.SecretName}, Type: corev1.SecretTypeTLS,
		StringData: map[string]string{"tls.crt": certificate, "tls.key": key},
	})
}

func (w *World) fromApps() *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{
		From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"apps-of": w.Identity}},
	}
}

// PasswordSecret is a Secret with a user's password.
func (w *World) PasswordSecret(name, password string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Identity, Name: name}, StringData: map[string]string{"password": password}}
}

// NewUser is a user with the claims of alice, whose password is in the Secret of the same name.
func (w *World) NewUser(name, username, subject string) *v1alpha1.OAuthUser {
	return &v1alpha1.OAuthUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Identity, Name: name},
		Spec: v1alpha1.OAuthUserSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: username, Subject: subject,
			PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: name, Key: "password"},
			Claims:            &runtime.RawExtension{Raw: []byte(`{"name": "Alice Liddell", "email": "` + Email + `", "groups": ["` + Group + `"]}`)},
		},
	}
}

// Create applies a new object.
func (w *World) Create(o client.Object) {
	w.T.Helper()
	if err := Kube.Create(w.T.Context(), o); err != nil {
		w.T.Fatal(err)
	}
}

// Delete deletes an object.
func (w *World) Delete(o client.Object) {
	w.T.Helper()
	if err := Kube.Delete(w.T.Context(), o); err != nil {
		w.T.Fatal(err)
	}
}

// Update changes the object as it is now.
func (w *World) Update(o client.Object, change func()) {
	w.T.Helper()
	w.Wait("the update of "+o.GetName(), o, func() bool {
		change()
		return Kube.Update(w.T.Context(), o) == nil
	})
}

// Wait reads the object until the condition holds.
func (w *World) Wait(what string, o client.Object, condition func() bool) {
	w.T.Helper()
	w.Eventually(what, 30*time.Second, func() (bool, string) {
		if err := Kube.Get(w.T.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return false, err.Error()
		}
		if condition() {
			return true, ""
		}
		status, _ := json.MarshalIndent(o, "", " ")
		return false, string(status)
	})
}

// Eventually asks until the condition holds, or fails with the last state that it told.
func (w *World) Eventually(what string, patience time.Duration, condition func() (done bool, state string)) {
	w.T.Helper()
	deadline := time.Now().Add(patience)
	for {
		done, state := condition()
		if done {
			return
		}
		if time.Now().After(deadline) {
			w.T.Fatalf("%s did not come within %s: %s\nlogs:\n%s", what, patience, state, Logs.Tail(60))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// IsTrue says whether the condition holds.
func IsTrue(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}

// Client applies an OAuthClient in the app team's namespace and waits until it is Ready.
func (w *World) Client(name string, spec v1alpha1.OAuthClientSpec) *v1alpha1.OAuthClient {
	w.T.Helper()
	c := w.Unready(name, spec)
	w.Wait("the client "+name+" to be Ready", c, func() bool { return IsTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	return c
}

// Unready applies an OAuthClient in the app team's namespace and waits for nothing.
func (w *World) Unready(name string, spec v1alpha1.OAuthClientSpec) *v1alpha1.OAuthClient {
	w.T.Helper()
	spec.ServerRef = v1alpha1.ServerReference{Name: "main", Namespace: w.Identity}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: w.Apps, Name: name}, Spec: spec}
	w.Create(c)
	return c
}

// API applies a ResourceServer "api" in the app team's namespace, changed as the test wants it, and waits until it is Ready.
func (w *World) API(identifier string, scopes []string, change ...func(*v1alpha1.ResourceServer)) *v1alpha1.ResourceServer {
	w.T.Helper()
	r := &v1alpha1.ResourceServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Apps, Name: "api"},
		Spec: v1alpha1.ResourceServerSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: w.Identity}, Identifier: identifier,
		},
	}
	for _, scope := range scopes {
		r.Spec.Scopes = append(r.Spec.Scopes, v1alpha1.ResourceScope{Name: scope})
	}
	for _, f := range change {
		f(r)
	}
	w.Create(r)
	w.Wait("the ResourceServer to be Ready", r, func() bool { return IsTrue(r.Status.Conditions, v1alpha1.ConditionReady) })
	return r
}
