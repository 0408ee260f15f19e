package v1alpha1

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// DeploymentType is who runs the token server.
// +kubebuilder:validation:Enum=Managed;External
type DeploymentType string

const (
	// DeploymentManaged has the operator run it: in a Deployment with a Service and a
	// PodDisruptionBudget.
	DeploymentManaged DeploymentType = "Managed"
	// DeploymentExternal leaves running the token server to another tool. The operator makes the
	// ServiceAccount, the RoleBinding and the keys.
	DeploymentExternal DeploymentType = "External"
)

// DeploymentSettings are how the token server runs. Image, command, ServiceAccount, volumes and
// security context are the operator's.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.type) || self.type != 'External' || !(has(self.resources) || has(self.podTemplate) || has(self.service))`,message="resources, podTemplate and service go with type Managed: with type External, remove them and set the same where the token server is run"
type DeploymentSettings struct {
	// type is Managed or External. Default: Managed. When it changes, the operator takes away what
	// it has made only once a token server of the other kind is ready.
	// +optional
	Type DeploymentType `json:"type,omitempty"`

	// replicas of the token server, for type Managed; 0 stops it. The scale subresource sets it too,
	// so leave it out where a HorizontalPodAutoscaler does. With storage Memory there is one at
	// most.
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// resources of the container. What neither its requests nor its limits name is requested by
	// default: 100m of cpu, 160Mi of memory.
	// +optional
	Resources *ContainerResources `json:"resources,omitempty"`

	// podTemplate adds to the Pods. Each of its fields takes the place of the operator's whole.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`

	// service sets how the token server is reached.
	// +optional
	Service *ServiceSettings `json:"service,omitempty"`
}

// ContainerResources are what a container may use and what is kept for it, as in a Pod. The rules
// refuse exponents of three digits first: for 1e999999999999 the library of quantities needs half a
// minute.
type ContainerResources struct {
	// limits are the most that the container may use. The token server takes its memory limit into
	// account.
	// +kubebuilder:validation:MaxProperties=4
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !string(self[k]).matches('[eE].?[0-9]{3}') && isQuantity(string(self[k])))`,message="a value in limits must be a quantity, such as 500m or 256Mi"
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`

	// requests are what is kept for the container.
	// +kubebuilder:validation:MaxProperties=4
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !string(self[k]).matches('[eE].?[0-9]{3}') && isQuantity(string(self[k])))`,message="a value in requests must be a quantity, such as 100m or 160Mi"
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
}

// PodTemplate are the fields of the Pods that are not the operator's.
type PodTemplate struct {
	// metadata has further labels and annotations.
	// +optional
	Metadata *ExtraMetadata `json:"metadata,omitempty"`

	// spec says where the Pods run.
	// +optional
	Spec *PodSettings `json:"spec,omitempty"`
}

// ExtraMetadata are labels and annotations besides the operator's.
type ExtraMetadata struct {
	// labels besides the operator's.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by', 'pod-template-hash']) && !k.matches('^([^/]*[.])?oauth-operator[.]dev/') && !k.startsWith('kubectl.kubernetes.io/'))`,message="labels must not be app.kubernetes.io/name, instance, component or managed-by, nor pod-template-hash, nor have the prefixes oauth-operator.dev/ and kubectl.kubernetes.io/: the operator and Kubernetes set those"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !format.qualifiedName().validate(k).hasValue())`,message="a key in labels must be a qualified name as Kubernetes wants it, such as example.com/team or team"
	// +optional
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations besides the operator's.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !k.matches('^([^/]*[.])?oauth-operator[.]dev/') && !k.startsWith('kubectl.kubernetes.io/') && !k.startsWith('container.apparmor.security.beta.kubernetes.io/'))`,message="annotations must not have the prefixes oauth-operator.dev/ and kubectl.kubernetes.io/, which the operator and kubectl set, nor container.apparmor.security.beta.kubernetes.io/, which is a part of the security context"
	// +kubebuilder:validation:XValidation:rule=`self.all(k, !format.qualifiedName().validate(k).hasValue())`,message="a key in annotations must be a qualified name as Kubernetes wants it, such as example.com/team or team"
	// +optional
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// DeepCopyInto copies m into out. It is written by hand, because the generator knows no maps of
// aliases.
func (m *ExtraMetadata) DeepCopyInto(out *ExtraMetadata) {
	out.Labels = maps.Clone(m.Labels)
	out.Annotations = maps.Clone(m.Annotations)
}

// DeepCopy returns a copy of m.
func (m *ExtraMetadata) DeepCopy() *ExtraMetadata {
	if m == nil {
		return nil
	}
	out := new(ExtraMetadata)
	m.DeepCopyInto(out)
	return out
}

// PodSettings are fields of a Pod's spec, with the meaning that they have there.
type PodSettings struct {
	// nodeSelector has the labels of the nodes that the Pods may run on.
	// +optional
	NodeSelector NodeSelector `json:"nodeSelector,omitempty"`

	// affinity says near what the Pods should run.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// tolerations are the taints that the Pods tolerate.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// topologySpreadConstraints spread the Pods. One without a labelSelector gets the labels of the
	// token server's Pods. Default: over nodes and zones, where that is possible.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName is the PriorityClass of the Pods.
	// +optional
	PriorityClassName ObjectName `json:"priorityClassName,omitempty"`

	// runtimeClassName is the RuntimeClass of the Pods.
	// +optional
	RuntimeClassName ObjectName `json:"runtimeClassName,omitempty"`

	// imagePullSecrets are Secrets with which the image is pulled, in the server's namespace.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	ImagePullSecrets []ImagePullSecret `json:"imagePullSecrets,omitempty"`
}

// NodeSelector has labels of nodes.
// +kubebuilder:validation:MaxProperties=16
type NodeSelector map[string]LabelValue

// DeepCopyInto copies s into out. It is written by hand, because the generator knows no maps of
// aliases.
func (s NodeSelector) DeepCopyInto(out *NodeSelector) { *out = maps.Clone(s) }

// DeepCopy returns a copy of s.
func (s NodeSelector) DeepCopy() NodeSelector { return maps.Clone(s) }

// ImagePullSecret names a Secret with which images are pulled.
type ImagePullSecret struct {
	// name of the Secret.
	Name ObjectName `json:"name"`
}

// ServiceType is how a Service is reached, as in Kubernetes.
// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
type ServiceType string

// ExternalTrafficPolicy is which nodes pass on what comes from outside of the cluster, as in
// Kubernetes.
// +kubebuilder:validation:Enum=Cluster;Local
type ExternalTrafficPolicy string

// ServiceSettings are fields of the Service, with the meaning that they have there.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.loadBalancerClass) || (has(self.type) && self.type == 'LoadBalancer')`,message="loadBalancerClass goes with type LoadBalancer: set that type, or remove loadBalancerClass"
// +kubebuilder:validation:XValidation:rule=`!has(self.externalTrafficPolicy) || (has(self.type) && self.type in ['NodePort', 'LoadBalancer'])`,message="externalTrafficPolicy goes with the types NodePort and LoadBalancer: set one of them, or remove externalTrafficPolicy"
type ServiceSettings struct {
	ExtraMetadata `json:",inline"`

	// type is ClusterIP, NodePort or LoadBalancer. Default: ClusterIP.
	// +optional
	Type ServiceType `json:"type,omitempty"`

	// loadBalancerClass is which controller makes the load balancer; for type LoadBalancer.
	// Kubernetes does not let it change.
	// +optional
	LoadBalancerClass LoadBalancerClass `json:"loadBalancerClass,omitempty"`

	// externalTrafficPolicy is Cluster or Local; for the types NodePort and LoadBalancer. Local keeps
	// the address of the client. Default: Cluster.
	// +optional
	ExternalTrafficPolicy ExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
}

// LoadBalancerClass names an implementation of load balancers.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=317
// +kubebuilder:validation:XValidation:rule=`!format.qualifiedName().validate(self).hasValue()`,message="loadBalancerClass must be a qualified name as Kubernetes wants it, such as service.k8s.aws/nlb"
type LoadBalancerClass = string
