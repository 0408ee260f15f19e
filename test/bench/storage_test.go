package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/bench/results"
	"github.com/oauth-operator/oauth-operator/test/browser"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// backend is where a server keeps its records, and what is known of it.
type backend struct {
	kind v1alpha1.StorageType
	// each is how many requests a worker sends in a round: for a second or two.
	each int
	// prepare makes what the server needs before it starts.
	prepare func(b *testing.B, server *v1alpha1.AuthorizationServer) *store
}

// store is a backend that runs.
type store struct {
	// floor are the floor's arguments: where it finds a record to change.
	floor func(b *testing.B, env *testenv.Env) []string
	// written is how much was written so far, in the backend's own unit, and what that is called.
	written func(b *testing.B) float64
	unit    string
	// size of the grants, in bytes, and how many there are.
	size func(b *testing.B, env *testenv.Env) (bytes, grants float64)
}

// backends that can be measured here; one more in storage_postgres_test.go.
var backends = []backend{
	{v1alpha1.StorageMemory, 400, inMemory},
	{v1alpha1.StorageKubernetes, 100, inKubernetes},
}

// BenchmarkStorage is the cost of redeeming a code and of refreshing, on each backend. Its floor is
// a server that changes one record by compare-and-swap, through the same library; what the
// signature of the access token costs is taken off before the two are compared, since the floor
// signs nothing. Where a refresh token is kept, nothing is written, and the floor reads one record.
// Where a code or refresh token depends on a session, it is also read whether the
// session has ended.
func BenchmarkStorage(b *testing.B) {
	for _, row := range backends {
		b.Run(string(row.kind), func(b *testing.B) { benchmarkStorage(b, row) })
	}
}

func benchmarkStorage(b *testing.B, row backend) {
	each := row.each
	clients := each * workers // each round adds one grant of a user at a client, within the limit
	var s *store
	env := testenv.New(b, func(server *v1alpha1.AuthorizationServer) {
		server.Spec.Tokens = &v1alpha1.TokenSettings{
			AuthorizationCodeLifetime: &metav1.Duration{Duration: 10 * time.Minute},
			RefreshToken:              &v1alpha1.RefreshTokenSettings{Rotation: v1alpha1.RotateAlways},
		}
		server.Spec.Storage = &v1alpha1.StorageSettings{Type: row.kind}
		s = row.prepare(b, server)
	})
	env.ReadyAPI(ordersAPI, []string{ordersScope})
	c := env.ReadyClient("web", v1alpha1.OAuthClientSpec{
		GrantTypes:              []v1alpha1.GrantType{"authorization_code", "refresh_token", "password"},
		TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
		RedirectURIs:            []string{env.Callback}, Scopes: []string{ordersScope}, Consent: v1alpha1.ConsentSkip,
	})
	config := env.Config(c, ordersScope)
	copies := copiesOf(b, env, c)
	copies.grow(b, clients)
	p := &userLoad{env: env, config: config, copies: copies, clients: clients, cookies: signIn(b, env, config)}
	p.waitUntilServed(b)
	address, pid := hostOf(env.Issuer), replica(b, env).PID()
	redeem := target{pid: pid, address: address, prepare: func() step { return p.redeem(b, p.codes(b, each)) }}
	refreshOfSession := target{pid: pid, address: address, prepare: func() step { return p.refresh }}
	alone := &userLoad{env: env, config: config, copies: copies, clients: clients}
	load(b, address, 1, func(l *connection, worker, i int) error { return alone.password(l, worker, alone.clientOf(worker, i)) })
	refresh := target{pid: pid, address: address, prepare: func() step { return alone.refresh }}

	redeem.cost(b, each) // the floor copies what this leaves behind
	floor := startFloor(b, s.floor(b, env)...)
	conversations := []conversation{{"a code redeemed", 1.7, redeem}, {"a refresh", 1.4, refresh}, {"a refresh that needs a session", 1.4, refreshOfSession}}
	measureConversations(b, row, s, each, floor("/parse"), floor("/sign"), floor("/swap"), conversations)
	keepTokens(b, env)
	conversations = []conversation{{"a refresh that keeps its token", 1.4, refresh}, {"a refresh that keeps its token and needs a session", 1.4, refreshOfSession}}
	measureConversations(b, row, s, each, floor("/parse"), floor("/sign"), floor("/read"), conversations)
	if bytes, grants := s.size(b, env); grants > 0 {
		table.add(b, results.Row{Group: storageRows, Name: fmt.Sprintf("a grant, %s: its size", row.kind), Unit: "bytes", Value: bytes / grants})
	}
}

// conversation is what a client does at the token endpoint, and how many times the floor it may cost.
type conversation struct {
	name   string
	atMost float64
	target
}

// measureConversations adds the rows of conversations, and compares them with a floor that stores.
func measureConversations(b *testing.B, row backend, s *store, each int, parse, sign, storing target, all []conversation) {
	b.Helper()
	const count = 7
	targets := []target{parse, sign, storing}
	for _, c := range all {
		targets = append(targets, c.target)
	}
	costs := measureAlternately(b, count, each, targets...)
	for i, c := range all {
		do := c.prepare()
		written, quiet := s.written(b), idleWrites(b, s)
		began := time.Now()
		load(b, c.address, each, do)
		passed := time.Since(began)
		writes := (s.written(b) - written - quiet*passed.Seconds()) / float64(each*workers)
		over := make([]float64, count)
		for turn := range count {
			signing := costs[1][turn] - costs[0][turn]
			over[turn] = float64(costs[3+i][turn]-signing) / float64(costs[2][turn])
		}
		name := fmt.Sprintf("%s, %s", c.name, row.kind)
		cost := compared(storageRows, name, costs[3+i], costs[2], over)
		if row.kind != v1alpha1.StorageMemory {
			cost.Target = atMostTimes(c.atMost)
		}
		table.add(b, cost)
		table.add(b, results.Row{Group: storageRows, Name: name + ": " + s.unit, Unit: s.unit, Value: writes})
		table.add(b, results.Row{Group: storageRows, Name: name + ": at full load", Unit: "a second", Value: float64(each*workers) / passed.Seconds()})
	}
}

// keepTokens has the server keep the refresh tokens of confidential clients, as it does by default.
// Since the manager is suspended, it writes the server's document as the manager would.
func keepTokens(b *testing.B, env *testenv.Env) {
	b.Helper()
	entries := &internalv1alpha1.EntryList{}
	if err := testenv.Kube.List(b.Context(), entries, client.InNamespace(env.ServerNamespace)); err != nil {
		b.Fatal(err)
	}
	i := slices.IndexFunc(entries.Items, func(e internalv1alpha1.Entry) bool {
		return e.Spec.Owner.UID == env.Server.UID && e.Spec.Document != ""
	})
	if i < 0 {
		b.Fatal("there is no Entry of the server")
	}
	var document documents.Server
	if err := json.Unmarshal([]byte(entries.Items[i].Spec.Document), &document); err != nil {
		b.Fatal(err)
	}
	document.RefreshToken.RotatePublicClientsOnly = true
	encoded, err := documents.Encode(document)
	if err != nil {
		b.Fatal(err)
	}
	entries.Items[i].Spec.Document = encoded
	if err := testenv.Kube.Update(b.Context(), &entries.Items[i]); err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Second) // the watch sends it within milliseconds
}

// idleWrites returns how much is written in a second without requests.
func idleWrites(b *testing.B, s *store) float64 {
	b.Helper()
	const seconds = 5
	before := s.written(b)
	time.Sleep(seconds * time.Second)
	return (s.written(b) - before) / seconds
}

// userLoad is a load of users who sign in at many clients.
type userLoad struct {
	env     *testenv.Env
	config  *oauth2.Config
	copies  *copies
	clients int
	cookies string
	// refreshes is the refresh token that each worker got last, and last the client that got it.
	refreshes [workers]string
	last      [workers]*oauth2.Config
}

const verifier = "a-code-verifier-of-43-characters-or-more-as-it-must-be"

// cookieJar remembers what a browser sent last.
type cookieJar struct{ last string }

func (j *cookieJar) RoundTrip(r *http.Request) (*http.Response, error) {
	j.last = r.Header.Get("Cookie")
	return http.DefaultTransport.RoundTrip(r)
}

// signIn gives the cookies of a browser in which alice has signed in.
func signIn(b *testing.B, env *testenv.Env, config *oauth2.Config) string {
	b.Helper()
	jar := &cookieJar{}
	alice := browser.New(jar, env.Issuer)
	address := config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier))
	env.SignInWith(alice, address, testenv.Password)
	if page := env.Open(alice, address); !strings.HasPrefix(page.At.String(), env.Callback) {
		b.Fatalf("the session does not last: the browser is at %s", page.At)
	}
	return jar.last
}

// clientOf the i-th step of a worker: each worker has its own, so that none waits for another.
func (p *userLoad) clientOf(worker, i int) *oauth2.Config {
	return p.copies.config(worker+workers*(i%(p.clients/workers)), p.config)
}

// waitUntilServed waits until the server serves all clients.
func (p *userLoad) waitUntilServed(b *testing.B) {
	b.Helper()
	load(b, hostOf(p.env.Issuer), p.clients/workers, func(l *connection, worker, i int) error {
		address, err := url.Parse(p.clientOf(worker, i).AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
		if err != nil {
			return err
		}
		for range 1000 {
			a, err := l.send(get(address.Host, address.RequestURI(), p.cookies))
			if err != nil || a.status == http.StatusSeeOther {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
		return fmt.Errorf("%s is not known", p.clientOf(worker, i).ClientID)
	})
}

// codes that each worker redeems.
func (p *userLoad) codes(b *testing.B, each int) [workers][]string {
	b.Helper()
	var codes [workers][]string
	load(b, hostOf(p.env.Issuer), each, func(l *connection, worker, i int) error {
		code, err := p.code(l, p.clientOf(worker, i))
		if err != nil {
			return err
		}
		codes[worker] = append(codes[worker], code)
		return nil
	})
	return codes
}

// code is one for a client, from the authorization endpoint.
func (p *userLoad) code(l *connection, c *oauth2.Config) (string, error) {
	address, err := url.Parse(c.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		return "", err
	}
	a, err := l.sendExpecting(http.StatusSeeOther, get(address.Host, address.RequestURI(), p.cookies))
	if err != nil {
		return "", err
	}
	back, err := url.Parse(a.location)
	if err != nil || back.Query().Get("code") == "" {
		return "", fmt.Errorf("sent to %s without a code", a.location)
	}
	return back.Query().Get("code"), nil
}

// redeem the codes.
func (p *userLoad) redeem(b *testing.B, codes [workers][]string) step {
	b.Helper()
	return func(l *connection, worker, i int) error {
		return p.redeemCode(l, worker, p.clientOf(worker, i), codes[worker][i])
	}
}

func (p *userLoad) redeemCode(l *connection, worker int, c *oauth2.Config, code string) error {
	return p.exchange(l, worker, c, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.env.Callback}, "code_verifier": {verifier},
	})
}

// password gets a worker a refresh token that depends on no session.
func (p *userLoad) password(l *connection, worker int, c *oauth2.Config) error {
	return p.exchange(l, worker, c, url.Values{
		"grant_type": {"password"}, "username": {testenv.Username}, "password": {testenv.Password}, "scope": {ordersScope},
	})
}

// refresh the token that the worker got last, which is of the client whose code it redeemed last.
func (p *userLoad) refresh(l *connection, worker, _ int) error {
	return p.exchange(l, worker, p.last[worker], url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.refreshes[worker]}})
}

func (p *userLoad) exchange(l *connection, worker int, c *oauth2.Config, form url.Values) error {
	a, err := l.sendExpecting(http.StatusOK, post(hostOf(p.env.Issuer), "/token", basic(c.ClientID, c.ClientSecret), form))
	if err != nil {
		return err
	}
	var tokens struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(a.body, &tokens); err != nil {
		return err
	}
	if tokens.RefreshToken = cmp.Or(tokens.RefreshToken, form.Get("refresh_token")); tokens.RefreshToken == "" {
		return errors.New("the answer has no refresh token")
	}
	p.refreshes[worker], p.last[worker] = tokens.RefreshToken, c
	return nil
}

func inMemory(*testing.B, *v1alpha1.AuthorizationServer) *store {
	return &store{
		floor:   func(*testing.B, *testenv.Env) []string { return nil },
		written: func(*testing.B) float64 { return 0 }, unit: "writes",
		size: func(*testing.B, *testenv.Env) (bytes, grants float64) { return 0, 0 },
	}
}

func inKubernetes(*testing.B, *v1alpha1.AuthorizationServer) *store {
	return &store{
		floor: func(b *testing.B, env *testenv.Env) []string {
			kubeconfig, err := testenv.ControlPlane.WriteServiceAccountKubeconfig(b.Context(), env.ServerNamespace, "main-tokenserver", filepath.Join(b.TempDir(), "account"))
			if err != nil {
				b.Fatal(err)
			}
			return []string{"--kubeconfig", kubeconfig, "--namespace", env.ServerNamespace}
		},
		// etcd counts its writes: a resource version is the number of the last.
		written: func(b *testing.B) float64 {
			all := &corev1.NamespaceList{}
			if err := testenv.Kube.List(b.Context(), all); err != nil {
				b.Fatal(err)
			}
			var revision float64
			if _, err := fmt.Sscan(all.ResourceVersion, &revision); err != nil {
				b.Fatal(err)
			}
			return revision
		},
		unit: "writes",
		// An object is stored as JSON.
		size: func(b *testing.B, env *testenv.Env) (bytes, grants float64) {
			all := &v1alpha1.OAuthGrantList{}
			if err := testenv.Kube.List(b.Context(), all, client.InNamespace(env.ServerNamespace)); err != nil {
				b.Fatal(err)
			}
			for i := range all.Items {
				content, err := json.Marshal(&all.Items[i])
				if err != nil {
					b.Fatal(err)
				}
				bytes += float64(len(content))
			}
			return bytes, float64(len(all.Items))
		},
	}
}
