package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

const orders = "https://orders.example.com"

var service = v1alpha1.OAuthClientSpec{
	GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic", Scopes: []string{"orders:read"},
}

func explainJSON(p *person, status int, args ...string) explained {
	p.env.T.Helper()
	r := p.run(append([]string{"explain", "-o", "json"}, args...)...)
	if r.status != status {
		p.env.T.Fatalf("explain %q: status %d, want %d: %s%s", args, r.status, status, r.out, r.errOut)
	}
	return decodeJSON[explained](p.env.T, r.out)
}

// wholeTeam is a team with a server of its own, of which nothing is applied.
const wholeTeam = `
apiVersion: v1
kind: Namespace
metadata: {name: new-team, labels: {team: new}}
---
apiVersion: oauth-operator.dev/v1alpha1
kind: AuthorizationServer
metadata: {name: new, namespace: new-team}
spec:
  issuer: https://new.example.com
  allowedClients: [{name: team, namespaces: {from: Selector, selector: {matchLabels: {team: new}}}}]
---
apiVersion: oauth-operator.dev/v1alpha1
kind: OAuthClient
metadata: {name: web, namespace: new-team}
spec:
  serverRef: {name: new}
  grantTypes: [password]
  tokenEndpointAuthMethod: client_secret_basic
`

func TestExplainSaysWhatTheTokenServerThenDoes(t *testing.T) {
	env := testenv.New(t)
	api := env.ReadyAPI(orders, []string{"orders:read", "orders:write"}, func(r *v1alpha1.ResourceServer) {
		r.Spec.AllowedClients = []v1alpha1.ResourceClientRule{{Name: "own", Scopes: []string{"orders:read"}}}
	})
	spec := service
	spec.Scopes = []string{"orders:read", "orders:write", "no-api:has", "openid"}
	c := env.CreateClient("service", spec)
	env.WaitFor("the client to be programmed", c, func() bool { return testenv.IsTrue(c.Status.Conditions, v1alpha1.ConditionProgrammed) })
	config, p := env.Config(c), admin(env)

	a := explainJSON(p, exitNo, "client/service")
	if a.Rule != "apps" || a.Issuer != env.Issuer || len(a.Reasons) > 0 || len(a.GrantTypes) != 1 {
		t.Fatalf("the answer is %+v", a)
	}
	grant := a.GrantTypes[0]
	if grant.Succeeds != explain.Yes || !slices.Equal(grant.Scopes, []string{"orders:read"}) || !slices.Equal(grant.Audience, []string{orders}) || grant.AccessTokenLifetime != "5m0s" {
		t.Errorf("client_credentials: %+v", grant)
	}
	status, answer := env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusOK || answer["scope"] != strings.Join(grant.Scopes, " ") || answer["expires_in"] != float64(300) {
		t.Errorf("the token server answers %d %v", status, answer)
	}
	for _, scope := range a.Scopes {
		status, answer := env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}, "scope": {scope.Scope}})
		works := status == http.StatusOK
		if scope.Scope != "openid" && works != (scope.Succeeds == explain.Yes) {
			t.Errorf("%+v, and the token server answers %d %v", scope, status, answer)
		}
	}
	for scope, want := range map[string]explain.Reason{
		"orders:write": {Object: "ResourceServer " + api.Namespace + "/api", Field: "spec.allowedClients"},
		"no-api:has":   {Object: "OAuthClient " + c.Namespace + "/service", Field: "spec.scopes"},
	} {
		i := slices.IndexFunc(a.Scopes, func(s explain.ScopeAnswer) bool { return s.Scope == scope })
		got := a.Scopes[i]
		if got.Succeeds != explain.No || len(got.Reasons) != 1 || got.Reasons[0].Object != want.Object || got.Reasons[0].Field != want.Field {
			t.Errorf("%s: %+v, want %+v", scope, got, want)
		}
	}
	explainJSON(p, 0, "client/service", "--scope", "orders:read")
	if text := p.fail(exitNo, "explain", "client/service", "--grant-type", "password"); !strings.Contains(text, "spec.grantTypes: does not list password") {
		t.Errorf("it says %s", text)
	}
}

func TestExplainNamesTheFieldThatKeepsAClientFromWorking(t *testing.T) {
	env := testenv.New(t)
	c := env.ReadyClient("service", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	config, p := env.Config(c), admin(env)
	server, client := "AuthorizationServer "+env.ServerNamespace+"/main", "OAuthClient "+c.Namespace+"/service"
	explainJSON(p, 0, "client/service")
	for _, test := range []struct {
		want   explain.Reason
		says   string
		change func()
		undo   func()
	}{
		{explain.Reason{Object: client, Field: "spec.suspended"}, "kubectl oauth resume client/service",
			func() { env.Update(c, func() { c.Spec.Suspended = true }) }, func() { env.Update(c, func() { c.Spec.Suspended = false }) }},
		{explain.Reason{Object: server, Field: "spec.allowedClients[apps]"}, `grantTypes: "client_credentials" is not allowed`,
			func() {
				env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"password"} })
			},
			func() {
				env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"client_credentials"} })
			}},
		{explain.Reason{Object: server, Field: "spec.allowedClients"}, "no rule of the server allows clients from namespace",
			func() { label(env, "elsewhere") }, func() { label(env, env.ServerNamespace) }},
	} {
		test.change()
		a := explainJSON(p, exitNo, "client/service")
		if len(a.Reasons) == 0 || a.Reasons[0].Object != test.want.Object || a.Reasons[0].Field != test.want.Field || !strings.Contains(a.Reasons[0].Message, test.says) {
			t.Errorf("the reasons are %+v, want %+v %s", a.Reasons, test.want, test.says)
		}
		env.Eventually("the token server to refuse the client", eventuallyTimeout, func() (bool, string) {
			status, _ := env.Post("/token", config, url.Values{"grant_type": {"client_credentials"}})
			return status == http.StatusUnauthorized, http.StatusText(status)
		})
		test.undo()
		env.Eventually("the client to work again", eventuallyTimeout, func() (bool, string) {
			r := p.run("explain", "client/service")
			return r.status == 0, r.out
		})
	}
}

func label(env *testenv.Env, value string) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.AppNamespace}}
	env.WaitFor("the namespace", namespace, func() bool { return true })
	env.Update(namespace, func() { namespace.Labels["apps-of"] = value })
}

func TestUsersWhoMayNotReadTheServerAreToldByTheClientsConditions(t *testing.T) {
	env := testenv.New(t)
	env.ReadyAPI(orders, []string{"orders:read"}, func(r *v1alpha1.ResourceServer) {
		r.Spec.AllowedClients = []v1alpha1.ResourceClientRule{{Name: "team", Namespaces: &v1alpha1.RuleNamespaces{
			From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"apps-of": env.ServerNamespace}},
		}}}
	})
	env.ReadyClient("service", service)
	refused := service
	refused.GrantTypes, refused.Consent = []v1alpha1.GrantType{"client_credentials"}, ""
	refused.ClientID = "of.another"
	c := env.CreateClient("refused", refused)
	env.WaitFor("the client to be refused", c, func() bool {
		return slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool { return c.Reason == v1alpha1.ReasonNotAllowedByServer })
	})
	p := newPerson(env, "developer").may(env.AppNamespace, "get oauthclients")

	a := explainJSON(p, 0, "client/service")
	if a.Issuer != "" || a.Rule != "" || a.Scopes[0].Succeeds != explain.Yes {
		t.Errorf("the answer is %+v", a)
	}
	var rights []string
	for _, m := range a.MissingRights {
		rights = append(rights, strings.Join([]string{m.Verb, m.Resource, m.Namespace, m.Name}, " "))
	}
	if want := []string{"get authorizationservers.oauth-operator.dev " + env.ServerNamespace + " main", "list resourceservers.oauth-operator.dev  "}; !slices.Equal(rights, want) {
		t.Errorf("the missing rights are %q, want %q", rights, want)
	}
	a = explainJSON(p, exitNo, "client/refused")
	if len(a.Reasons) == 0 || a.Reasons[0].Field != "status.conditions[Accepted]" || !strings.Contains(a.Reasons[0].Message, `clientID: "of.another" is not allowed`) {
		t.Errorf("the reasons are %+v", a.Reasons)
	}
	if text := p.fail(exitFailed, "explain", "client/service", "-n", env.ServerNamespace); !strings.Contains(text, `you may not get oauthclients.oauth-operator.dev "service" in namespace "`+env.ServerNamespace+`"`) {
		t.Errorf("it says %s", text)
	}
	if text := p.fail(exitFailed, "explain", "client/absent"); !strings.Contains(text, "OAuthClient "+env.AppNamespace+"/absent is not found") {
		t.Errorf("it says %s", text)
	}
}

func TestAManifestIsExplainedBeforeItIsApplied(t *testing.T) {
	env := testenv.New(t)
	p := admin(env)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "manifest.yaml")
		text = strings.NewReplacer("SERVER", env.ServerNamespace, "APPS", env.AppNamespace).Replace(text)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const client = `
apiVersion: oauth-operator.dev/v1alpha1
kind: OAuthClient
metadata: {name: service, namespace: APPS}
spec:
  serverRef: {name: main, namespace: SERVER}
  grantTypes: [client_credentials]
  tokenEndpointAuthMethod: client_secret_basic
  scopes: ["orders:read"]
`
	const api = `---
apiVersion: oauth-operator.dev/v1alpha1
kind: ResourceServer
metadata: {name: orders, namespace: APPS}
spec:
  serverRef: {name: main, namespace: SERVER}
  identifier: https://orders.example.com
  scopes: [{name: "orders:read"}]
`
	a := explainJSON(p, exitNo, "-f", write(client))
	if a.GrantTypes[0].Succeeds != explain.Yes || a.Scopes[0].Succeeds != explain.No {
		t.Errorf("without its API: %+v", a)
	}
	a = explainJSON(p, 0, "-f", write(client+api))
	if !slices.Equal(a.GrantTypes[0].Audience, []string{orders}) || len(a.Notes) == 0 {
		t.Errorf("with its API: %+v", a)
	}
	if text := p.fail(exitFailed, "explain", "-f", write(strings.Replace(client, "client_secret_basic", "none", 1))); !strings.Contains(text, "needs a confidential client") {
		t.Errorf("what the API server would refuse: %s", text)
	}
	if text := p.fail(exitFailed, "explain", "-f", write(strings.Replace(client, "scopes:", "scope:", 1))); !strings.Contains(text, `unknown field "spec.scope"`) {
		t.Errorf("a misspelt field: %s", text)
	}
	a = explainJSON(p, exitNo, "-f", write(wholeTeam))
	if !slices.ContainsFunc(a.Reasons, func(r explain.Reason) bool { return r.Field == "spec.allowedClients[team]" }) {
		t.Errorf("a manifest of its own: %+v", a)
	}
	a = explainJSON(p, exitUnknown, "-f", write(strings.Replace(wholeTeam, "[password]", "[client_credentials]", 1)))
	if len(a.Reasons) != 1 || !strings.Contains(a.Reasons[0].Message, `has not checked the manifest, and may refuse it: there is no namespace "new-team" yet`) {
		t.Errorf("what the API server has not checked: %+v", a)
	}
	env.ReadyClient("holder", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic", ClientID: env.AppNamespace + ".service",
	})
	a = explainJSON(p, exitNo, "-f", write(client+api))
	if len(a.Reasons) != 1 || a.Reasons[0].Field != "spec.clientID" || !strings.HasPrefix(a.Reasons[0].Message, "OAuthClient "+env.AppNamespace+"/holder has the name") {
		t.Errorf("a client id that another has: %+v", a)
	}
	another := strings.Replace(client, "name: service", "name: another", 1)
	workload := strings.Replace(another, "client_secret_basic", "WorkloadIdentity\n  workloadIdentities: [{serviceAccount: {name: billing}}]", 1)
	a = explainJSON(p, exitNo, "-f", write(workload+api))
	if len(a.Reasons) != 1 || a.Reasons[0].Field != "spec.workloadIssuers" {
		t.Errorf("without a workload issuer: %+v", a)
	}
	// A user who may not try to create it is told that the API server might refuse it.
	reader := newPerson(env, "reader").may(env.ServerNamespace, "get authorizationservers").may(env.AppNamespace, "get namespaces")
	a = explainJSON(reader, exitUnknown, "-f", write(another))
	var verbs []string
	for _, m := range a.MissingRights {
		verbs = append(verbs, m.Verb+" "+m.Resource)
	}
	want := []string{"create oauthclients.oauth-operator.dev", "get oauthclients.oauth-operator.dev", "get secrets", "list resourceservers.oauth-operator.dev"}
	if !slices.Equal(verbs, want) || a.GrantTypes[0].Succeeds != explain.Unknown || a.Rule != "apps" {
		t.Errorf("for a reader: %+v", a)
	}
}

func TestLegacyGrantsThatEndAreToldBeforeAndAfter(t *testing.T) {
	env := testenv.New(t)
	env.ReadyClient("legacy", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"password", "refresh_token"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	rule := explain.Reason{Object: "AuthorizationServer " + env.ServerNamespace + "/main", Field: "spec.allowedClients[apps].legacyUntil"}
	p, developer := admin(env), newPerson(env, "developer").may(env.AppNamespace, "get oauthclients")
	set := func(at time.Time) {
		until := metav1.NewTime(at.UTC().Truncate(time.Second))
		env.Update(env.Server, func() { env.Server.Spec.AllowedClients[0].LegacyUntil = &until })
	}
	set(time.Now().Add(240 * time.Hour))
	env.Eventually("explain to say when they end", eventuallyTimeout, func() (bool, string) {
		r := p.run("explain", "client/legacy")
		return r.status == 0 && strings.Contains(r.out, "Ends soon:\n") && strings.Contains(r.out, rule.Field+": ends password: use authorization_code"), r.out
	})
	env.Eventually("the status to say it", eventuallyTimeout, func() (bool, string) {
		r := developer.run("explain", "client/legacy")
		return r.status == 0 && strings.Contains(r.out, "status.legacyUntil: ends password"), r.out
	})
	set(time.Now().Add(-time.Minute))
	a := explainJSON(p, exitNo, "client/legacy")
	for _, grant := range a.GrantTypes {
		if grant.Succeeds != explain.No || len(grant.Reasons) != 1 || grant.Reasons[0].Object != rule.Object || grant.Reasons[0].Field != rule.Field {
			t.Errorf("%+v", grant)
		}
	}
	env.Eventually("the status to say that they ended", eventuallyTimeout, func() (bool, string) {
		r := developer.run("explain", "client/legacy")
		return r.status == exitNo && strings.Contains(r.out, "status.legacyUntil: ended password"), r.out
	})
}
