package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
)

// What the samples contain.
const (
	serverName      = "demo"
	serverNamespace = "demo"
	clientNamespace = "demo-apps"
	userName        = "alice"
)

func runCommand(ctx context.Context, p paths, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	verbose := flags.Bool("v", false, "show the log lines of the manager and the token servers here too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return run(ctx, p, *verbose, os.Stdout)
}

func run(ctx context.Context, p paths, verbose bool, out io.Writer) error {
	binaries, err := linkPrograms(ctx, p, out)
	if err != nil {
		return err
	}
	printLine(out, "starting a control plane (Kubernetes %s)", controlplane.Version)
	cp, err := controlplane.Start(ctx, controlplane.Options{Binaries: binaries, DataDir: filepath.Join(p.data(), "controlplane"), Log: out})
	if err != nil {
		return err
	}
	defer cp.Stop()
	logs, err := openLogs(p, verbose, out) // not before: they may be those of another run, which has the control plane's data
	if err != nil {
		return err
	}
	defer logs.close()
	if err := cp.WriteKubeconfig(p.kubeconfig()); err != nil {
		return err
	}

	printLine(out, "starting the operator")
	op, err := operator.Start(ctx, operator.Options{
		ControlPlane: cp,
		Programs:     operator.Programs{Manager: filepath.Join(p.local(), "manager"), TokenServer: filepath.Join(p.local(), "tokenserver")},
		Dir:          p.data(),
		ManagerLog:   logs.manager, TokenServerLog: logs.tokenServer,
	})
	if err != nil {
		return err
	}
	defer func() {
		printLine(out, "\nstopping")
		op.Stop()
	}()

	printLine(out, "applying config/samples")
	if err := cp.ApplyDir(ctx, "samples", filepath.Join(p.root, "config", "samples")); err != nil {
		return err
	}
	kube, err := newClient(cp.AdminConfig())
	if err != nil {
		return err
	}
	if err := waitForSamples(ctx, kube, op, cp.Failed(), out); err != nil {
		return err
	}
	if err := printFlows(ctx, kube, p, out); err != nil {
		return err
	}

	select {
	case err := <-cp.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

// waitForSamples returns when the sample server is available and all its clients are ready. Every
// ten seconds it prints what it waits for, if that has changed: the user may have to act, for
// example when another program uses the port.
func waitForSamples(ctx context.Context, kube client.Client, op *operator.Operator, failed <-chan error, out io.Writer) error {
	printLine(out, "waiting for the AuthorizationServer %s/%s and its clients", serverNamespace, serverName)
	lastPrinted, tick := "", time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for nextPrint := time.Now().Add(10 * time.Second); ; {
		missing, err := notReady(ctx, kube, op)
		if err != nil {
			missing = []string{err.Error()}
		}
		if len(missing) == 0 {
			return nil
		}
		if text := strings.Join(missing, "\n  "); text != lastPrinted && time.Now().After(nextPrint) {
			printLine(out, "still waiting:\n  %s", text)
			lastPrinted, nextPrint = text, time.Now().Add(10*time.Second)
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// notReady lists what keeps the samples from working: by their conditions, and by the token
// server's own word, for after a restart the conditions may still be those of the run before.
func notReady(ctx context.Context, kube client.Client, op *operator.Operator) ([]string, error) {
	var server v1alpha1.AuthorizationServer
	if err := kube.Get(ctx, client.ObjectKey{Namespace: serverNamespace, Name: serverName}, &server); err != nil {
		return nil, err
	}
	missing := describeUnmet("AuthorizationServer", &server, server.Status.Conditions, v1alpha1.ConditionAvailable)
	if replicas := op.Node.Replicas(serverNamespace, serverName); len(replicas) == 0 {
		missing = append(missing, "the token server has not been started yet")
	} else if err := probe(ctx, "http://"+replicas[0].Status()+"/readyz"); err != nil {
		missing = append(missing, fmt.Sprintf("the token server is not ready: %v", err))
	}
	var clients v1alpha1.OAuthClientList
	if err := kube.List(ctx, &clients, client.InNamespace(clientNamespace)); err != nil {
		return nil, err
	}
	for _, c := range clients.Items {
		missing = append(missing, describeUnmet("OAuthClient", &c, c.Status.Conditions, v1alpha1.ConditionReady)...)
	}
	return missing, nil
}

func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // only to say why
		return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// describeUnmet says why the condition is not True for the object's generation. Nil if it is.
func describeUnmet(kind string, o client.Object, conditions []metav1.Condition, wanted string) []string {
	name := fmt.Sprintf("%s %s/%s", kind, o.GetNamespace(), o.GetName())
	c := meta.FindStatusCondition(conditions, wanted)
	switch {
	case c == nil || c.ObservedGeneration != o.GetGeneration():
		return []string{name + ": the manager has not reported on it yet"}
	case c.Status == metav1.ConditionTrue:
		return nil
	}
	reasons := []string{fmt.Sprintf("%s is not %s: %s: %s", name, wanted, c.Reason, c.Message)}
	for _, other := range conditions {
		if other.Type != wanted && other.Status != metav1.ConditionTrue {
			reasons = append(reasons, fmt.Sprintf("  %s=%s: %s: %s", other.Type, other.Status, other.Reason, other.Message))
		}
	}
	return reasons
}

// logs are the files that the programs' output goes to.
type logs struct {
	manager, tokenServer io.Writer
	files                []*os.File
}

func openLogs(p paths, verbose bool, out io.Writer) (*logs, error) {
	if err := os.MkdirAll(p.logs(), 0o755); err != nil {
		return nil, err
	}
	l := &logs{}
	open := func(name string) (io.Writer, error) {
		f, err := os.Create(filepath.Join(p.logs(), name))
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, f)
		if verbose {
			return io.MultiWriter(f, out), nil
		}
		return f, nil
	}
	var err error
	if l.manager, err = open("manager.log"); err != nil {
		return nil, err
	}
	l.tokenServer, err = open("tokenserver.log")
	return l, err
}

func (l *logs) close() {
	for _, f := range l.files {
		_ = f.Close() // what they hold is only read by people, and was written long ago
	}
}

func printLine(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format+"\n", args...) // the terminal may be gone
}
