package features

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// identity returns the OAuthIdentity of a subject as the owner of the second server writes it.
func (b *bridge) identity(subject string) *v1alpha1.OAuthIdentity {
	return &v1alpha1.OAuthIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.env.ServerNamespace, Name: v1alpha1.OAuthIdentityName(subject)},
		Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: subject},
	}
}

// isRefused reports whether a sign-in leads to a page and not to the client.
func (b *bridge) isRefused(config *oauth2.Config) bool {
	b.env.T.Helper()
	page := b.signIn(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	return !strings.HasPrefix(page.At.String(), b.env.Callback)
}

func (b *bridge) activeSoon(config *oauth2.Config, token string) {
	b.env.T.Helper()
	b.env.Eventually("the token to be good", 5*time.Second, func() (bool, string) { return b.env.IsActive(config, token), "it is not" })
}

// checkWhatTheOwnerSays suspends a user and signs the user out, with any storage.
func checkWhatTheOwnerSays(t *testing.T, b *bridge, write func(change func(*v1alpha1.OAuthIdentitySpec)), subject string, config *oauth2.Config, token *oauth2.Token) {
	t.Helper()
	write(func(s *v1alpha1.OAuthIdentitySpec) { s.Suspended = true })
	inactiveWithinASecond(b.env, config, token.AccessToken)
	if refreshed, err := refresh(b.env, config, token.RefreshToken); err == nil {
		t.Errorf("a suspended user got %v", refreshed.TokenType)
	}
	if !b.isRefused(config) {
		t.Error("a suspended user has signed in")
	}
	write(func(s *v1alpha1.OAuthIdentitySpec) { s.Suspended = false })
	b.activeSoon(config, token.AccessToken)

	now := metav1.NewTime(time.Now().Truncate(time.Second))
	write(func(s *v1alpha1.OAuthIdentitySpec) { s.TokensNotBefore = &now })
	inactiveWithinASecond(b.env, config, token.AccessToken)
	time.Sleep(time.Until(now.Add(time.Second))) // what is issued in that second is void
	again, claims := b.tokens(config)
	if claims["sub"] != subject || !b.env.IsActive(config, again.AccessToken) || b.env.IsActive(config, token.AccessToken) {
		t.Errorf("after a new sign-in of %v", claims["sub"])
	}
}

func TestTheOwnerOfAServerSuspendsAUserFromElsewhereAndSignsOneOut(t *testing.T) {
	b := newBridge(t)
	config := b.webClient()
	token, claims := b.tokens(config)
	subject, _ := claims["sub"].(string)
	identity := b.identity(subject)
	b.env.WaitFor("the record", identity, func() bool { return identity.Status.LastSignIn != nil })
	write := func(change func(*v1alpha1.OAuthIdentitySpec)) {
		b.env.Update(identity, func() { change(&identity.Spec) })
	}
	checkWhatTheOwnerSays(t, b, write, subject, config, token)
}

func TestADeletedOAuthIdentityIsSignedOutForGoodAlsoWhenItIsPutBack(t *testing.T) {
	b := newBridge(t)
	config := b.webClient()
	token, claims := b.tokens(config)
	subject, _ := claims["sub"].(string)
	identity := b.identity(subject)
	b.env.WaitFor("the record", identity, func() bool { return identity.Status.LastSignIn != nil })
	saved := identity.Status
	b.env.Delete(identity)
	inactiveWithinASecond(b.env, config, token.AccessToken)

	identity = b.identity(subject)
	b.env.Create(identity)
	identity.Status = saved
	if err := testenv.Kube.Status().Update(t.Context(), identity); err != nil {
		t.Fatal(err)
	}
	if _, err := refresh(b.env, config, token.RefreshToken); err == nil || b.env.IsActive(config, token.AccessToken) {
		t.Error("what was issued before is good again")
	}
	again, claims := b.tokens(config)
	if claims["sub"] != subject || !b.env.IsActive(config, again.AccessToken) || b.env.IsActive(config, token.AccessToken) {
		t.Errorf("after a new sign-in of %v", claims["sub"])
	}
}

// withoutRecords checks what the owner says where no token server writes OAuthIdentities.
func withoutRecords(t *testing.T, b *bridge) {
	t.Helper()
	config := b.webClient()
	token, claims := b.tokens(config)
	subject, _ := claims["sub"].(string)
	var objects v1alpha1.OAuthIdentityList
	if err := testenv.Kube.List(t.Context(), &objects, client.InNamespace(b.env.ServerNamespace)); err != nil || len(objects.Items) > 0 {
		t.Errorf("the cluster has %d OAuthIdentities: %v", len(objects.Items), err)
	}
	identity := b.identity(subject)
	b.env.Create(identity)
	write := func(change func(*v1alpha1.OAuthIdentitySpec)) {
		b.env.Update(identity, func() { change(&identity.Spec) })
	}
	checkWhatTheOwnerSays(t, b, write, subject, config, token)
	b.env.Delete(identity) // which takes the tokensNotBefore away, and ends nothing
	b.activeSoon(config, token.AccessToken)
}

func TestWhatTheOwnerSaysOfAUserFromElsewhereHoldsWithStorageInMemory(t *testing.T) {
	withoutRecords(t, newBridge(t, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Storage = &v1alpha1.StorageSettings{Type: v1alpha1.StorageMemory}
	}))
}
