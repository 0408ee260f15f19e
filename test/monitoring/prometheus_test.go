//go:build monitoring

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestPrometheusAnswersEveryQueryOfTheDashboard(t *testing.T) {
	e := testenv.New(t, testenv.WithTLS)
	p := startPrometheus(t, e)
	service, broken := traffic(e)
	done := make(chan struct{})
	defer close(done)
	go func() { // rates need two scrapes with traffic between them
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
				service()
			}
		}
	}()
	e.WaitFor("a client that is not Ready", broken, func() bool { return len(broken.Status.Conditions) > 1 })

	queries := dashboardQueries(t)
	if len(queries) < 40 {
		t.Fatalf("the dashboard has %d queries only", len(queries))
	}
	var silent []string
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second) {
		silent = slices.DeleteFunc(slices.Clone(queries), func(query string) bool { return p.answers(t, query) })
		if len(silent) == 0 {
			break
		}
	}
	for _, query := range silent {
		t.Errorf("Prometheus has no series for %s", query)
	}
	for _, target := range p.targets(t) {
		if target.Health != "up" {
			t.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError)
		}
	}
	p.checkRules(t)
}

func TestBothProgramsPassTheLinterOfMetrics(t *testing.T) {
	e := testenv.New(t)
	service, _ := traffic(e)
	service()
	token := scraperToken(t)
	for name, metrics := range map[string]string{
		"token server": get(t, "http://"+statusAddress(t, e)+"/metrics", ""), "manager": get(t, "https://"+managerAddress+"/metrics", token),
	} {
		file := filepath.Join(t.TempDir(), "metrics")
		ours := ""
		for _, line := range strings.Split(metrics, "\n") {
			if strings.Contains(line, "oauth_operator_") { // libraries name theirs as they like
				ours += line + "\n"
			}
		}
		if strings.Count(ours, "# TYPE") < 8 {
			t.Errorf("the %s has these metrics only:\n%s", name, ours)
		}
		write(t, file, []byte(ours))
		promtool(t, ".", file, "check", "metrics")
	}
}

// traffic creates clients and identity providers, and returns a function that makes requests which succeed and fail, and a
// client that does not get ready.
func traffic(e *testenv.Env) (requests func(), broken *v1alpha1.OAuthClient) {
	client := e.ReadyClient("service", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials", "password"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	broken = e.CreateClient("broken", v1alpha1.OAuthClientSpec{
		GrantTypes: []v1alpha1.GrantType{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic", ClientID: "not.allowed.here",
	})
	newProviders(e)
	c := e.Config(client)
	wrong := *c
	wrong.ClientSecret = "wrong"
	return func() {
		_, answer := e.Post("/token", c, url.Values{"grant_type": {"client_credentials"}})
		if token, ok := answer["access_token"].(string); ok {
			e.Post("/introspect", c, url.Values{"token": {token}})
		}
		e.Post("/token", &wrong, url.Values{"grant_type": {"client_credentials"}})
	}, broken
}

// newProviders creates an identity provider of each type. No user signs in: their counters begin at 0.
func newProviders(e *testenv.Env) {
	spec := v1alpha1.IdentityProviderSpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Allow: "true"}
	acme, staff := spec, spec
	acme.Type = v1alpha1.ProviderOIDC
	acme.OIDC = &v1alpha1.OIDCProviderSettings{Issuer: "https://login.acme.example", ClientID: "us", ClientSecretRef: v1alpha1.SecretKeyReference{Name: "acme", Key: "secret"}}
	staff.Type, staff.Realm = v1alpha1.ProviderLDAP, "ldaps://ldap.acme.example"
	staff.LDAP = &v1alpha1.LDAPProviderSettings{
		URL: "ldaps://ldap.acme.example", Bind: v1alpha1.LDAPBind{DN: "cn=reader", PasswordSecretRef: v1alpha1.SecretKeyReference{Name: "staff", Key: "password"}},
		Users: v1alpha1.LDAPUserSearch{BaseDN: "ou=people", Filter: "(uid=$(username))", SubjectAttribute: "entryUUID"},
	}
	for name, spec := range map[string]v1alpha1.IdentityProviderSpec{"acme": acme, "staff": staff} {
		e.Create(&v1alpha1.IdentityProvider{ObjectMeta: metav1.ObjectMeta{Namespace: e.ServerNamespace, Name: name}, Spec: spec})
	}
}

// statusAddress returns the address of the metrics of the token server.
func statusAddress(t *testing.T, e *testenv.Env) string {
	t.Helper()
	replicas := testenv.Operator.Node.Replicas(e.ServerNamespace, e.Server.Name)
	if len(replicas) == 0 {
		t.Fatal("there is no token server")
	}
	return replicas[0].Status()
}

// scraperToken returns the token of a ServiceAccount that may read the manager's metrics, as the
// documentation says.
func scraperToken(t *testing.T) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "prometheus-"}}
	if err := testenv.Kube.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if err := testenv.Kube.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "prometheus-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}},
	}); err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{}
	if err := testenv.Kube.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// dashboardQueries returns the queries of the dashboard, with its variables replaced as by Grafana.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$namespace", ".*", "$server", ".*", "$__rate_interval", "20s")
	var queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			query := variables.Replace(target.Expr)
			if strings.Contains(query, "$") {
				t.Errorf("%s has a variable that is not known: %s", panel.Title, query)
			}
			queries = append(queries, query)
		}
	}
	return queries
}

// prometheus is a server that runs for a test.
type prometheus struct{ url string }

const configuration = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
- job_name: manager
  scheme: https
  tls_config: {insecure_skip_verify: true}
  authorization: {credentials_file: token}
  static_configs: [{targets: [%q], labels: {namespace: oauth-operator-system}}]
- job_name: tokenserver
  static_configs: [{targets: [%q], labels: {namespace: %q, server: main, pod: main-0}}]
`

func startPrometheus(t *testing.T, e *testenv.Env) *prometheus {
	t.Helper()
	dir := t.TempDir()
	writeRules(t, filepath.Join(dir, "rules.yml"))
	write(t, filepath.Join(dir, "token"), []byte(scraperToken(t)))
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Appendf(nil, configuration, managerAddress, statusAddress(t, e), e.ServerNamespace))
	promtool(t, dir, "", "check", "config", "prometheus.yml")
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p := &prometheus{url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
		"--web.listen-address="+strings.TrimPrefix(p.url, "http://"))
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
		if content, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("Prometheus:\n%s", content)
		}
	})
	e.Eventually("Prometheus to be ready", 30*time.Second, func() (bool, string) {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false, err.Error()
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK, response.Status
	})
	return p
}

// get reads the field data of an answer of the API.
func (p *prometheus) get(t *testing.T, path string, data any) error {
	t.Helper()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal([]byte(get(t, p.url+path, "")), &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// answers reports whether a query has a series whose value is a number.
func (p *prometheus) answers(t *testing.T, query string) bool {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(t, "/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		t.Fatal(err)
	}
	for _, series := range data.Result {
		if series.Value[1] != "NaN" {
			return true
		}
	}
	return false
}

type scrapeTarget struct{ ScrapeURL, Health, LastError string }

func (p *prometheus) targets(t *testing.T) []scrapeTarget {
	t.Helper()
	var data struct{ ActiveTargets []scrapeTarget }
	if err := p.get(t, "/api/v1/targets", &data); err != nil {
		t.Fatal(err)
	}
	if len(data.ActiveTargets) != 2 {
		t.Errorf("there are %d targets", len(data.ActiveTargets))
	}
	return data.ActiveTargets
}

// checkRules fails the test if a rule cannot be evaluated, or an alert fires although all is well.
func (p *prometheus) checkRules(t *testing.T) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	if err := p.get(t, "/api/v1/rules", &data); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if found++; rule.Health != "ok" || rule.State == "firing" && rule.Name != "OAuthCertificateExpired" { // the certificates of tests live for a day
				t.Errorf("%s is %s and %s: %s", rule.Name, rule.Health, rule.State, rule.LastError)
			}
		}
	}
	if want := len(alerts(t)); found != want {
		t.Errorf("Prometheus has %d rules of %d", found, want)
	}
}
