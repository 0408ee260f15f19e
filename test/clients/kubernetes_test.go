package clients

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/oauth2"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// kubectl is a client as kubectl's login plugins are: without a secret, at a loopback address.
func kubectl(env *testenv.Env, name string) *oauth2.Config {
	env.T.Helper()
	env.Callback = "http://127.0.0.1:8000/callback"
	return env.Config(env.ReadyClient(name, v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		RedirectURIs: []string{env.Callback}, Scopes: []string{"openid", "email", "groups", "offline_access"},
		IDTokenClaims: []v1alpha1.ClaimName{"email", "groups"},
	}), "openid", "email", "groups", "offline_access")
}

// login is the code flow, and returns the tokens.
func login(env *testenv.Env, config *oauth2.Config) (idToken string, token *oauth2.Token) {
	env.T.Helper()
	verifier := oauth2.GenerateVerifier()
	answer := env.SignIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier))).Query()
	token, err := config.Exchange(env.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		env.T.Fatal(err)
	}
	return token.Extra("id_token").(string), token
}

func TestAKubernetesAPIServerTakesAnIDTokenForItsUser(t *testing.T) {
	env := testenv.New(t, testenv.WithTLS)
	config := kubectl(env, "kubectl")
	cluster := env.TrustingCluster(config.ClientID)
	idToken, token := login(env, config)
	alice := testenv.As(t, cluster, idToken)

	var user authenticationv1.UserInfo
	env.Eventually("the API server's trust in the issuer", 30*time.Second, func() (bool, string) { // it reads discovery and JWKS now and then
		var err error
		user, err = testenv.WhoIs(t, alice)
		return err == nil, "it does not authenticate her"
	})
	if user.Username != testenv.TrustedPrefix+testenv.Email || !slices.Contains(user.Groups, testenv.TrustedPrefix+testenv.Group) {
		t.Errorf("want %s in %s, got %s in %v", testenv.Email, testenv.Group, user.Username, user.Groups)
	}

	anothers, _ := login(env, kubectl(env, "another"))
	for what, refused := range map[string]string{"an access token": token.AccessToken, "another client's ID token": anothers, "a refresh token": token.RefreshToken} {
		if user, err := testenv.WhoIs(t, testenv.As(t, cluster, refused)); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s was taken for %s (%v)", what, user.Username, err)
		}
	}

	// What RBAC gives to her group is hers.
	if _, err := alice.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("before she may: %v", err)
	}
	admin, err := kubernetes.NewForConfig(cluster.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "readers"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: testenv.TrustedPrefix + testenv.Group}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	env.Eventually("her group's right", 10*time.Second, func() (bool, string) {
		_, err := alice.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		return err == nil, "she is refused"
	})

	// kubectl's plugins refresh, and pass on the ID token that comes along.
	stale := *token
	stale.Expiry = time.Now().Add(-time.Minute)
	fresh, err := config.TokenSource(env.Context(), &stale).Token()
	if err != nil {
		t.Fatal(err)
	}
	renewed, _ := fresh.Extra("id_token").(string)
	if user, err := testenv.WhoIs(t, testenv.As(t, cluster, renewed)); err != nil || user.Username != testenv.TrustedPrefix+testenv.Email || !slices.Contains(user.Groups, testenv.TrustedPrefix+testenv.Group) {
		t.Errorf("by the refreshed ID token she is %s in %v (%v)", user.Username, user.Groups, err)
	}
}
