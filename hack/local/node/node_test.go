package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
)

// The test binary is the program that the node runs: one that tells what it was given. What the
// node does is the same for any program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--namespace=") {
		tell()
		return
	}
	os.Exit(m.Run())
}

// given is what the program answers on its status address.
type given struct {
	PID     int
	Args    map[string]string
	Keys    map[string]string
	TLS     map[string]string
	User    string // whom the API server takes it for
	Sampler string // a variable of its environment
}

func tell() {
	args := map[string]string{}
	for _, arg := range os.Args[1:] {
		flag, value, _ := strings.Cut(arg, "=")
		args[flag] = value // the last one counts
	}
	fmt.Println("hello")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		if os.Getenv("NODE_TEST_STUBBORN") == "" {
			fmt.Println("goodbye")
			os.Exit(0)
		}
	}()
	err := http.ListenAndServe(args["--status-listen"], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := whoAmI(r.Context(), args["--kubeconfig"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(given{
			PID: os.Getpid(), Args: args, Keys: contents(args["--keys-dir"]), TLS: contents(args["--tls-dir"]), User: user,
			Sampler: os.Getenv("OTEL_TRACES_SAMPLER"),
		})
	}))
	fmt.Println(err)
	os.Exit(1)
}

func whoAmI(ctx context.Context, kubeconfig string) (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return review.Status.UserInfo.Username, nil
}

func contents(dir string) map[string]string {
	files := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if content, err := os.ReadFile(filepath.Join(dir, entry.Name())); err == nil {
			files[entry.Name()] = string(content)
		}
	}
	return files
}

// cluster is a control plane with the kinds installed and a node that runs on it.
type cluster struct {
	*controlplane.ControlPlane
	client kubernetes.Interface
	node   *Node
	dir    string
	log    *logBuffer
}

func startCluster(t *testing.T, replicas int) *cluster {
	t.Helper()
	cp := controlplanetest.Start(t)
	if err := cp.InstallCRDs(t.Context(), "../../../config/crd/bases"); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{ControlPlane: cp, client: client, dir: t.TempDir(), log: &logBuffer{}}
	if c.node, err = Start(Options{Config: cp.AdminConfig(), Program: os.Args[0], Dir: c.dir, Replicas: replicas, Log: c.log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.node.Stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the node's log:\n%s", c.log)
		}
	})
	return c
}

func (c *cluster) apply(t *testing.T, documents string) {
	t.Helper()
	if err := c.Apply(t.Context(), "test", []byte(documents)); err != nil {
		t.Fatal(err)
	}
}

// applyServer applies an AuthorizationServer, and the Deployment that the operator makes of it.
func (c *cluster) applyServer(t *testing.T, spec string) {
	t.Helper()
	c.apply(t, server(spec))
	var s v1alpha1.AuthorizationServer
	content, err := c.client.CoreV1().RESTClient().Get().AbsPath(serverPath).Do(t.Context()).Raw()
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := workload.Deployment(&s, "localhost/none")
	workload.SetVariables(d, []corev1.EnvVar{{Name: "OTEL_TRACES_SAMPLER", Value: "always_off"}})
	c.applyDeployment(t, d)
}

func (c *cluster) applyDeployment(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	d.ManagedFields, d.ResourceVersion, d.Status = nil, "", appsv1.DeploymentStatus{}
	content, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, string(content))
}

func (c *cluster) deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	d, err := c.client.AppsV1().Deployments("demo").Get(t.Context(), "main-tokenserver", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	return d
}

func (c *cluster) deleteServer(t *testing.T) {
	t.Helper()
	err := c.client.CoreV1().RESTClient().Delete().AbsPath(serverPath).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // the garbage collector removes it
		if _, err := c.client.AppsV1().Deployments("demo").Get(t.Context(), "main-tokenserver", metav1.GetOptions{}); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the Deployment outlives its AuthorizationServer")
		}
	}
}

// waitForReplica waits until the first replica answers with what is expected.
func (c *cluster) waitForReplica(t *testing.T, description string, isExpected func(given) bool) given {
	t.Helper()
	var last given
	err := errors.New("nothing runs")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		replicas := c.node.Replicas("demo", "main")
		if len(replicas) == 0 {
			continue
		}
		if last, err = ask(replicas[0]); err == nil && isExpected(last) {
			return last
		}
	}
	t.Fatalf("not in time: %s; last seen: %+v (%v)", description, last, err)
	return given{}
}

func ask(r *Replica) (given, error) {
	var g given
	response, err := http.Get("http://" + r.Status())
	if err != nil {
		return g, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	if err == nil {
		err = json.Unmarshal(body, &g)
	}
	return g, err
}

type logBuffer struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.String()
}

func exists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

const serverPath = "/apis/oauth-operator.dev/v1alpha1/namespaces/demo/authorizationservers/main"

func server(spec string) string {
	return "apiVersion: oauth-operator.dev/v1alpha1\nkind: AuthorizationServer\nmetadata: {name: main, namespace: demo}\nspec: " + spec + "\n"
}

func secret(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: demo}\nstringData: {%s}\n", name, value)
}

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n"

const account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: main-tokenserver, namespace: demo}\n"

func TestATokenServerLivesAsItsDeploymentSays(t *testing.T) {
	c := startCluster(t, 1)
	always := func(given) bool { return true }
	c.apply(t, namespace)
	c.applyServer(t, "{issuer: 'http://127.0.0.1:18080'}")
	time.Sleep(300 * time.Millisecond)
	if running := c.node.Replicas("demo", "main"); len(running) > 0 {
		t.Fatal("it runs before its keys and its ServiceAccount are there")
	}

	c.apply(t, account+"---\n"+secret("main-tokenserver-keys", "a: one"))
	first := c.waitForReplica(t, "it runs", always)
	replica := c.node.Replicas("demo", "main")[0]
	for flag, want := range map[string]string{
		"--namespace": "demo", "--server-name": "main", "--replica-name": replica.Name(),
		"--listen": "127.0.0.1:18080", "--status-listen": replica.Status(), "--tls-dir": "", "--storage": "kubernetes",
	} {
		if first.Args[flag] != want {
			t.Errorf("%s is %q, want %q", flag, first.Args[flag], want)
		}
	}
	if first.Keys["a"] != "one" {
		t.Errorf("its keys are %v", first.Keys)
	}
	if first.Sampler != "always_off" {
		t.Errorf("the variable of the template is %q", first.Sampler)
	}
	if want := "system:serviceaccount:demo:main-tokenserver"; first.User != want {
		t.Errorf("it is %s, want %s", first.User, want)
	}
	c.isReady(t, 2)

	t.Run("a changed Secret is in its files within a second", func(t *testing.T) {
		c.apply(t, secret("main-tokenserver-keys", "a: two, b: new"))
		began := time.Now()
		g := c.waitForReplica(t, "both keys are there", func(g given) bool { return g.Keys["a"] == "two" && g.Keys["b"] == "new" })
		if took := time.Since(began); took > time.Second {
			t.Errorf("that took %s", took)
		}
		if g.PID != first.PID {
			t.Error("it was restarted")
		}
	})
	t.Run("a label and another number of replicas change no process", func(t *testing.T) {
		d := c.deployment(t)
		d.Labels["a"], d.Spec.Replicas = "b", new(int32(5))
		c.applyDeployment(t, d)
		c.isReady(t, 5)
		if g := c.waitForReplica(t, "it runs", always); g.PID != first.PID {
			t.Error("it was restarted")
		}
	})
	t.Run("one that is killed runs again", func(t *testing.T) {
		if err := replica.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.waitForReplica(t, "another process runs", func(g given) bool { return g.PID != first.PID })
		c.isReady(t, 5)
	})
	t.Run("one that is restarted runs again at once", func(t *testing.T) {
		before := c.waitForReplica(t, "it runs", always)
		if err := replica.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.waitForReplica(t, "another process runs", func(g given) bool { return g.PID != before.PID })
		if !strings.Contains(c.log.String(), "demo/"+replica.Name()+": goodbye\n") {
			t.Error("it had no chance to end in order")
		}
	})
	t.Run("none runs when it is scaled to 0", func(t *testing.T) {
		before := c.waitForReplica(t, "it runs", always)
		d := c.deployment(t)
		d.Spec.Replicas = new(int32(0))
		c.applyDeployment(t, d)
		c.isReady(t, 0)
		for deadline := time.Now().Add(5 * time.Second); exists(before.PID); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the process is still there")
			}
		}
	})
	t.Run("another storage is another process", func(t *testing.T) {
		c.applyServer(t, "{issuer: 'http://127.0.0.1:18080', storage: {type: Memory}}")
		c.waitForReplica(t, "it runs with the other", func(g given) bool { return g.Args["--storage"] == "memory" })
	})
	t.Run("TLS is another directory and another process, and the certificate may come later", func(t *testing.T) {
		c.applyServer(t, "{issuer: 'http://127.0.0.1:18080', tls: {secretName: cert}}")
		before := c.waitForReplica(t, "it runs without its certificate", func(g given) bool { return g.Args["--tls-dir"] != "" && g.TLS["tls.crt"] == "" })
		c.apply(t, secret("cert", "tls.crt: c, tls.key: k"))
		g := c.waitForReplica(t, "it has its certificate", func(g given) bool { return g.TLS["tls.crt"] == "c" && g.TLS["tls.key"] == "k" })
		if g.Keys["a"] != "two" || g.PID != before.PID {
			t.Errorf("its keys are %v, it is process %d and was %d", g.Keys, g.PID, before.PID)
		}
	})
	t.Run("one that is created again is another one", func(t *testing.T) {
		before := c.waitForReplica(t, "it runs", always)
		c.deleteServer(t)
		c.applyServer(t, "{issuer: 'http://[::1]:18081'}")
		g := c.waitForReplica(t, "another process runs", func(g given) bool { return g.PID != before.PID })
		if g.Args["--server-uid"] == before.Args["--server-uid"] || g.Args["--listen"] != "[::1]:18081" {
			t.Errorf("it runs with %v", g.Args)
		}
		if exists(before.PID) {
			t.Error("the one before still runs")
		}
	})
	t.Run("one that is deleted leaves nothing", func(t *testing.T) {
		before := c.waitForReplica(t, "it runs", always)
		c.deleteServer(t)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			_, err := os.Stat(filepath.Join(c.dir, "demo", "main-tokenserver"))
			if os.IsNotExist(err) && !exists(before.PID) && len(c.pods(t)) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d, its directory (%v) or a Pod (%v) is still there", before.PID, err, c.pods(t))
			}
		}
	})
}

// isReady waits until the Deployment is rolled out with so many Pods, as its status says.
func (c *cluster) isReady(t *testing.T, replicas int32) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		d := c.deployment(t)
		s := &d.Status
		ready := 0
		for _, pod := range c.pods(t) {
			for _, condition := range pod.Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		if s.ObservedGeneration == d.Generation && s.AvailableReplicas == replicas && s.UpdatedReplicas == replicas && s.Replicas == replicas &&
			(ready > 0) == (replicas > 0) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not rolled out with %d replicas: generation %d, status %+v, %d ready Pods", replicas, d.Generation, s, ready)
		}
	}
}

func (c *cluster) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := c.client.CoreV1().Pods("demo").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

func TestEachReplicaHasAPortOfItsOwn(t *testing.T) {
	c := startCluster(t, 3)
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, namespace+"---\n"+account+"---\n"+secret("main-tokenserver-keys", "a: one"))
	c.applyServer(t, fmt.Sprintf("{issuer: 'http://localhost:%d/path'}", port))
	for len(c.node.Replicas("demo", "main")) < 3 {
		time.Sleep(10 * time.Millisecond)
	}
	replicas := c.node.Replicas("demo", "main")
	var pids []int
	seen := map[string]bool{}
	for _, r := range replicas {
		seen[r.Name()], seen[r.Listen()], seen[r.Status()] = true, true, true
		pids = append(pids, r.PID())
	}
	if len(seen) != 9 || replicas[0].Listen() != net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) {
		t.Errorf("names and addresses are %v", seen)
	}

	c.node.Stop()
	if slices.ContainsFunc(pids, exists) {
		t.Error("a process is left after Stop")
	}
}

func TestATokenServerThatIgnoresTheSignalIsKilled(t *testing.T) {
	t.Setenv("NODE_TEST_STUBBORN", "yes")
	c := startCluster(t, 1)
	c.apply(t, namespace+"---\n"+account+"---\n"+secret("main-tokenserver-keys", "a: one"))
	c.applyServer(t, "{issuer: 'http://127.0.0.1:18082'}")
	g := c.waitForReplica(t, "it runs", func(given) bool { return true })
	began := time.Now()
	c.node.Stop()
	if took := time.Since(began); took < 14*time.Second || took > 20*time.Second || exists(g.PID) {
		t.Errorf("stopping took %s, and the process exists: %v", took, exists(g.PID))
	}
}

func TestATokenServerListensWhereItsIssuerSays(t *testing.T) {
	for issuer, want := range map[string]string{
		"http://127.0.0.1:8080":                "127.0.0.1:8080",
		"http://127.0.0.2:8080/a":              "127.0.0.2:8080",
		"http://[::1]:8080":                    "[::1]:8080",
		"http://localhost":                     "127.0.0.1:80",
		"https://auth.example.com":             "127.0.0.1:443",
		"https://auth.example.com:8443/tenant": "127.0.0.1:8443",
		"https://203.0.113.7":                  "127.0.0.1:443",
	} {
		if got, err := listenAddress(issuer); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", issuer, got, err, want)
		}
	}
}
