//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var podNumber atomic.Int64

// answer is what the commands `client token` and `client login` print.
type answer struct {
	Status       int
	Certificate  string
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string
	At           string // where the browser is after `client login`
	IsLogin      bool
	podIP        string // of the Pod that asked
}

// askForToken runs `client token` in a Pod of the namespace, with the Secret of a client mounted, and returns the answer of the token
// endpoint.
func askForToken(t testing.TB, namespace, secret string, args ...string) answer {
	t.Helper()
	return runClient(t, namespace, secret, append([]string{"token"}, args...)...)
}

// runClient runs the program client in a Pod with a Secret, as a workload has it, and returns what it prints.
func runClient(t testing.TB, namespace, secret string, args ...string) answer {
	t.Helper()
	return runClientWith(t, namespace, corev1.PodSpec{
		Volumes: []corev1.Volume{{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}},
	}, args...)
}

// runClientWith runs the program client in a Pod, and returns what it prints. Of spec it takes the ServiceAccount and the volumes, which
// it mounts at their names. The Pod satisfies the Pod Security Standard "restricted".
func runClientWith(t testing.TB, namespace string, spec corev1.PodSpec, args ...string) answer {
	t.Helper()
	name := fmt.Sprintf("client-%d-%d", time.Now().Unix()%100000, podNumber.Add(1))
	yes, no := true, false
	volumes := slices.Concat(spec.Volumes, []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "authority"}, Optional: &yes,
	}}}})
	var mounts []corev1.VolumeMount
	for _, v := range volumes {
		mounts = append(mounts, corev1.VolumeMount{Name: v.Name, MountPath: "/" + v.Name})
	}
	p := &corev1.Pod{
		ObjectMeta: named(namespace, name),
		Spec: corev1.PodSpec{
			ServiceAccountName: spec.ServiceAccountName, Volumes: volumes,
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "client", Image: "localhost/oauth-operator-e2e/client:1", ImagePullPolicy: corev1.PullNever, Args: args,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				VolumeMounts: mounts,
			}},
		},
	}
	if err := kube.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	var a answer
	log := finished(t, namespace, name, time.Minute)
	if err := json.Unmarshal([]byte(log), &a); err != nil {
		t.Fatalf("the Pod printed %q: %v", log, err)
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	a.podIP = p.Status.PodIP
	if err := kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return a
}
