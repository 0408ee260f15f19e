package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/browser"
)

// asDev makes the test binary the program that the printed commands call.
const asDev = "DEV_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asDev) != "" {
		main()
		if !log.Log.Enabled() {
			fmt.Fprintln(os.Stderr, "after half a minute controller-runtime would print the stack of the first caller that would log")
			os.Exit(3)
		}
		return
	}
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

func TestControllerRuntimeHasALoggerBeforeAnythingRuns(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(self, "run", "-h")
	program.Env = append(os.Environ(), asDev+"=yes")
	if said, err := program.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
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
	titles := map[string]bool{}
	for _, f := range flows(clients.Items) {
		titles[strings.SplitN(f.title, ":", 2)[0]] = true
		t.Run(f.title, func(t *testing.T) {
			switch words := strings.Fields(f.command); {
			case len(f.command) > 60:
				t.Errorf("the command is %q", f.command)
			case strings.HasPrefix(f.command, "kubectl oauth token "):
				checkToken(t, play(t, p, f.command))
			case strings.HasPrefix(f.command, "kubectl oauth login "):
				checkToken(t, playPluginLogin(t, p, f.command, issuer))
			case words[2] == "authorization_code" || words[2] == "implicit":
				playLogin(t, p, f.command, issuer)
			default:
				printed := play(t, p, f.command)
				for _, part := range []string{"POST " + issuer + "/token\n", "grant_type=" + words[2], "200 OK\n", `"access_token": "`} {
					if !strings.Contains(printed, part) {
						t.Errorf("it does not show %s:\n%s", part, printed)
					}
				}
			}
		})
	}
	if len(titles) != len(grantTypes()) {
		t.Errorf("there are commands for %v, want %v", titles, grantTypes())
	}
	if printed := play(t, p, explainCommand); !strings.Contains(printed, "client_credentials   Yes") {
		t.Errorf("explain says\n%s", printed)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		return // the example is for machines that have it
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if printed := play(t, p, curl(issuer, clients.Items)); json.Unmarshal([]byte(printed), &answer) != nil || answer.AccessToken == "" {
		t.Errorf("curl is answered %s", printed)
	}
}

// play pastes the command into a shell, and returns what it prints.
func play(t *testing.T, p paths, command string) string {
	t.Helper()
	shell := newShell(t, p, command)
	var stderr bytes.Buffer
	shell.Stderr = &stderr
	output, err := shell.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return string(output)
}

func newShell(t *testing.T, p paths, command string) *exec.Cmd {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "/bin/sh", "-c", setup+"\n"+command)
	shell.Dir, shell.Env = p.root, append(os.Environ(), asDev+"=yes")
	return shell
}

func checkToken(t *testing.T, printed string) {
	t.Helper()
	if !strings.HasPrefix(printed, "eyJ") || strings.Count(printed, ".") != 2 || strings.Count(printed, "\n") != 1 {
		t.Errorf("it prints %q", printed)
	}
}

// playPluginLogin runs the command, signs in at the URL that it prints, and returns what it prints
// on standard output. It would open a browser where there is one.
func playPluginLogin(t *testing.T, p paths, command, issuer string) string {
	t.Helper()
	shell := newShell(t, p, command+" --no-browser")
	var stdout bytes.Buffer
	shell.Stdout = &stdout
	stderr, err := shell.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), issuer) {
			if err := signIn(t, lines.Text()); err != nil {
				t.Error(err)
				_ = shell.Process.Kill()
			}
		}
	}
	if err := shell.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return stdout.String()
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
		err := tokenCommand(ctx, p, strings.Fields(command)[2:], io.MultiWriter(writer, &printed))
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
				if err := signIn(t, strings.TrimSpace(address)); err != nil {
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
	for _, part := range []string{"GET " + issuer + "/userinfo\n", `"access_token": "`, `"name": "Alice Liddell"`} {
		if !strings.Contains(printed.String(), part) {
			t.Errorf("it does not show %s:\n%s", part, printed.String())
		}
	}
}

// signIn does what a user does in a browser, and what the script of the callback's page does: it
// sends on the fragment.
func signIn(t *testing.T, address string) error {
	page, err := browser.New(nil, "").SignIn(t.Context(), address, "alice", "wonderland-demo")
	if err != nil || page.At.Fragment == "" {
		return err
	}
	response, err := http.Post(page.URL, "application/x-www-form-urlencoded", strings.NewReader(page.At.EscapedFragment()))
	if err != nil {
		return err
	}
	return response.Body.Close()
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
	plugin := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(p.local(), "kubectl-oauth"), "github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth")
	if said, err := plugin.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	checkout := filepath.Join(p.root, "hack", "controlplane") // by which the program knows where it is
	if err := os.MkdirAll(checkout, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(checkout, "go.mod"), nil, 0o644); err != nil {
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
