package workload

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// defaultReplicas is how many token servers run where the spec does not say; the schema says it too.
const defaultReplicas = 2

// IsManaged reports whether the operator runs the token server of a server.
func IsManaged(server *v1alpha1.AuthorizationServer) bool {
	return server.Spec.Deployment.Type != v1alpha1.DeploymentExternal
}

// Replicas is how many Pods the Deployment of a server has.
func Replicas(server *v1alpha1.AuthorizationServer) int32 {
	replicas := int32(defaultReplicas)
	if wanted := server.Spec.Deployment.Replicas; wanted != nil {
		replicas = *wanted
	}
	if keepsInMemory(server) { // two of them would not know each other's grants
		return min(replicas, 1)
	}
	return replicas
}

func keepsInMemory(server *v1alpha1.AuthorizationServer) bool {
	return compile.Storage(server) == v1alpha1.StorageMemory
}

// Selector has the labels by which the Deployment, the Service and the PodDisruptionBudget of a
// server find its Pods. A Deployment's cannot be changed.
func Selector(server string) map[string]string {
	return map[string]string{
		ManagedByLabel:               ManagedBy,
		"app.kubernetes.io/name":     "tokenserver",
		"app.kubernetes.io/instance": server,
	}
}

// ServerOf is the name of the server whose token server a Pod with these labels runs; empty: none.
func ServerOf(labels map[string]string) string {
	server := labels["app.kubernetes.io/instance"]
	for key, value := range Selector(server) {
		if labels[key] != value {
			return ""
		}
	}
	return server
}

// Deployment runs the token server of a server from an image.
func Deployment(server *v1alpha1.AuthorizationServer, image string) *appsv1.Deployment {
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: objectMeta(server),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(Replicas(server)),
			Selector: &metav1.LabelSelector{MatchLabels: Selector(server.Name)},
			// A new Pod is ready before an old one ends.
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))},
			},
			Template: podTemplate(server, image),
		},
	}
	if keepsInMemory(server) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return d
}

// Service is how the token server of a server is reached in the cluster. It has the port of the
// endpoints, and never that of metrics and probes.
func Service(server *v1alpha1.AuthorizationServer) *corev1.Service {
	settings := server.Spec.Deployment.Service
	if settings == nil {
		settings = &v1alpha1.ServiceSettings{}
	}
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Service"},
		ObjectMeta: objectMeta(server),
		Spec: corev1.ServiceSpec{
			Type:                  corev1.ServiceType(settings.Type),
			Selector:              Selector(server.Name),
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicy(settings.ExternalTrafficPolicy),
		},
	}
	s.Labels, s.Annotations = extend(s.Labels, settings.Labels), extend(nil, settings.Annotations)
	if s.Spec.Type == "" {
		s.Spec.Type = corev1.ServiceTypeClusterIP
	}
	if settings.LoadBalancerClass != "" {
		s.Spec.LoadBalancerClass = &settings.LoadBalancerClass
	}
	s.Spec.Ports = []corev1.ServicePort{servicePort(endpointsPort(server).Name)}
	return s
}

// KeepPort has a Service keep the port of the endpoints that it had before spec.tls was set or removed,
// beside the new one: Pods that are not replaced yet have that port alone.
func KeepPort(want, have *corev1.Service) {
	for _, port := range have.Spec.Ports {
		if isOurs := port.Name == portHTTPS || port.Name == portHTTP; isOurs && port.Name != want.Spec.Ports[0].Name {
			want.Spec.Ports = append(want.Spec.Ports, servicePort(port.Name))
			return
		}
	}
}

// servicePort leads to the port of the Pods that has its name.
func servicePort(name string) corev1.ServicePort {
	return corev1.ServicePort{
		Name: name, Port: map[string]int32{portHTTPS: 443, portHTTP: 80}[name], Protocol: corev1.ProtocolTCP,
		TargetPort: intstr.FromString(name), AppProtocol: &name,
	}
}

// PodDisruptionBudget lets one Pod of a server at a time be evicted, and those that are not ready
// always: else a token server that cannot start would hold up the drain of its node. With storage
// Memory, where there is one Pod, there is none: nil.
func PodDisruptionBudget(server *v1alpha1.AuthorizationServer) *policyv1.PodDisruptionBudget {
	if keepsInMemory(server) {
		return nil
	}
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "PodDisruptionBudget"},
		ObjectMeta: objectMeta(server),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             new(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: Selector(server.Name)},
			UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}

// extend adds what the spec has to what is the operator's, which the schema keeps it from having.
func extend(ours, more map[string]string) map[string]string {
	if len(more) == 0 {
		return ours
	}
	all := maps.Clone(more)
	maps.Copy(all, ours)
	return all
}
