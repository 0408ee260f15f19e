package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// tokenStatus waits until a token request is answered with the status.
func waitForStatus(env *testenv.Env, c *v1alpha1.OAuthClient, want int) {
	env.T.Helper()
	config := env.Config(c)
	env.Eventually("the token server to answer "+http.StatusText(want), eventuallyTimeout, func() (bool, string) {
		status, _ := env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
		return status == want, http.StatusText(status)
	})
}

func TestASuspendedClientIsRefusedUntilItIsResumed(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	p := newPerson(env, "operator").may(env.AppNamespace, "get oauthclients")
	if text := p.fail(exitFailed, "suspend", "client/service"); !strings.Contains(text, `you may not patch oauthclients.oauth-operator.dev "service"`) {
		t.Errorf("it says %s", text)
	}
	p.may(env.AppNamespace, "patch oauthclients")
	p.succeed("suspend", "client/service")
	waitForStatus(env, c, http.StatusUnauthorized)
	if out := p.succeed("suspend", "client/service"); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second time it says %s", out)
	}
	if got := decodeJSON[changed](t, p.succeed("resume", "oac/service", "-o", "json")); got.Field != "spec.suspended" || got.Value != false || !got.Changed {
		t.Errorf("the output is %+v", got)
	}
	waitForStatus(env, c, http.StatusOK)
	if text := p.fail(exitFailed, "suspend", "client/absent"); !strings.Contains(text, "is not found") {
		t.Errorf("it says %s", text)
	}
}

func TestAFieldThatAnotherManagerAppliesIsChangedByForceOnly(t *testing.T) {
	env := testenv.New(t)
	manifest := `{"apiVersion":"oauth-operator.dev/v1alpha1","kind":"OAuthClient","metadata":{"name":"NAME","namespace":"` + env.AppNamespace + `"},"spec":{"serverRef":{"name":"main","namespace":"` +
		env.ServerNamespace + `"},"grantTypes":["client_credentials"],"tokenEndpointAuthMethod":"client_secret_basic"MORE}}`
	apply := func(name, more string) *v1alpha1.OAuthClient {
		text := strings.NewReplacer("NAME", name, "MORE", more).Replace(manifest)
		if err := testenv.ControlPlane.Apply(t.Context(), "kustomize-controller", []byte(text)); err != nil {
			t.Fatal(err)
		}
		c := &v1alpha1.OAuthClient{}
		if err := testenv.Kube.Get(t.Context(), client.ObjectKey{Namespace: env.AppNamespace, Name: name}, c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	p := admin(env)
	apply("explicit", `,"suspended":false`)
	text := p.fail(exitFailed, "suspend", "client/explicit")
	for _, want := range []string{"spec.suspended of OAuthClient", "is applied by kustomize-controller, which would revert the change", "--force"} {
		if !strings.Contains(text, want) {
			t.Errorf("it says %s, and not %s", text, want)
		}
	}
	p.succeed("suspend", "client/explicit", "--force")
	if c := apply("explicit", `,"suspended":false`); c.Spec.Suspended {
		t.Error("the other manager does not revert what it applies: then why refuse?")
	}

	// What the other manager does not apply stays, also when it applies the rest again.
	apply("silent", "")
	r := p.run("suspend", "client/silent")
	if r.status != 0 || !strings.Contains(r.errOut, "kustomize-controller applies the object without spec.suspended, which stays") {
		t.Errorf("status %d: %s%s", r.status, r.out, r.errOut)
	}
	c := apply("silent", "")
	if !c.Spec.Suspended {
		t.Error("the other manager removes what it does not apply")
	}
	for _, entry := range c.ManagedFields {
		if entry.Manager == cluster.FieldManager && strings.HasPrefix(entry.Manager, "kubectl") {
			t.Error("Flux removes the fields of managers whose names begin with kubectl")
		}
	}
}

func TestASecretIsRotatedAndTheOneBeforeStaysGood(t *testing.T) {
	env := testenv.New(t)
	spec := v1alpha1.OAuthClientSpec{GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic"}
	c := env.ReadyClient("service", spec)
	p := newPerson(env, "developer").may(env.AppNamespace, "get,patch oauthclients")
	var secrets []string
	for range 2 { // the second time there is a spec.secret
		before := env.Config(c)
		if out := p.succeed("rotate", "client/service"); !strings.Contains(out, "the Secret service-oauth gets another value, and the one before stays good for 24h\n") {
			t.Errorf("it says %s", out)
		}
		env.Eventually("the Secret to hold another value", eventuallyTimeout, func() (bool, string) {
			return env.Config(c).ClientSecret != before.ClientSecret, ""
		})
		if status, _ := env.Post("/token", before, url.Values{"grant_type": {"client_credentials"}}); status != http.StatusOK {
			t.Errorf("the secret before is answered %d", status)
		}
		waitForStatus(env, c, http.StatusOK)
		secrets = append(secrets, env.Config(c).ClientSecret)
	}
	env.WaitFor("the old secrets to be listed", c, func() bool {
		return len(c.Status.Credentials) == 3 && testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionReady)
	})
	if a := explainJSON(p, 0, "client/service"); len(a.EndsSoon) != 2 || a.EndsSoon[0].Field != "status.credentials["+c.Status.Credentials[1].ID+"]" {
		t.Errorf("what ends soon is %+v", a.EndsSoon)
	}
	if secrets[0] == secrets[1] {
		t.Error("it was rotated once")
	}

	env.Create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.AppNamespace, Name: "own"}, StringData: map[string]string{"value": strings.Repeat("0123456789", 4)}})
	spec.Secret = &v1alpha1.ClientSecret{Source: "FromSecret", FromSecret: &v1alpha1.SecretKeyReference{Name: "own", Key: "value"}}
	env.CreateClient("theirs", spec)
	if text := p.fail(exitFailed, "rotate", "client/theirs"); !strings.Contains(text, "is the key value of the Secret own (spec.secret.source: FromSecret): write another value there") {
		t.Errorf("it says %s", text)
	}
	env.CreateClient("public", native)
	if text := p.fail(exitFailed, "rotate", "client/public"); !strings.Contains(text, "has no secret to rotate (spec.tokenEndpointAuthMethod: none)") {
		t.Errorf("it says %s", text)
	}
}

func TestAGrantThatIsRevokedTakesItsTokensAlong(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_post", Scopes: []string{"openid"},
	})
	token, err := env.Config(c, "openid").PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
	if err != nil {
		t.Fatal(err)
	}
	var grants v1alpha1.OAuthGrantList
	if err := testenv.Kube.List(t.Context(), &grants, client.InNamespace(env.ServerNamespace)); err != nil || len(grants.Items) != 1 {
		t.Fatalf("%d grants (%v)", len(grants.Items), err)
	}
	name := "grant/" + grants.Items[0].Name
	p := newPerson(env, "operator").may(env.ServerNamespace, "get,list oauthgrants")
	if text := p.fail(exitFailed, "revoke", name, "-n", env.ServerNamespace); !strings.Contains(text, "you may not delete oauthgrants.oauth-operator.dev") {
		t.Errorf("it says %s", text)
	}
	t.Setenv("KUBECONFIG", p.kubeconfig)
	var out bytes.Buffer
	if status := run(t.Context(), []string{"__complete", "revoke", "-n", env.ServerNamespace, "grant/"}, nil, &out, &out); status != 0 || !strings.Contains(out.String(), name+"\n") {
		t.Errorf("completion offers %s", out.String())
	}
	p.may(env.ServerNamespace, "delete oauthgrants")
	p.succeed("revoke", name, "-n", env.ServerNamespace)
	env.Eventually("the token to be void", eventuallyTimeout, func() (bool, string) {
		status, _ := env.Get("/userinfo", token.AccessToken)
		return status == http.StatusUnauthorized, http.StatusText(status)
	})
	if text := p.fail(exitFailed, "revoke", name, "-n", env.ServerNamespace); !strings.Contains(text, "is not found") {
		t.Errorf("it says %s", text)
	}
}

func TestWhatWasIssuedIsVoidOnceAClientOrAUserIsRevoked(t *testing.T) {
	env := testenv.New(t)
	spec := v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_post", Scopes: []string{"openid"},
	}
	c := env.ReadyClient("legacy", spec)
	config := env.Config(c, "openid")
	for _, test := range []struct {
		reference, namespace, resource string
	}{
		{"client/legacy", env.AppNamespace, "oauthclients"},
		{"user/alice", env.ServerNamespace, "oauthusers"},
	} {
		token, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
		if err != nil {
			t.Fatal(err)
		}
		p := newPerson(env, strings.ReplaceAll(test.reference, "/", "-")).may(test.namespace, "get "+test.resource)
		if text := p.fail(exitFailed, "revoke", test.reference, "-n", test.namespace); !strings.Contains(text, "you may not patch "+test.resource) {
			t.Errorf("it says %s", text)
		}
		p.may(test.namespace, "patch "+test.resource)
		got := decodeJSON[changed](t, p.succeed("revoke", test.reference, "-n", test.namespace, "-o", "json"))
		at, err := time.Parse(time.RFC3339, got.Value.(string))
		if err != nil || got.Field != "spec.tokensNotBefore" || time.Since(at).Abs() > 30*time.Second {
			t.Errorf("it sets %+v", got)
		}
		env.Eventually("the token to be void", eventuallyTimeout, func() (bool, string) {
			status, _ := env.Get("/userinfo", token.AccessToken)
			return status == http.StatusUnauthorized, http.StatusText(status)
		})
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.RefreshToken}, "client_id": {config.ClientID}, "client_secret": {config.ClientSecret}}
		env.Eventually("the refresh token to be void", eventuallyTimeout, func() (bool, string) { // 503 in the second that is void
			status, answer := env.Post("/token", nil, form)
			return status == http.StatusBadRequest && answer["error"] == "invalid_grant", fmt.Sprint(test.reference, status, answer)
		})
		env.Eventually("a new token to be good", eventuallyTimeout, func() (bool, string) { // not in the second that is void
			token, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
			if err != nil {
				return false, err.Error()
			}
			status, _ := env.Get("/userinfo", token.AccessToken)
			return status == http.StatusOK, http.StatusText(status)
		})
	}
	p := admin(env)
	if err := testenv.Kube.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
		t.Fatal(err)
	}
	later := metav1.NewTime(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
	env.Update(c, func() { c.Spec.TokensNotBefore = &later })
	if text := p.fail(exitFailed, "revoke", "client/legacy"); !strings.Contains(text, "which is in the future") {
		t.Errorf("it says %s", text)
	}
	env.Eventually("explain to say what ends", eventuallyTimeout, func() (bool, string) {
		r := p.run("explain", "client/legacy")
		return r.status == 0 && strings.Contains(r.out, later.Format(time.RFC3339)+"  OAuthClient "+env.AppNamespace+"/legacy, spec.tokensNotBefore: voids"), r.out
	})

	p.succeed("suspend", "user/alice", "-n", env.ServerNamespace)
	env.Eventually("the user to be refused", eventuallyTimeout, func() (bool, string) {
		_, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
		return err != nil, ""
	})
	p.succeed("resume", "user/alice", "-n", env.ServerNamespace)
	env.Eventually("the user to be served", eventuallyTimeout, func() (bool, string) {
		_, err := config.PasswordCredentialsToken(env.Context(), testenv.Username, testenv.Password)
		return err == nil, ""
	})
}

// lateDate makes the API server's clock an hour fast.
type lateDate struct{ next http.RoundTripper }

func (l lateDate) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.next.RoundTrip(r)
	if err == nil {
		response.Header.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}
	return response, err
}

func TestTheTimeOfARevocationIsThatOfTheAPIServer(t *testing.T) {
	env := testenv.New(t)
	env.CreateClient("service", service)
	config := testenv.ControlPlane.AdminConfig()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return lateDate{next} })
	reached, err := cluster.New(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.OAuthClient{}
	reference := cluster.Reference{Kind: cluster.KindClient, Name: "service"}
	if _, _, err := reached.Set(t.Context(), c, reference, env.AppNamespace, voidUntilNow(reached), false); err != nil {
		t.Fatal(err)
	}
	if late := time.Until(c.Spec.TokensNotBefore.Time); late < 50*time.Minute {
		t.Errorf("it is %s from now, and the API server's clock an hour", late)
	}
}
