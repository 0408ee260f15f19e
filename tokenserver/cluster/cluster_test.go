package cluster_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster/clustertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

const issuer = "https://auth.example.com"

var api *clustertest.API

// connection is a Cluster that runs for a test.
type connection struct {
	*cluster.Cluster
	api         *clustertest.API
	registry    *registry.Registry
	keys        *keys.Set
	name        string
	metrics     *prometheus.Registry
	state       atomic.Pointer[cluster.ReplicaState]
	clockOffset atomic.Int64 // how far the clock is ahead, in nanoseconds
	stop        func()
}

func connect(t *testing.T, api *clustertest.API, name string, change ...func(*cluster.Config)) *connection {
	t.Helper()
	config, err := kubeclient.LoadConfig(api.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return connectBy(t, config, api, name, change...)
}

// connectBy connects by a configuration of the client of the API server.
func connectBy(t *testing.T, config *rest.Config, api *clustertest.API, name string, change ...func(*cluster.Config)) *connection {
	t.Helper()
	c := &connection{
		api: api, registry: registry.New(time.Now), keys: keys.NewSet(rand.Reader), name: name, metrics: prometheus.NewRegistry(),
	}
	c.state.Store(&cluster.ReplicaState{Problem: "starting"})
	options := cluster.Config{
		Namespace: clustertest.Namespace, ServerName: clustertest.ServerName, ServerUID: api.ServerUID, ReplicaName: name,
		Registry: c.registry, Keys: c.keys, State: func() cluster.ReplicaState { return *c.state.Load() },
		Now: c.now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: c.metrics,
	}
	for _, f := range change {
		f(&options)
	}
	var err error
	if c.Cluster, err = cluster.New(config, options); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	c.stop = func() { cancel(); running.Wait() }
	t.Cleanup(c.stop)
	return c
}

func (c *connection) now() time.Time { return time.Now().Add(time.Duration(c.clockOffset.Load())) }

func (c *connection) replicaSpec(t *testing.T) internalv1alpha1.ReplicaSpec {
	t.Helper()
	if r := c.api.Replica(t, c.name); r != nil {
		return r.Spec
	}
	return internalv1alpha1.ReplicaSpec{}
}

func (c *connection) waitForApplied(t *testing.T, version string) {
	t.Helper()
	eventually.True(t, "the Replica says that version "+version+" is applied", func() bool {
		return isAtLeast(c.replicaSpec(t).AppliedResourceVersion, version)
	})
}

// isAtLeast compares resource versions, which are numbers.
func isAtLeast(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a >= b }

func (c *connection) metricValue(t *testing.T, name string) float64 {
	t.Helper()
	families, err := c.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func server(uid string) documents.Server {
	return documents.Server{
		UID: uid, Namespace: clustertest.Namespace, Name: clustertest.ServerName, Issuer: issuer, AccessTokenLifetime: 300,
		Algorithms: []string{"RS256"},
		AllowedClients: []documents.ClientRule{{
			Name: "all", Namespaces: documents.Namespaces{All: true}, GrantTypes: []string{"client_credentials"}, Scopes: []string{"*"}, Consent: []string{"Required"},
		}},
	}
}

func client(n int) documents.Client {
	return documents.Client{
		UID: fmt.Sprint("client-", n), Namespace: "shop", Name: fmt.Sprint("c", n), ID: fmt.Sprint("shop.c", n), GrantTypes: []string{"client_credentials"},
		AuthMethod: "client_secret_basic", PKCE: "Required", Consent: "Required", IDTokenAlg: "RS256",
	}
}

func TestTheClusterIsServedAsItChanges(t *testing.T) {
	api = clustertest.Start(t, issuer)
	t.Run("every change is served and said", testChanges)
	t.Run("a bad entry hurts no other", testBadEntry)
	t.Run("an entry of another server is not served", testOtherServer)
	t.Run("the server's document sets the keys", testKeys)
	t.Run("the Replica says what the process says", testState)
	t.Run("a Replica that was deleted comes back", testDeleted)
	t.Run("uses of credentials are written once an hour", testUsage)
	t.Run("a process that was killed is said not to have told all", testKilled)
	t.Run("identity providers that are away are named until they are back", testProviderProblems)
	t.Run("the replicas are counted for a directory", testLiveReplicas)
	t.Run("many changes cause few writes", testDebounce)
	t.Run("an orderly end takes the Replica away", testLeave)
	t.Run("an outage is survived", testOutage) // last: it restarts the API server
}

func testChanges(t *testing.T) {
	version := api.Put(t, server(api.ServerUID), client(1))
	c := connect(t, api, "changes")
	c.waitForApplied(t, version)
	if _, ok := c.registry.Client("shop.c1"); !ok || !c.registry.HasSynced() {
		t.Fatal("what was there first is not served")
	}
	for step, change := range map[string]func() string{
		"created": func() string { return api.Put(t, client(2)) },
		"changed": func() string { second := client(2); second.DisplayName = "new"; return api.Put(t, second) },
	} {
		began := time.Now()
		c.waitForApplied(t, change())
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: said after %s", step, took)
		}
		if _, ok := c.registry.Client("shop.c2"); !ok {
			t.Errorf("%s: said to be applied, and not served", step)
		}
	}
	api.Delete(t, client(2))
	eventually.True(t, "a deleted client is refused", func() bool { _, ok := c.registry.Client("shop.c2"); return !ok })

	s := c.replicaSpec(t)
	if s.ServerUID != types.UID(api.ServerUID) || !slices.Equal(s.Formats, documents.Formats()) {
		t.Errorf("the Replica says %+v", s)
	}
	r := api.Replica(t, "changes")
	if r.Labels[internalv1alpha1.ServerUIDLabel] != api.ServerUID || len(r.OwnerReferences) != 1 || string(r.OwnerReferences[0].UID) != api.ServerUID {
		t.Errorf("the Replica is not tied to its server: %+v", r.ObjectMeta)
	}
	if age := c.metricValue(t, "oauth_operator_tokenserver_served_state_age_seconds"); age < 0 || age > 15 {
		t.Errorf("served state is %v seconds old", age)
	}
}

func testProviderProblems(t *testing.T) {
	c := connect(t, api, "providers")
	for _, problems := range [][]cluster.IdentityProviderProblem{
		{{ProviderUID: "uid-acme", Reason: "Unreachable", Address: "10.0.0.1"}, {ProviderUID: "uid-globex", Reason: "ClientRefused"}}, nil,
	} {
		c.state.Store(&cluster.ReplicaState{Ready: true, IdentityProviderProblems: problems})
		c.WriteReplicaSoon()
		eventually.True(t, "the Replica says so", func() bool {
			said := c.replicaSpec(t)
			return said.Ready && slices.EqualFunc(said.IdentityProviderProblems, problems, func(a internalv1alpha1.IdentityProviderProblem, b cluster.IdentityProviderProblem) bool {
				return string(a.ProviderUID) == b.ProviderUID && a.Reason == b.Reason && a.Address == b.Address
			})
		})
	}
}

func testBadEntry(t *testing.T) {
	c := connect(t, api, "bad")
	version := api.Put(t, server(api.ServerUID), client(1), client(3))
	c.waitForApplied(t, version)
	bad := internalv1alpha1.EntrySpec{
		Space: "identity", Value: "shop.c3", Format: "client/v9", Document: `{"secret":1}`,
		Owner: internalv1alpha1.Owner{Kind: "OAuthClient", Name: "c3", UID: "client-3"},
	}
	version = api.PutEntry(t, bad)
	c.waitForApplied(t, version)
	eventually.True(t, "the rejection is said", func() bool {
		rejected := c.replicaSpec(t).Rejected
		return len(rejected) == 1 && rejected[0].Name == clustertest.EntryName(bad) && rejected[0].ResourceVersion == version &&
			strings.Contains(rejected[0].Reason, "client/v9") && !strings.Contains(rejected[0].Reason, "secret")
	})
	if _, ok := c.registry.Client("shop.c3"); ok {
		t.Error("what the entry said before is still served")
	}
	if _, ok := c.registry.Client("shop.c1"); !ok {
		t.Error("another client is refused")
	}
	if n := c.metricValue(t, "oauth_operator_tokenserver_rejected_entries"); n != 1 {
		t.Errorf("the metric says %v rejections", n)
	}

	again := connect(t, api, "bad-2") // a list, as after a restart, instead of a change
	again.waitForApplied(t, version)
	if rejected := again.replicaSpec(t).Rejected; len(rejected) != 1 || rejected[0].ResourceVersion != version {
		t.Errorf("after a restart: %+v", rejected)
	}
	if _, ok := again.registry.Client("shop.c1"); !ok {
		t.Error("after a restart another client is refused")
	}

	c.waitForApplied(t, api.Put(t, client(3)))
	eventually.True(t, "a repaired entry is rejected no more", func() bool { return len(c.replicaSpec(t).Rejected) == 0 })
	if _, ok := c.registry.Client("shop.c3"); !ok {
		t.Error("a repaired entry is not served")
	}
}

func testOtherServer(t *testing.T) {
	c := connect(t, api, "other")
	foreign := internalv1alpha1.EntrySpec{
		ServerUID: "another", Space: "scope", Value: "foreign", Owner: internalv1alpha1.Owner{Kind: "ResourceServer", Name: "x", UID: "x"},
	}
	version := api.PutEntry(t, foreign)
	c.waitForApplied(t, version)
	eventually.True(t, "it is rejected", func() bool {
		rejected := c.replicaSpec(t).Rejected
		return len(rejected) == 1 && strings.Contains(rejected[0].Reason, "another server")
	})
	foreign.ServerUID = types.UID(api.ServerUID)
	c.waitForApplied(t, api.PutEntry(t, foreign))
}

func testKeys(t *testing.T) {
	c := connect(t, api, "keys")
	dir := t.TempDir()
	kid, content, err := keys.GenerateSigning("RS256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, kid+".pem"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.keys.LoadDir(dir); err != nil {
		t.Fatal(err)
	}
	s := server(api.ServerUID)
	s.Keys = []documents.Key{{KID: kid, Algorithm: "RS256", Phase: documents.KeyActive}}
	c.waitForApplied(t, api.Put(t, s))
	if _, err := c.keys.Sign("RS256", "JWT", struct{}{}); err != nil {
		t.Errorf("the document is applied, and its key does not sign: %v", err)
	}
	s.RevokedKeys = []string{kid}
	c.waitForApplied(t, api.Put(t, s))
	if _, err := c.keys.Sign("RS256", "JWT", struct{}{}); err == nil {
		t.Error("the document is applied, and a revoked key signs")
	}
	c.waitForApplied(t, api.Put(t, server(api.ServerUID)))
}

func testState(t *testing.T) {
	c := connect(t, api, "state")
	c.state.Store(&cluster.ReplicaState{Problem: strings.Repeat("ä", 5000), Keys: []string{"k1"}})
	c.WriteReplicaSoon()
	eventually.True(t, "a problem is said, cut to what the schema takes", func() bool {
		s := c.replicaSpec(t)
		return !s.Ready && len(s.Problem) == 4096 && slices.Equal(s.Keys, []string{"k1"})
	})
	c.state.Store(&cluster.ReplicaState{Ready: true, Keys: []string{"k1", "k2"}})
	began := time.Now()
	c.WriteReplicaSoon()
	eventually.True(t, "readiness is said", func() bool { s := c.replicaSpec(t); return s.Ready && s.Problem == "" && len(s.Keys) == 2 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("readiness was said after %s", took)
	}
	c.state.Store(&cluster.ReplicaState{})
	c.WriteReplicaSoon()
	eventually.True(t, "what is gone is said no more", func() bool { s := c.replicaSpec(t); return !s.Ready && len(s.Keys) == 0 })
}

func testDeleted(t *testing.T) {
	c := connect(t, api, "deleted")
	eventually.True(t, "there is a Replica", func() bool { return api.Replica(t, "deleted") != nil })
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.WriteReplicaSoon()
	eventually.True(t, "there is a Replica again", func() bool { return api.Replica(t, "deleted") != nil })
}

func testUsage(t *testing.T) {
	c := connect(t, api, "usage")
	eventually.True(t, "there is a Replica", func() bool { return api.Replica(t, "usage") != nil })
	size := len(encoded(t, api.Replica(t, "usage")))
	use := func(n int) registry.CredentialUse {
		return registry.CredentialUse{ClientUID: fmt.Sprint("client-", n), CredentialID: "c1"}
	}
	uses := func() []internalv1alpha1.CredentialUse {
		if u := api.Usage(t, "usage"); u != nil {
			return u.Spec.Uses
		}
		return nil
	}
	c.RecordUse(use(0))
	if uses() != nil {
		t.Error("written at once, and not with those that follow")
	}
	c.clockOffset.Store(int64(time.Minute))
	eventually.True(t, "the first use is written within a minute", func() bool { return len(uses()) == 1 })
	u := api.Usage(t, "usage")
	first := u.Spec.Uses[0]
	if first.Owner != "client-0" || first.ID != "c1" || first.Time.Minute() != 0 || c.now().Sub(first.Time.Time) > 2*time.Hour {
		t.Errorf("use %+v", first)
	}
	if u.Labels[internalv1alpha1.ServerUIDLabel] != api.ServerUID || len(u.OwnerReferences) != 1 || string(u.OwnerReferences[0].UID) != api.ServerUID {
		t.Errorf("the Usage is not tied to its server: %+v", u.ObjectMeta)
	}
	missing := map[types.UID]bool{}
	for n := range 1500 {
		missing[types.UID(use(n+1).ClientUID)] = true
		c.RecordUse(use(n + 1))
	}
	c.clockOffset.Store(int64(59 * time.Minute))
	time.Sleep(6 * time.Second) // longer than from one look to the next
	if version := api.Usage(t, "usage").ResourceVersion; version != u.ResourceVersion {
		t.Error("written again within the hour")
	}
	c.clockOffset.Store(int64(62 * time.Minute))
	eventually.True(t, "as many as fit are written an hour later", func() bool { return len(uses()) == internalv1alpha1.MaxUses })
	for _, use := range uses() {
		delete(missing, use.Owner)
	}
	c.clockOffset.Store(int64(123 * time.Minute))
	eventually.True(t, "the others come an hour after", func() bool {
		for _, use := range uses() {
			delete(missing, use.Owner)
		}
		return len(missing) == 0
	})
	if grown := len(encoded(t, api.Replica(t, "usage"))); grown > size+100 {
		t.Errorf("with the uses of 1,500 clients the Replica has %d bytes, before %d", grown, size)
	}

	c.RecordUse(use(2000))
	c.stop()
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := uses(); len(got) == 0 || got[0].Owner != "client-2000" {
		t.Errorf("after an orderly end the Usage lists %+v, want what was not written yet", got)
	}
}

// A process that was killed has not told of its last uses, and one that ended in order has.
func testKilled(t *testing.T) {
	usage := func() internalv1alpha1.UsageSpec {
		if u := api.Usage(t, "killed"); u != nil {
			return u.Spec
		}
		return internalv1alpha1.UsageSpec{}
	}
	begin := func() *connection {
		before := api.Usage(t, "killed")
		c := connect(t, api, "killed")
		eventually.True(t, "the process begins its Usage", func() bool {
			now := api.Usage(t, "killed")
			return now != nil && now.Spec.IncompleteUntil != nil && !now.Spec.Ended && (before == nil || now.ResourceVersion != before.ResourceVersion)
		})
		return c
	}
	c := begin()
	if at := usage().IncompleteUntil; at.Unix() != 0 {
		t.Errorf("of the first process uses may be missing until %s", at)
	}
	c.stop()
	if err := c.Shutdown(t.Context()); err != nil || !usage().Ended {
		t.Errorf("after an orderly end: %+v, %v", usage(), err)
	}
	c = begin()
	if at := usage().IncompleteUntil; at.Unix() != 0 {
		t.Errorf("after an orderly end uses may be missing until %s", at)
	}
	c.stop() // and nothing else
	began := time.Now().Truncate(time.Second)
	c = begin()
	if at := usage().IncompleteUntil; at.Time.Before(began) {
		t.Errorf("after a process that was killed, uses may be missing until %s", at)
	}
	c.stop()
	if err := c.Shutdown(t.Context()); err != nil || !usage().Ended || usage().IncompleteUntil.Time.Before(began) {
		t.Errorf("an orderly end makes up for what was lost before: %+v, %v", usage(), err)
	}
}

func encoded(t *testing.T, object any) []byte {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testDebounce(t *testing.T) {
	c := connect(t, api, "debounce")
	eventually.True(t, "there is a Replica", func() bool { return api.Replica(t, "debounce") != nil })
	first := api.Replica(t, "debounce").Generation
	began := time.Now()
	for time.Since(began) < time.Second {
		c.WriteReplicaSoon()
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	if writes := api.Replica(t, "debounce").Generation - first; writes < 2 || writes > 14 {
		t.Errorf("%d writes in a second", writes)
	}
}

func testLeave(t *testing.T) {
	c := connect(t, api, "leaving")
	eventually.True(t, "there is a Replica", func() bool { return api.Replica(t, "leaving") != nil })
	c.stop()
	for range 2 { // the second time there is none
		if err := c.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if api.Replica(t, "leaving") != nil {
			t.Error("the Replica is still there")
		}
	}
}

func testOutage(t *testing.T) {
	version := api.Put(t, server(api.ServerUID), client(1))
	c := connect(t, api, "outage")
	c.waitForApplied(t, version)
	api.StopAPIServer()
	c.clockOffset.Store(int64(time.Minute))
	if _, ok := c.registry.Client("shop.c1"); !ok {
		t.Error("without the API server nothing is served")
	}
	if age := c.metricValue(t, "oauth_operator_tokenserver_served_state_age_seconds"); age < 45 || math.IsInf(age, 0) {
		t.Errorf("after a minute without the API server the served state is %v seconds old", age)
	}
	if err := api.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.waitForApplied(t, api.Put(t, client(9)))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the connection recovered %s after the API server", took)
	}
	if _, ok := c.registry.Client("shop.c9"); !ok {
		t.Error("what was written after the outage is not served")
	}
	eventually.True(t, "the served state is young again", func() bool {
		return c.metricValue(t, "oauth_operator_tokenserver_served_state_age_seconds") < 15
	})
}

// So it is deleted with its Pod, and the manager does not wait for it.
func TestAReplicaBelongsToItsPod(t *testing.T) {
	api := clustertest.Start(t, "https://auth.example.com")
	connect(t, api, "in-a-pod", func(o *cluster.Config) { o.PodUID = "pod-uid" })
	eventually.True(t, "the Pod owns the Replica", func() bool {
		r := api.Replica(t, "in-a-pod")
		return r != nil && len(r.OwnerReferences) == 1 && r.OwnerReferences[0].Kind == "Pod" && r.OwnerReferences[0].Name == "in-a-pod" &&
			r.OwnerReferences[0].UID == "pod-uid"
	})
}

func testLiveReplicas(t *testing.T) {
	directory := documents.IdentityProvider{
		UID: "directory", Namespace: clustertest.Namespace, Name: "directory", Type: documents.ProviderLDAP, Realm: "directory", SubjectAttribute: "entryUUID",
		LDAP: &documents.LDAPProvider{URL: "ldaps://ldap.acme.example"}, Allow: "true",
	}
	first := connect(t, api, "live-1")
	eventually.True(t, "there is a Replica", func() bool { return api.Replica(t, "live-1") != nil })
	if n := first.LiveReplicas(time.Minute); n != math.MaxInt {
		t.Errorf("without a directory there are %d replicas, want that it is not known", n)
	}
	_ = api.Put(t, directory)
	defer api.Delete(t, directory)
	second := connect(t, api, "live-2")
	eventually.True(t, "a directory is served", func() bool { return len(second.registry.IdentityProviders()) == 1 })
	eventually.True(t, "the replicas are counted", func() bool { n := second.LiveReplicas(time.Minute); return n >= 2 && n < math.MaxInt })
}
