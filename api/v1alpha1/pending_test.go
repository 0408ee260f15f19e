package v1alpha1_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Tools that wait for objects take one without conditions for one that is as it should be.
func TestAnObjectIsPendingUntilTheManagerHasSeenIt(t *testing.T) {
	object := metav1.ObjectMeta{Name: "new", Namespace: newNamespace(t)}
	server := &v1alpha1.AuthorizationServer{ObjectMeta: object, Spec: v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com"}}
	oauthClient := &v1alpha1.OAuthClient{ObjectMeta: object, Spec: v1alpha1.OAuthClientSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		GrantTypes: []v1alpha1.GrantType{v1alpha1.GrantTypeClientCredentials},
	}}
	api := &v1alpha1.ResourceServer{ObjectMeta: object, Spec: v1alpha1.ResourceServerSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, Identifier: "https://orders.example.com",
	}}
	user := &v1alpha1.OAuthUser{ObjectMeta: object, Spec: v1alpha1.OAuthUserSpec{
		ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: "alice", PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: "alice", Key: "password"},
	}}
	provider := &v1alpha1.IdentityProvider{ObjectMeta: object, Spec: oidcProvider()}
	for _, test := range []struct {
		object     client.Object
		conditions func() []metav1.Condition
	}{
		{server, func() []metav1.Condition { return server.Status.Conditions }},
		{oauthClient, func() []metav1.Condition { return oauthClient.Status.Conditions }},
		{api, func() []metav1.Condition { return api.Status.Conditions }},
		{user, func() []metav1.Condition { return user.Status.Conditions }},
		{provider, func() []metav1.Condition { return provider.Status.Conditions }},
	} {
		if err := admin.Create(t.Context(), test.object); err != nil {
			t.Fatal(err)
		}
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(test.object), test.object); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady} {
			c := meta.FindStatusCondition(test.conditions(), name)
			if c == nil || c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonPending {
				t.Errorf("%T: %s is %+v", test.object, name, c)
			}
		}
	}
}

func oidcProvider() v1alpha1.IdentityProviderSpec {
	return v1alpha1.IdentityProviderSpec{
		ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderOIDC, Allow: "true",
		OIDC: &v1alpha1.OIDCProviderSettings{
			Issuer: "https://login.acme.example", ClientID: "us", ClientSecretRef: v1alpha1.SecretKeyReference{Name: "acme", Key: "secret"},
		},
	}
}
