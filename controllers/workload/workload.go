// Package workload describes what a token server needs in the cluster, as objects that the manager
// applies beside its AuthorizationServer. It is pure; testdata shows the objects as YAML.
//
//	workload.go    names and labels; whom the token server is: ServiceAccount and RoleBinding
//	deployment.go  Deployment, Service and PodDisruptionBudget
//	traces.go      environment variables that say where traces go
//	pod.go         the Pods: arguments, volumes, probes, and what of it the spec can change
//	applied.go     whether an object is as it was applied
//
// The names are part of the contract: with deployment type External, users mount the key Secret and
// name the ServiceAccount in a workload of their own.
package workload

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// ClusterRole is the static ClusterRole that every token server has in the namespace of its AuthorizationServer. The manager may bind this
// one role and no other.
const ClusterRole = "oauth-operator-tokenserver"

// ManagedByLabel and ManagedBy mark every object that the manager makes, so that it needs to watch no others of their kind.
const (
	ManagedByLabel = compile.ManagedByLabel
	ManagedBy      = compile.ManagedBy
)

// KeysLabel is on the Secret that holds a server's keys, with the name of the server. Nothing owns that Secret, so it has no label of
// app.kubernetes.io/: Argo CD before 3.0 takes what has app.kubernetes.io/instance and no owner for its own, and prunes it.
const KeysLabel = "oauth-operator.dev/keys-of"

// ServiceAccountName is the name of the ServiceAccount of a server's token server.
func ServiceAccountName(server string) string { return server + "-tokenserver" }

// KeysSecretName is the name of the Secret that holds a server's keys: "<kid>.pem" and "<kid>.sealing".
func KeysSecretName(server string) string { return server + "-tokenserver-keys" }

// UpstreamsSecretName is the name of the Secret with the credentials for a server's identity
// providers, each in a key of its own. It need not exist.
func UpstreamsSecretName(server string) string { return server + "-tokenserver-upstreams" }

// UpstreamsSecret returns that Secret without its content. Unlike the keys, it is deleted with the
// server: the manager can make it again.
func UpstreamsSecret(server *v1alpha1.AuthorizationServer) *corev1.Secret {
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Secret"},
		ObjectMeta: objectMeta(server), Type: corev1.SecretTypeOpaque,
	}
	secret.Name = UpstreamsSecretName(server.Name)
	return secret
}

// Labels of the objects that belong to a server.
func Labels(server string) map[string]string {
	return map[string]string{
		ManagedByLabel:                ManagedBy,
		"app.kubernetes.io/name":      "tokenserver",
		"app.kubernetes.io/instance":  server,
		"app.kubernetes.io/component": "tokenserver",
	}
}

// ServiceAccount is who the token server is. It has no rights but those of RoleBinding.
func ServiceAccount(server *v1alpha1.AuthorizationServer) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "ServiceAccount"},
		ObjectMeta: objectMeta(server),
	}
}

// RoleBinding gives the ServiceAccount the static ClusterRole within its namespace.
func RoleBinding(server *v1alpha1.AuthorizationServer) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: objectMeta(server),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ClusterRole},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: server.Namespace, Name: ServiceAccountName(server.Name),
		}},
	}
}

func objectMeta(server *v1alpha1.AuthorizationServer) metav1.ObjectMeta {
	controller := true
	return metav1.ObjectMeta{
		Namespace: server.Namespace,
		Name:      ServiceAccountName(server.Name),
		Labels:    Labels(server.Name),
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AuthorizationServer", Name: server.Name, UID: server.UID, Controller: &controller,
		}},
	}
}
