package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/person"
)

// asDev makes the test binary the program that the printed commands call.
const asDev = "DEV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asDev) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryPrintedCommandWorks(t *testing.T) {
	root := t.TempDir()
	p := paths{root}
	kube, issuer := startSamples(t, p)

	var server v1alpha1.AuthorizationServer
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: serverNamespace, Name: serverName}, &server); err != nil {
		t.Fatal(err)
	}
	var clients v1alpha1.OAuthClientList
	if err := kube.List(t.Context(), &clients, client.InNamespace(clientNamespace)); err != nil {
		t.Fatal(err)
	}
	tools := []string{dev + " request"}
	if _, err := exec.LookPath("curl"); err == nil {
		tools = append(tools, "curl -sS")
	}
	grants := map[string]bool{}
	for _, tool := range tools {
		for _, f := range flows(issuer, tool, clients.Items) {
			kind, _, _ := strings.Cut(f.title, ":")
			grants[kind] = true
			if strings.HasPrefix(f.commands[0], dev+" login") {
				if tool == tools[0] {
					t.Run(f.title, func(t *testing.T) { playLogin(t, p, f.commands[0], issuer) })
				}
				continue
			}
			t.Run(f.title+" ("+tool+")", func(t *testing.T) { playRequest(t, p, f.commands) })
		}
	}
	if len(grants) != 5 {
		t.Errorf("want commands for five flows, got %v", grants)
	}
}

// playRequest pastes the commands into a shell; the last of them must print a token response.
func playRequest(t *testing.T, p paths, commands []string) {
	t.Helper()
	shell := exec.Command("/bin/sh", "-c", strings.Join(commands, "\n"))
	shell.Dir, shell.Env = p.root, append(os.Environ(), asDev+"=yes")
	var stderr bytes.Buffer
	shell.Stderr = &stderr
	output, err := shell.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(output, &answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("it printed %s%s", output, stderr.String())
	}
}

// playLogin runs the command and signs in at the URL that it prints.
func playLogin(t *testing.T, p paths, command, issuer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reader, writer := io.Pipe()
	var printed bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := loginCommand(ctx, p, strings.Fields(command)[2:], io.MultiWriter(writer, &printed))
		_ = writer.CloseWithError(io.EOF)
		ended <- err
	}()
	go func() {
		buffer, seen := make([]byte, 4<<10), ""
		for {
			n, err := reader.Read(buffer)
			if seen += string(buffer[:n]); err != nil {
				return
			}
			if address := regexp.MustCompile(regexp.QuoteMeta(issuer) + `\S+\n`).FindString(seen); address != "" {
				go func() { _, _ = io.Copy(io.Discard, reader) }()
				b, err := person.New()
				if err == nil {
					err = b.SignIn(strings.TrimSpace(address), issuer, "alice", "wonderland-demo")
				}
				if err != nil {
					t.Error(err)
					cancel()
				}
				return
			}
		}
	}()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, printed.String())
	}
	if !strings.Contains(printed.String(), "access_token") || !strings.Contains(printed.String(), "Alice Liddell") {
		t.Errorf("it printed\n%s", printed.String())
	}
}

// startSamples starts what `make run` starts, with the samples moved to free ports.
func startSamples(t *testing.T, p paths) (client.Client, string) {
	t.Helper()
	if err := os.MkdirAll(p.local(), 0o755); err != nil {
		t.Fatal(err)
	}
	programs, err := operator.Build(t.Context(), p.local())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(p.local(), "dev")); err != nil {
		t.Fatal(err)
	}
	binaries, err := linkPrograms(t.Context(), p, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Binaries: binaries, NoFsync: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	if err := cp.WriteKubeconfig(p.kubeconfig()); err != nil {
		t.Fatal(err)
	}
	l, err := openLogs(p, false, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	op, err := operator.Start(t.Context(), operator.Options{
		ControlPlane: cp, Programs: programs, Dir: p.data(), ManagerLog: l.manager, TokenServerLog: l.tokenServer,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Stop)
	t.Cleanup(func() { showLogs(t, p) })

	samples, issuer := movedSamples(t)
	if err := cp.Apply(t.Context(), "samples", samples); err != nil {
		t.Fatal(err)
	}
	kube, err := newClient(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := waitForSamples(ctx, kube, op, cp.Failed(), os.Stderr); err != nil {
		t.Fatal(err)
	}
	return kube, issuer
}

func showLogs(t *testing.T, p paths) {
	if !t.Failed() {
		return
	}
	for _, name := range []string{"manager.log", "tokenserver.log"} {
		if content, err := os.ReadFile(filepath.Join(p.logs(), name)); err == nil {
			t.Logf("%s:\n%s", name, content)
		}
	}
}

func movedSamples(t *testing.T) ([]byte, string) {
	t.Helper()
	root, err := controlplane.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "config", "samples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, content...), "\n---\n"...)
	}
	free := func() string {
		port, err := loopback.FreePort("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	issuer := free()
	all = bytes.ReplaceAll(all, []byte("http://127.0.0.1:8080"), []byte(issuer))
	return bytes.ReplaceAll(all, []byte("http://127.0.0.1:8081"), []byte(free())), issuer
}
