//go:build monitoring

package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestEachAlertFiresAndStops(t *testing.T) {
	dir := t.TempDir()
	writeRules(t, filepath.Join(dir, "rules.yml"))
	write(t, filepath.Join(dir, "rules_test.yml"), read(t, "rules_test.yaml"))
	promtool(t, dir, "", "check", "rules", "--lint=all", "--lint-fatal", "rules.yml")
	promtool(t, dir, "", "test", "rules", "rules_test.yml")

	var tests struct {
		Tests []struct {
			Name  string
			Cases []struct {
				Samples []any `json:"exp_samples"`
			} `json:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal(read(t, "rules_test.yaml"), &tests); err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, test := range tests.Tests {
		fires, stops := false, false
		for _, c := range test.Cases {
			stops = fires && len(c.Samples) == 0
			fires = fires || len(c.Samples) > 0
		}
		if tested[test.Name] = fires && stops; !tested[test.Name] {
			t.Errorf("%s is not tested to fire and then to stop", test.Name)
		}
	}
	for _, alert := range alerts(t) {
		if !tested[alert.Alert] {
			t.Errorf("%s has no test", alert.Alert)
		}
	}
}

func TestEachAlertHasARunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, match := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, match[1])
	}
	var names []string
	for _, alert := range alerts(t) {
		names = append(names, alert.Alert)
		if want := "docs/runbooks.md#" + strings.ToLower(alert.Alert); alert.Annotations["runbook_url"] != want {
			t.Errorf("%s has the runbook_url %q, want %q", alert.Alert, alert.Annotations["runbook_url"], want)
		}
		if alert.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning", "info"}, alert.Labels["severity"]) {
			t.Errorf("%s has no summary, or no severity that is critical, warning or info", alert.Alert)
		}
	}
	if !slices.Equal(headings, names) {
		t.Errorf("the runbooks are %v, the alerts %v", headings, names)
	}
}
