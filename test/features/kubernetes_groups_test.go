package features

import (
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestAKubernetesAPIServerSeesTheGroupsOfAProviderAndNoneOfItsOwn(t *testing.T) {
	b := newBridge(t)
	b.env.Update(b.provider, func() {
		b.provider.Spec.Claims["groups"] = v1alpha1.Expression(`["system:masters"] + upstream.groups.map(g, "acme:" + g)`)
		b.provider.Spec.Claims["email_verified"] = "true" // kube-apiserver takes no other address for a username
	})
	b.waitReady()
	config := b.webClient()
	cluster := b.env.TrustingCluster(config.ClientID)
	token, _ := b.tokens(config)
	idToken, _ := token.Extra("id_token").(string)

	var user authenticationv1.UserInfo
	b.env.Eventually("the API server's trust in the issuer", 30*time.Second, func() (bool, string) {
		var err error
		user, err = testenv.WhoIs(t, testenv.As(t, cluster, idToken))
		return err == nil, "it does not authenticate the user"
	})

	if want := []string{testenv.TrustedPrefix + "acme:" + testenv.Group, "system:authenticated"}; !slices.Equal(user.Groups, want) {
		t.Errorf("the user's groups are %q, want %q", user.Groups, want)
	}
}
