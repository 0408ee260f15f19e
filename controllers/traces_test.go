package controllers

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestVariablesOfTracesAreHandedOnAndTakenBack(t *testing.T) {
	w := newEnvWithoutManager(t)
	_, stop := runManager(t, func(o *Options) {
		o.TokenServerVariables = []corev1.EnvVar{{Name: "OTEL_TRACES_EXPORTER", Value: "otlp"}}
	})
	w.startServer()
	isSet := func() bool {
		var d appsv1.Deployment
		if err := admin.Get(t.Context(), client.ObjectKey{Namespace: w.identity, Name: "main-tokenserver"}, &d); err != nil {
			return false
		}
		return slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Env, func(v corev1.EnvVar) bool { return v.Name == "OTEL_TRACES_EXPORTER" })
	}
	eventually.True(t, "the variable is set", isSet)
	stop()
	startManager(t)
	eventually.True(t, "the variable is gone", func() bool { return !isSet() })
}
