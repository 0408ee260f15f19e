// Package prometheus holds config/monitoring against the types of the Prometheus operator.
package prometheus

import (
	"os"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func TestObjectsOfThePrometheusOperatorHaveNoFieldThatItDoesNotKnow(t *testing.T) {
	for name, object := range map[string]any{
		"service_monitor.yaml": &monitoringv1.ServiceMonitor{}, "pod_monitor.yaml": &monitoringv1.PodMonitor{},
		"rules.yaml": &monitoringv1.PrometheusRule{},
	} {
		content, err := os.ReadFile("../../../config/monitoring/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(content, object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
