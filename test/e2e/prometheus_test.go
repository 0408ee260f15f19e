//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// scrapeConfig scrapes the managers, which ask the API server who may read their metrics, and the token servers. The targets are the Pods
// that run now: this Prometheus has no discovery.
const scrapeConfig = `
global: {scrape_interval: 5s, evaluation_interval: 5s}
rule_files: [/config/rules.yaml]
scrape_configs:
- job_name: manager
  scheme: https
  authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: [%s]}]
- job_name: tokenserver
  static_configs: [{targets: [%s]}]
`

func TestPrometheusScrapesBothProgramsAndAnAlertFiresWhileItsCauseLasts(t *testing.T) {
	readyServer(t)
	startPrometheus(t)
	eventually(t, "every target is up", time.Minute, func() error {
		var found struct {
			Data struct {
				ActiveTargets []struct{ ScrapeURL, Health, LastError string }
			}
		}
		if err := askPrometheus(t, "/api/v1/targets", &found); err != nil {
			return err
		}
		for _, target := range found.Data.ActiveTargets {
			if target.Health != "up" {
				return fmt.Errorf("%+v", target)
			}
		}
		if len(found.Data.ActiveTargets) < 4 {
			return fmt.Errorf("there are %d targets", len(found.Data.ActiveTargets))
		}
		return nil
	})
	rulesAreEvaluated(t)

	const alert = "OAuthServerUnavailable"
	if firing(t, alert) {
		t.Fatalf("%s fires before its cause is made", alert)
	}
	applyText(t, `
apiVersion: oauth-operator.dev/v1alpha1
kind: AuthorizationServer
metadata: {name: dark, namespace: identity}
spec:
  issuer: https://dark.example.com
  deployment: {replicas: 0}
`)
	began := time.Now()
	atEnd(t, "delete", "-n", serverNamespace, "--ignore-not-found", "authorizationserver", "dark")
	eventually(t, alert+" fires when a server has had no replica for two minutes", 3*time.Minute, func() error {
		if !firing(t, alert) {
			return fmt.Errorf("it does not fire after %s", time.Since(began))
		}
		return nil
	})
	t.Logf("%s fired %s after its cause", alert, time.Since(began).Round(time.Second))
	kubectl(t, "scale", "-n", serverNamespace, "authorizationserver/dark", "--replicas=1")
	began = time.Now()
	eventually(t, alert+" stops when the server has a replica", 2*time.Minute, func() error {
		if firing(t, alert) {
			return fmt.Errorf("it fires after %s", time.Since(began))
		}
		return nil
	})
	t.Logf("%s stopped %s after its cause was gone", alert, time.Since(began).Round(time.Second))
}

// startPrometheus runs Prometheus with the shipped rules, and the managers and the token server of main as targets.
func startPrometheus(t testing.TB) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "monitoring", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct{ Spec json.RawMessage }
	if err := yaml.Unmarshal(content, &rules); err != nil {
		t.Fatal(err)
	}
	applyText(t, "{apiVersion: v1, kind: Namespace, metadata: {name: monitoring}}")
	atEnd(t, "delete", "--wait=false", "--ignore-not-found", "-f", "testdata/prometheus.yaml")
	bundle := &corev1.ConfigMap{ObjectMeta: named("monitoring", "prometheus"), Data: map[string]string{
		"rules.yaml": string(rules.Spec),
		"prometheus.yaml": fmt.Sprintf(scrapeConfig,
			targets(runningPods(t, systemNamespace, managerLabels), "metrics"), targets(runningPods(t, serverNamespace, tokenServerLabels), "status")),
	}}
	if err := kube.Create(t.Context(), bundle); err != nil {
		t.Fatal(err)
	}
	apply(t, "prometheus.yaml")
	eventually(t, "Prometheus is ready", time.Minute, func() error {
		var p corev1.Pod
		if err := kube.Get(t.Context(), client.ObjectKey{Namespace: "monitoring", Name: "prometheus"}, &p); err != nil {
			return err
		}
		if !podIsReady(&p) {
			return fmt.Errorf("its containers are %+v", p.Status.ContainerStatuses)
		}
		return nil
	})
}

// targets are the addresses of the port with that name, for a list in YAML.
func targets(all []corev1.Pod, port string) string {
	var addresses []string
	for _, p := range all {
		for _, declared := range p.Spec.Containers[0].Ports {
			if declared.Name == port {
				addresses = append(addresses, fmt.Sprintf("%q", fmt.Sprintf("%s:%d", p.Status.PodIP, declared.ContainerPort)))
			}
		}
	}
	return strings.Join(addresses, ", ")
}

// rulesAreEvaluated waits until Prometheus has evaluated every rule once, without an error.
func rulesAreEvaluated(t testing.TB) {
	t.Helper()
	eventually(t, "every rule is evaluated", time.Minute, func() error {
		var found struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if err := askPrometheus(t, "/api/v1/rules", &found); err != nil {
			return err
		}
		rules := 0
		for _, group := range found.Data.Groups {
			for _, rule := range group.Rules {
				rules++
				if rule.Health != "ok" {
					return fmt.Errorf("%+v", rule)
				}
			}
		}
		if rules == 0 {
			return fmt.Errorf("there are no rules")
		}
		return nil
	})
}

// firing reports whether an alert fires.
func firing(t testing.TB, name string) bool {
	t.Helper()
	var found struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if err := askPrometheus(t, "/api/v1/alerts", &found); err != nil {
		t.Fatal(err)
	}
	for _, alert := range found.Data.Alerts {
		if alert.Labels["alertname"] == name && alert.State == "firing" {
			return true
		}
	}
	return false
}

func askPrometheus(t testing.TB, path string, into any) error {
	body, err := pods.CoreV1().Pods("monitoring").ProxyGet("http", "prometheus", "9090", path, nil).DoRaw(t.Context())
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
