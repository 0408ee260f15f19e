// Package features goes from a manifest to an HTTP answer: what a user applies is read by the manager, served by the token server, and seen
// by a client. The API server is real, both programs run as processes under their own ServiceAccounts with the shipped RBAC, and the clients
// are those that people use.
package features

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/person"
)

// What all tests of the package share: one control plane and one operator. Each test has namespaces and issuers of its own.
var (
	cluster *controlplane.ControlPlane
	running *operator.Operator
	kube    client.Client
	logs    lockedBuffer
	serial  atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "features")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctrllog.SetLogger(logr.Discard())
	ctx := context.Background()
	programs, err := operator.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return fail(err)
	}
	if cluster, err = controlplane.Start(ctx, controlplane.Options{NoFsync: true}); err != nil {
		return fail(err)
	}
	defer cluster.Stop()
	if running, err = operator.Start(ctx, operator.Options{
		ControlPlane: cluster, Programs: programs, Dir: filepath.Join(dir, "data"), ManagerLog: &logs, TokenServerLog: &logs,
	}); err != nil {
		return fail(err)
	}
	defer running.Stop()
	if kube, err = newClient(cluster.AdminConfig()); err != nil {
		return fail(err)
	}
	return m.Run()
}

func newClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, served.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// world is a platform team's namespace with an AuthorizationServer, and an app team's namespace beside it.
type world struct {
	t              *testing.T
	issuer         string
	identity, apps string
	server         *v1alpha1.AuthorizationServer
	callback       string
}

const (
	username = "alice"
	password = "a long enough pass-phrase"
)

// newWorld applies an AuthorizationServer "main" that allows everything to the app team's namespace, and a user, and waits until both serve.
func newWorld(t *testing.T, change ...func(*v1alpha1.AuthorizationServer)) *world {
	t.Helper()
	n := serial.Add(1)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, issuer: fmt.Sprintf("http://127.0.0.1:%d", port), callback: "https://app.example.com/callback",
		identity: fmt.Sprintf("identity-%d", n), apps: fmt.Sprintf("apps-%d", n),
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.identity}})
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.apps, Labels: map[string]string{"apps-of": w.identity}}})
	w.server = &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "main"},
		Spec: v1alpha1.AuthorizationServerSpec{
			Issuer: w.issuer,
			AllowedClients: []v1alpha1.ClientRule{{
				Name: "apps", Namespaces: w.fromApps(),
				GrantTypes: []v1alpha1.GrantType{"authorization_code", "implicit", "password", "client_credentials", "refresh_token"},
				Consent:    []v1alpha1.ConsentMode{"Required", "Skip"},
			}},
			AllowedResourceServers: []v1alpha1.ResourceServerRule{{Name: "apps", Namespaces: w.fromApps()}},
		},
	}
	for _, f := range change {
		f(w.server)
	}
	w.issuer = w.server.Spec.Issuer
	w.create(w.server)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "alice"}, StringData: map[string]string{"password": password}})
	user := &v1alpha1.OAuthUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "alice"},
		Spec: v1alpha1.OAuthUserSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: username, Subject: "248289761001",
			PasswordSecretRef: &v1alpha1.SecretKeyReference{Name: "alice", Key: "password"},
			Claims:            &runtime.RawExtension{Raw: []byte(`{"name": "Alice Liddell", "email": "alice@example.com", "groups": ["admins"]}`)},
		},
	}
	w.create(user)
	w.wait("the AuthorizationServer to be Ready", w.server, func() bool { return isTrue(w.server.Status.Conditions, v1alpha1.ConditionReady) })
	w.wait("the user to be Ready", user, func() bool { return isTrue(user.Status.Conditions, v1alpha1.ConditionReady) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", logs.tail(200))
		}
	})
	return w
}

func (w *world) fromApps() *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{
		From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"apps-of": w.identity}},
	}
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := kube.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// update changes the object as it is now.
func (w *world) update(o client.Object, change func()) {
	w.t.Helper()
	w.wait("the update of "+o.GetName(), o, func() bool {
		change()
		return kube.Update(w.t.Context(), o) == nil
	})
}

// wait reads the object until the condition holds.
func (w *world) wait(what string, o client.Object, condition func() bool) {
	w.t.Helper()
	w.eventually(what, 30*time.Second, func() (bool, string) {
		if err := kube.Get(w.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return false, err.Error()
		}
		if condition() {
			return true, ""
		}
		status, _ := json.MarshalIndent(o, "", " ")
		return false, string(status)
	})
}

func (w *world) eventually(what string, patience time.Duration, condition func() (bool, string)) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		done, state := condition()
		if done {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s did not come within %s: %s\nlogs:\n%s", what, patience, state, logs.tail(60))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func isTrue(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}

// client applies an OAuthClient in the app team's namespace and waits until it is Ready.
func (w *world) client(name string, spec v1alpha1.OAuthClientSpec) *v1alpha1.OAuthClient {
	w.t.Helper()
	c := w.unready(name, spec)
	w.wait("the client "+name+" to be Ready", c, func() bool { return isTrue(c.Status.Conditions, v1alpha1.ConditionReady) })
	return c
}

func (w *world) unready(name string, spec v1alpha1.OAuthClientSpec) *v1alpha1.OAuthClient {
	w.t.Helper()
	spec.ServerRef = v1alpha1.ServerReference{Name: "main", Namespace: w.identity}
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: name}, Spec: spec}
	w.create(c)
	return c
}

// config is what the workload would read from its Secret, for golang.org/x/oauth2.
func (w *world) config(c *v1alpha1.OAuthClient, scopes ...string) *oauth2.Config {
	w.t.Helper()
	config := &oauth2.Config{
		ClientID: c.Status.ClientID, RedirectURL: w.callback, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: w.issuer + "/authorize", TokenURL: w.issuer + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone {
		return config
	}
	secret := w.secret(c)
	config.ClientID, config.ClientSecret = string(secret.Data["client_id"]), string(secret.Data["client_secret"])
	config.Endpoint.TokenURL = string(secret.Data["token_endpoint"])
	if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodBasic {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return config
}

func (w *world) secret(c *v1alpha1.OAuthClient) *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{}
	if err := kube.Get(w.t.Context(), client.ObjectKey{Namespace: c.Namespace, Name: c.Status.SecretName}, secret); err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// signIn follows the authorization request as alice and returns where the browser is sent.
func (w *world) signIn(address string) *url.URL {
	w.t.Helper()
	b, err := person.New()
	if err != nil {
		w.t.Fatal(err)
	}
	b.Follow(w.issuer)
	if err := b.SignIn(address, w.issuer, username, password); err != nil {
		w.t.Fatal(err)
	}
	if !strings.HasPrefix(b.At.String(), w.callback) {
		w.t.Fatalf("sent to %s", b.At)
	}
	return b.At
}

// post sends a form and returns the status and the JSON answer.
func (w *world) post(endpoint string, c *oauth2.Config, form url.Values) (int, map[string]any) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.issuer+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c != nil {
		request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	answer := map[string]any{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			w.t.Fatalf("%s answered %d %q", endpoint, response.StatusCode, body)
		}
	}
	return response.StatusCode, answer
}

// lockedBuffer keeps the programs' logs, for tests that fail.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func (b *lockedBuffer) tail(lines int) string {
	all := strings.Split(b.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
