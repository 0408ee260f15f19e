//go:build monitoring

// Package monitoring tests config/monitoring with the real Prometheus: its rules by promtool, and its
// dashboard on what both programs report. It needs the directory of the two programs in the variable
// PROMETHEUS_BIN; make monitoring builds them.
package monitoring

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// config is the directory that is tested.
const config = "../../config/monitoring"

// managerAddress is that of the manager's metrics, which are served as in config/manager: over TLS,
// to whom the API server lets read them.
var managerAddress string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("PROMETHEUS_BIN") == "" {
		fmt.Fprintln(os.Stderr, "PROMETHEUS_BIN is not set: run make monitoring")
		return 1
	}
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	managerAddress = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return testenv.Main(m, testenv.Options{
		ControlPlane: controlplane.Options{NoFsync: true},
		Operator: func(o *operator.Options) error {
			o.ManagerArgs = []string{"--leader-elect", "--metrics-secure=true", "--metrics-bind-address", managerAddress}
			return nil
		},
	})
}

// program returns the path of prometheus or promtool.
func program(name string) string { return filepath.Join(os.Getenv("PROMETHEUS_BIN"), name) }

// promtool runs promtool in a directory and fails the test if it fails.
func promtool(t *testing.T, dir, input string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program("promtool"), args...)
	command.Dir = dir
	if input != "" {
		file, err := os.Open(input)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		command.Stdin = file
	}
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, output)
	}
}

// read returns a file of config/monitoring.
func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(config, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// prometheusRule is the kind of the Prometheus operator.
type prometheusRule struct {
	Spec struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
}

type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

// alerts returns the alerts of rules.yaml.
func alerts(t *testing.T) []rule {
	t.Helper()
	var object prometheusRule
	if err := yaml.Unmarshal(read(t, "rules.yaml"), &object); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, group := range object.Spec.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// writeRules writes the rules as Prometheus reads them, which is the spec of a PrometheusRule.
func writeRules(t *testing.T, path string) {
	t.Helper()
	var object struct{ Spec map[string]any }
	if err := yaml.Unmarshal(read(t, "rules.yaml"), &object); err != nil {
		t.Fatal(err)
	}
	content, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, content)
}
