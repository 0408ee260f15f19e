package main

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestTheUsersOfIdentityProvidersAreListedAndSuspendedByNameOrSubject(t *testing.T) {
	env := testenv.New(t)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	create := func(letter, username string, signedIn time.Time) *v1alpha1.OAuthIdentity {
		subject := "~" + strings.Repeat(letter, 43)
		o := &v1alpha1.OAuthIdentity{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.ServerNamespace, Name: v1alpha1.OAuthIdentityName(subject)},
			Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: subject},
		}
		env.Create(o)
		last := metav1.NewMicroTime(signedIn)
		o.Status.Provider, o.Status.LastSignIn = "acme", &last
		o.Status.Claims = &runtime.RawExtension{Raw: []byte(`{"preferred_username": "` + username + `"}`)}
		if err := testenv.Kube.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	alice, mallory := create("a", "alice", at), create("m", `mallory\u001b[31m`, at.Add(time.Hour))
	p := newPerson(env, "owner").may(env.ServerNamespace, "list oauthidentities")
	got := decodeJSON[[]listedUser](t, p.succeed("identities", "-n", env.ServerNamespace, "-o", "json"))
	if len(got) != 2 || got[0].Subject != mallory.Spec.Subject || got[1].PreferredUsername != "alice" || got[1].Provider != "acme" || !got[1].LastSignIn.Equal(at) {
		t.Errorf("the list is %+v", got)
	}
	if out := p.succeed("identities", "-n", env.ServerNamespace); strings.Contains(out, "\x1b") || !strings.Contains(out, "alice") || !strings.Contains(out, alice.Spec.Subject) {
		t.Errorf("it prints %q", out)
	}
	if out := p.succeed("identities", "-n", env.ServerNamespace, "--provider", "another"); strings.Contains(out, "alice") {
		t.Errorf("of another provider: %s", out)
	}
	if text := p.fail(exitFailed, "suspend", "-n", env.ServerNamespace, "identity/"+alice.Spec.Subject); !strings.Contains(text, "you may not get oauthidentities.oauth-operator.dev") {
		t.Errorf("it says %s", text)
	}
	p.may(env.ServerNamespace, "get,patch oauthidentities")
	p.succeed("suspend", "-n", env.ServerNamespace, "identity/"+alice.Spec.Subject)
	env.WaitFor("the user to be suspended", alice, func() bool { return alice.Spec.Suspended })
	p.succeed("resume", "-n", env.ServerNamespace, "identity/"+alice.Name)
	env.WaitFor("the user not to be suspended", alice, func() bool { return !alice.Spec.Suspended })
	p.succeed("revoke", "-n", env.ServerNamespace, "identity/"+alice.Spec.Subject)
	env.WaitFor("tokensNotBefore", alice, func() bool { return alice.Spec.TokensNotBefore != nil })
}
