//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// runKubectl runs kubectl as people do. The error has what it said.
func runKubectl(ctx context.Context, args ...string) (string, error) {
	return runKubectlWith(ctx, "", args...)
}

// runKubectlWith is runKubectl with an input.
func runKubectlWith(ctx context.Context, input string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join("..", "..", "bin", "local", "kubectl"), args...)
	var out, failure bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &out, &failure
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s%s", strings.Join(args, " "), err, out.String(), failure.String())
	}
	return out.String(), nil
}

// kubectl runs kubectl and fails the test if it fails.
func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := runKubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// atEnd runs kubectl when the test has ended, and has printed its report if it failed.
func atEnd(t testing.TB, args ...string) {
	t.Cleanup(func() {
		report(t)
		if _, err := runKubectl(context.Background(), args...); err != nil {
			t.Error(err)
		}
	})
}

// apply applies a file of testdata.
func apply(t testing.TB, file string) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--force-conflicts", "-f", filepath.Join("testdata", file))
}

// applyText applies a manifest.
func applyText(t testing.TB, manifest string) {
	t.Helper()
	if _, err := runKubectlWith(t.Context(), manifest, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// eventually fails the test unless the function returns nil within the time. The failure has its last error.
func eventually(t testing.TB, sentence string, within time.Duration, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", within, sentence, err)
		}
	}
}

// waitForCondition waits until an object has a condition with the status True, for its present generation.
func waitForCondition(t testing.TB, o client.Object, conditionType string, within time.Duration) {
	t.Helper()
	name := fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
	eventually(t, fmt.Sprintf("%s is %s", name, conditionType), within, func() error {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		var all []string
		for _, c := range conditionsOf(o) {
			if c.Type == conditionType && c.Status == metav1.ConditionTrue && c.ObservedGeneration == o.GetGeneration() {
				return nil
			}
			all = append(all, fmt.Sprintf("%s=%s (%s, generation %d): %s", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message))
		}
		return fmt.Errorf("generation %d has the conditions\n%s", o.GetGeneration(), strings.Join(all, "\n"))
	})
}

func conditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.AuthorizationServer:
		return o.Status.Conditions
	case *v1alpha1.OAuthClient:
		return o.Status.Conditions
	case *v1alpha1.OAuthUser:
		return o.Status.Conditions
	case *v1alpha1.ResourceServer:
		return o.Status.Conditions
	case *v1alpha1.IdentityProvider:
		return o.Status.Conditions
	case *v1alpha1.OAuthIdentity:
		return o.Status.Conditions
	}
	panic(fmt.Sprintf("%T has no conditions here", o))
}

// named returns the metadata of an object to read.
func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// runningPods of a namespace with the labels, those that are being deleted left out.
func runningPods(t testing.TB, namespace string, labels client.MatchingLabels) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := kube.List(t.Context(), &list, client.InNamespace(namespace), labels); err != nil {
		t.Fatal(err)
	}
	var running []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			running = append(running, p)
		}
	}
	return running
}

// finished waits until a Pod has ended, and returns its log. The test fails if the Pod did.
func finished(t testing.TB, namespace, name string, within time.Duration) string {
	t.Helper()
	var p corev1.Pod
	eventually(t, "Pod "+namespace+"/"+name+" ends", within, func() error {
		if err := kube.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &p); err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			status, _ := json.Marshal(p.Status)
			return fmt.Errorf("its status is %s", status)
		}
		return nil
	})
	log := kubectl(t, "logs", "-n", namespace, name)
	if p.Status.Phase == corev1.PodFailed {
		t.Fatalf("Pod %s/%s failed: %s", namespace, name, log)
	}
	return log
}
