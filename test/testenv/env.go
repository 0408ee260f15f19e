package testenv

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
)

// The user of every Env. Her name, email address and groups are claims.
const (
	Username = "alice"
	Password = "a long enough pass-phrase"
	Subject  = "248289761001"
	Email    = "alice@example.com"
	Group    = "admins"
)

// Env is a platform team's namespace with an AuthorizationServer "main" and the user alice, and an
// app team's namespace.
type Env struct {
	T               testing.TB
	Issuer          string
	ServerNamespace string // the platform team's
	AppNamespace    string // the app team's
	Server          *v1alpha1.AuthorizationServer
	User            *v1alpha1.OAuthUser
	// Callback is the redirect URI of the clients that Config configures.
	Callback string
	// Authority issued the server's certificate. Nil if the server uses plain HTTP.
	Authority *Authority
	// HTTP trusts Authority.
	HTTP *http.Client
}

// New creates an AuthorizationServer that allows everything to the app team's namespace, changed by
// the functions, and a user, and waits until both are Ready. They are deleted when the test ends.
func New(t testing.TB, change ...func(*v1alpha1.AuthorizationServer)) *Env {
	t.Helper()
	n := serial.Add(1)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{
		T: t, Callback: "https://app.example.com/callback", ServerNamespace: fmt.Sprintf("identity-%d", n), AppNamespace: fmt.Sprintf("apps-%d", n),
		HTTP: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", Logs.LastLines(200))
		}
		e.HTTP.CloseIdleConnections()
	})
	e.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ServerNamespace}})
	e.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.AppNamespace, Labels: map[string]string{"apps-of": e.ServerNamespace}}})
	e.Server = &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: "main"},
		Spec: v1alpha1.AuthorizationServerSpec{
			Issuer: fmt.Sprintf("http://127.0.0.1:%d", port),
			AllowedClients: []v1alpha1.ClientRule{{
				Name: "apps", Namespaces: e.fromApps(),
				GrantTypes: []v1alpha1.GrantType{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
				Consent:    []v1alpha1.ConsentMode{"Required", "Skip"},
			}},
			AllowedResourceServers: []v1alpha1.ResourceServerRule{{Name: "apps", Namespaces: e.fromApps()}},
		},
	}
	for _, f := range change {
		f(e.Server)
	}
	e.Issuer = e.Server.Spec.Issuer
	if e.Server.Spec.TLS != nil {
		e.createCertificate()
	}
	e.Create(e.Server)
	// Every AuthorizationServer is a process: the servers of all tests would be too many.
	t.Cleanup(func() { _ = Kube.Delete(context.Background(), e.Server) })
	e.Create(e.PasswordSecret("alice", Password))
	e.User = e.NewUser("alice", Username, Subject)
	e.Create(e.User)
	e.WaitFor("the AuthorizationServer to be Ready", e.Server, func() bool { return IsTrue(e.Server.Status.Conditions, v1alpha1.ConditionReady) })
	e.WaitFor("the user to be Ready", e.User, func() bool { return IsTrue(e.User.Status.Conditions, v1alpha1.ConditionReady) })
	return e
}

// createCertificate creates the server's TLS Secret, with a certificate of a new Authority.
func (e *Env) createCertificate() {
	e.T.Helper()
	e.Authority = NewAuthority(e.T)
	e.HTTP.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.Authority.CertPool(), MinVersion: tls.VersionTLS12}}
	certificate, key := e.Authority.Issue(e.T)
	e.Create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: e.Server.Spec.TLS.SecretName}, Type: corev1.SecretTypeTLS,
		StringData: map[string]string{"tls.crt": certificate, "tls.key": key},
	})
}

func (e *Env) fromApps() *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{
		From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"apps-of": e.ServerNamespace}},
	}
}
