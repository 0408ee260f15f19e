package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/identity"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m, testenv.Options{ControlPlane: controlplane.Options{NoFsync: true}}))
}

// person is a user of the cluster, with the rights that a test gives.
type person struct {
	env        *testenv.Env
	name       string
	kubeconfig string
}

// newPerson returns a user who may do nothing yet.
func newPerson(env *testenv.Env, name string) *person {
	env.T.Helper()
	name += "-of-" + env.AppNamespace
	config, err := testenv.ControlPlane.ConfigForUser(name)
	if err != nil {
		env.T.Fatal(err)
	}
	p := &person{env: env, name: name, kubeconfig: filepath.Join(env.T.TempDir(), "kubeconfig")}
	if err := identity.WriteKubeconfig(p.kubeconfig, config, env.AppNamespace); err != nil {
		env.T.Fatal(err)
	}
	return p
}

// admin returns a user who may do everything.
func admin(env *testenv.Env) *person {
	env.T.Helper()
	p := &person{env: env, name: "admin", kubeconfig: filepath.Join(env.T.TempDir(), "kubeconfig")}
	if err := identity.WriteKubeconfig(p.kubeconfig, testenv.ControlPlane.AdminConfig(), env.AppNamespace); err != nil {
		env.T.Fatal(err)
	}
	return p
}

// may gives rights in a namespace: verbs on resources, such as "get oauthclients secrets".
func (p *person) may(namespace string, rights ...string) *person {
	p.env.T.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "person-"}}
	for _, right := range rights {
		words := strings.Fields(right)
		role.Rules = append(role.Rules, rbacv1.PolicyRule{
			APIGroups: []string{"", "oauth-operator.dev"}, Verbs: strings.Split(words[0], ","), Resources: words[1:],
		})
	}
	p.env.Create(role)
	p.env.Create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: p.name}},
	})
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			p.waitForRight(authorizationv1.ResourceAttributes{Namespace: namespace, Group: rule.APIGroups[1], Resource: resource, Verb: rule.Verbs[0]})
		}
	}
	return p
}

// waitForRight waits until the API server knows of a right, which it learns of by a watch.
func (p *person) waitForRight(right authorizationv1.ResourceAttributes) {
	p.env.T.Helper()
	p.env.Eventually("the API server to know of a right", eventuallyTimeout, func() (bool, string) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: p.name, ResourceAttributes: &right}}
		err := testenv.Kube.Create(p.env.T.Context(), review)
		return err == nil && review.Status.Allowed, fmt.Sprint(err, review.Status)
	})
}

// result is what a command did.
type result struct {
	status      int
	out, errOut string
}

// run runs a command as the person.
func (p *person) run(args ...string) result {
	p.env.T.Helper()
	return p.runWith(p.env.T.Context(), "", args...)
}

func (p *person) runWith(ctx context.Context, in string, args ...string) result {
	var out, errOut bytes.Buffer
	status := run(ctx, append(args, "--kubeconfig", p.kubeconfig), strings.NewReader(in), &out, &errOut)
	return result{status, out.String(), errOut.String()}
}

// succeed runs a command that has to succeed, and returns its output.
func (p *person) succeed(args ...string) string {
	p.env.T.Helper()
	r := p.run(args...)
	if r.status != 0 {
		p.env.T.Fatalf("%q: status %d: %s%s", args, r.status, r.out, r.errOut)
	}
	return r.out
}

// fail runs a command that has to fail with a status, and returns what it says.
func (p *person) fail(status int, args ...string) string {
	p.env.T.Helper()
	r := p.run(args...)
	if r.status != status || status == exitFailed && r.out != "" {
		p.env.T.Fatalf("%q: status %d, want %d: %s%s", args, r.status, status, r.out, r.errOut)
	}
	return r.out + r.errOut
}

func decodeJSON[T any](t testing.TB, text string) T {
	t.Helper()
	var value T
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

func TestWrongUsageHasAStatusOfItsOwnAndSaysWhatIsRight(t *testing.T) {
	for want, args := range map[string][]string{
		`there is no command "describe"`:               {"describe", "client/a"},
		"unknown flag: --scopes":                       {"explain", "client/a", "--scopes", "a"},
		`"billing" is not of the form client/NAME`:     {"explain", "billing"},
		"want client/NAME or -f FILE":                  {"explain"},
		`no output format "yaml"`:                      {"explain", "client/a", "-o", "yaml"},
		`no grant type "code"`:                         {"explain", "client/a", "--grant-type", "code"},
		"want client/NAME, such as":                    {"token"},
		"leave out one":                                {"token", "client/a", "--username", "u", "--refresh-token-file", "f"},
		"want either client/NAME, or --issuer and":     {"login"},
		"--client-id needs --issuer":                   {"login", "--client-id", "a"},
		`"grant/a" is not of the form client/NAME or`:  {"suspend", "grant/a"},
		`"user/" is not of the form`:                   {"suspend", "user/"},
		`"too" is too much: the command has no argume`: {"version", "too"},
	} {
		var out, errOut bytes.Buffer
		if status := run(t.Context(), args, strings.NewReader(""), &out, &errOut); status != exitUsage || !strings.Contains(errOut.String(), want) || out.Len() > 0 {
			t.Errorf("%q: status %d, %s%s", args, status, out.String(), errOut.String())
		}
	}
}
