package workload

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// Container is the name of the token server's container.
const Container = "tokenserver"

// Names of the container's ports: one of the first two has the endpoints, the last probes and
// metrics.
const (
	portHTTPS  = "https"
	portHTTP   = "http"
	portStatus = "status"
)

// gracePeriod is how long a Pod may take to end, in seconds: the token server serves on for 15, and
// then answers the requests that it has for up to 30.
const gracePeriod = 60

// podName and podUID are the variables in the container's arguments that stand for the name and the
// UID of the Pod.
const (
	podName = "POD_NAME"
	podUID  = "POD_UID"
)

// podTemplate describes the Pods of a token server. What is secret reaches them in files alone.
func podTemplate(server *v1alpha1.AuthorizationServer, image string) corev1.PodTemplateSpec {
	mounts := volumesOf(server)
	t := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: Labels(server.Name)},
		Spec: corev1.PodSpec{
			ServiceAccountName:            ServiceAccountName(server.Name),
			AutomountServiceAccountToken:  new(false), // its volume is spelled out
			EnableServiceLinks:            new(false), // a namespace full of Services is no environment
			TerminationGracePeriodSeconds: new(int64(gracePeriod)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			TopologySpreadConstraints: defaultSpread(),
			Containers:                []corev1.Container{container(server, image, mounts)},
		},
	}
	for _, m := range mounts {
		t.Spec.Volumes = append(t.Spec.Volumes, m.volume)
	}
	if settings := server.Spec.Deployment.PodTemplate; settings != nil {
		apply(settings, &t)
	}
	for i := range t.Spec.TopologySpreadConstraints {
		if c := &t.Spec.TopologySpreadConstraints[i]; c.LabelSelector == nil {
			c.LabelSelector = &metav1.LabelSelector{MatchLabels: Selector(server.Name)}
		}
	}
	return t
}

// defaultSpread has the Pods of one revision on different nodes and in different zones, where there
// are such.
func defaultSpread() []corev1.TopologySpreadConstraint {
	var all []corev1.TopologySpreadConstraint
	for _, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
		all = append(all, corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway, MatchLabelKeys: []string{"pod-template-hash"},
		})
	}
	return all
}

// apply puts what the spec has into the template.
func apply(settings *v1alpha1.PodTemplate, t *corev1.PodTemplateSpec) {
	if m := settings.Metadata; m != nil {
		t.Labels, t.Annotations = extend(t.Labels, m.Labels), extend(nil, m.Annotations)
	}
	s := settings.Spec
	if s == nil {
		return
	}
	s = s.DeepCopy() // the selector of a constraint is filled in
	t.Spec.NodeSelector, t.Spec.Affinity, t.Spec.Tolerations = s.NodeSelector, s.Affinity, s.Tolerations
	t.Spec.PriorityClassName = s.PriorityClassName
	if s.TopologySpreadConstraints != nil {
		t.Spec.TopologySpreadConstraints = s.TopologySpreadConstraints
	}
	if s.RuntimeClassName != "" {
		t.Spec.RuntimeClassName = &s.RuntimeClassName
	}
	for _, secret := range s.ImagePullSecrets {
		t.Spec.ImagePullSecrets = append(t.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret.Name})
	}
}

// container is the token server. It sees nothing of its Pod but its own volumes, and writes no
// files.
func container(server *v1alpha1.AuthorizationServer, image string, mounts []mount) corev1.Container {
	endpoints := endpointsPort(server)
	c := corev1.Container{
		Name:    Container,
		Image:   image,
		Command: []string{"/tokenserver"},
		Args:    arguments(server, mounts),
		Env:     []corev1.EnvVar{variable(podName, "metadata.name"), variable(podUID, "metadata.uid")},
		Ports: []corev1.ContainerPort{
			endpoints,
			{Name: portStatus, ContainerPort: 8081, Protocol: corev1.ProtocolTCP},
		},
		Resources:      resources(server.Spec.Deployment.Resources),
		LivenessProbe:  probe("/livez", 10, 5),
		ReadinessProbe: probe("/readyz", 2, 2),
		// Why a program ended is in its last line; so it is in the status of the Pod, which conditions quote.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	for _, m := range mounts {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: m.volume.Name, MountPath: m.path, ReadOnly: true})
	}
	return c
}

// variable is an environment variable with a field of the Pod.
func variable(name, field string) corev1.EnvVar {
	return corev1.EnvVar{
		Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: field}},
	}
}

// endpointsPort is the port of the endpoints.
func endpointsPort(server *v1alpha1.AuthorizationServer) corev1.ContainerPort {
	if server.Spec.TLS != nil {
		return corev1.ContainerPort{Name: portHTTPS, ContainerPort: 8443, Protocol: corev1.ProtocolTCP}
	}
	return corev1.ContainerPort{Name: portHTTP, ContainerPort: 8080, Protocol: corev1.ProtocolTCP}
}

// arguments of the token server.
func arguments(server *v1alpha1.AuthorizationServer, mounts []mount) []string {
	listen := map[string]string{portHTTPS: ":8443", portHTTP: ":8080"}[endpointsPort(server).Name]
	all := []string{
		"--namespace=" + server.Namespace,
		"--server-name=" + server.Name,
		"--server-uid=" + string(server.UID),
		"--replica-name=$(" + podName + ")",
		"--pod-uid=$(" + podUID + ")",
		"--listen=" + listen,
		"--status-listen=:8081",
		"--storage=" + strings.ToLower(string(compile.Storage(server))),
	}
	for _, m := range mounts {
		if m.flag != "" {
			all = append(all, m.flag+"="+m.path+m.file)
		}
	}
	return all
}

// resources are those of the spec, and where they do not name cpu or memory, a request that holds
// ten thousand clients.
func resources(wanted *v1alpha1.ContainerResources) corev1.ResourceRequirements {
	var r corev1.ResourceRequirements
	if wanted != nil {
		wanted = wanted.DeepCopy()
		r.Limits, r.Requests = wanted.Limits, wanted.Requests
	}
	for name, request := range map[corev1.ResourceName]string{corev1.ResourceCPU: "100m", corev1.ResourceMemory: "160Mi"} {
		_, limited := r.Limits[name]
		_, requested := r.Requests[name]
		if limited || requested { // Kubernetes requests what is the limit, unless a request says otherwise
			continue
		}
		if r.Requests == nil {
			r.Requests = corev1.ResourceList{}
		}
		r.Requests[name] = resource.MustParse(request)
	}
	for _, list := range []corev1.ResourceList{r.Limits, r.Requests} {
		for name, quantity := range list { // as the API server does
			quantity.RoundUp(resource.Milli)
			list[name] = quantity
		}
	}
	return r
}

// probe asks the status port, every so many seconds. Passwords that are hashed may keep the CPU
// busy for longer than the second that Kubernetes waits by default.
func probe(path string, period, timeout int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(portStatus), Scheme: corev1.URISchemeHTTP},
		},
		PeriodSeconds: period, TimeoutSeconds: timeout, SuccessThreshold: 1, FailureThreshold: 3,
	}
}

// mount is a volume, where it is mounted, and the flag that tells the token server of it or of a
// file in it.
type mount struct {
	volume     corev1.Volume
	path, flag string
	file       string // with a leading slash; empty: the flag names the directory
}

// volumesOf a token server. None has a subPath, whose files would never change. The credentials
// for identity providers are optional, since most servers have none and a first one must need no new
// Pod. Certificate and DSN are, so that a Pod starts without them and says what is missing.
func volumesOf(server *v1alpha1.AuthorizationServer) []mount {
	const dir = "/var/run/oauth-operator/"
	all := []mount{
		{volume: apiAccess(), path: "/var/run/secrets/kubernetes.io/serviceaccount"},
		{volume: secretVolume("keys", KeysSecretName(server.Name), false), path: dir + "keys", flag: "--keys-dir"},
		{volume: secretVolume("upstreams", UpstreamsSecretName(server.Name), true), path: dir + "upstreams", flag: "--upstreams-dir"},
	}
	if tls := server.Spec.TLS; tls != nil {
		all = append(all, mount{volume: secretVolume("tls", tls.SecretName, true), path: dir + "tls", flag: "--tls-dir"})
	}
	if dsn := compile.DSN(server); dsn != nil {
		all = append(all, mount{
			volume: secretVolume("storage", dsn.Name, true), path: dir + "storage", flag: "--storage-dsn-file", file: "/" + dsn.Key,
		})
	}
	return all
}

// MountedSecrets are the names of the Secrets in the spec that the Pods of a server mount.
func MountedSecrets(server *v1alpha1.AuthorizationServer) []string {
	var names []string
	if tls := server.Spec.TLS; tls != nil {
		names = append(names, tls.SecretName)
	}
	if dsn := compile.DSN(server); dsn != nil {
		names = append(names, dsn.Name)
	}
	return names
}

// secretVolume has all of a Secret's keys: a DSN may name certificates beside it.
func secretVolume(name, secret string, optional bool) corev1.Volume {
	source := &corev1.SecretVolumeSource{SecretName: secret}
	if optional {
		source.Optional = new(true)
	}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: source}}
}

// apiAccess is what Kubernetes mounts by itself for a ServiceAccount.
func apiAccess() corev1.Volume {
	return corev1.Volume{Name: "kube-api-access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3600))}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}}}
}
