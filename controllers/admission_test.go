package controllers

import (
	"context"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	localoperator "github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

// newBoundClient has the name of a manager somewhere, and all rights: what it is refused, an
// admission policy refuses.
func newBoundClient(t *testing.T) client.Client {
	t.Helper()
	config, err := plane.ConfigForUser("system:serviceaccount:elsewhere:"+localoperator.ServiceAccount, "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	c := clientOf(t, config)
	eventually.True(t, "the admission policies are in force", func() bool {
		return isRefused(c.Create(t.Context(), secretNamed("default", "not-the-managers"), client.DryRunAll))
	})
	return c
}

func isRefused(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'oauth-operator-manager-")
}

func secretNamed(namespace, name string, change ...func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{"k": "v"}}
	for _, f := range change {
		f(s)
	}
	return s
}

// ofClient makes a Secret a client's.
func ofClient(c *v1alpha1.OAuthClient) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		s.Labels = map[string]string{workload.ManagedByLabel: workload.ManagedBy}
		s.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: c.Name, UID: c.UID, Controller: new(true),
		}}
	}
}

// ofServer makes a Secret one that a server controls which has a name.
func ofServer(server *v1alpha1.AuthorizationServer, name string) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		s.Labels = workload.Labels(name)
		s.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindServer, Name: name, UID: server.UID, Controller: new(true),
		}}
	}
}

func withKeys(s *corev1.Secret) { s.Labels = map[string]string{workload.KeysLabel: "main"} }

// retainedFor makes a Secret one that outlives a client.
func retainedFor(c *v1alpha1.OAuthClient) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		s.Labels = map[string]string{workload.ManagedByLabel: workload.ManagedBy}
		s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: c.Name, compile.RetainedAnnotation: adopterValue(c)}
	}
}

func marked(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "web"} }

func TestTheAdmissionPolicyLetsTheManagerWriteOnlyItsOwnSecrets(t *testing.T) {
	bound, server := newBoundClient(t), newServerObject(t)
	namespace := server.Namespace
	owner := newClientObject(t, namespace)
	ofClient, retained := ofClient(owner), retainedFor(owner)
	for name, change := range map[string]func(*corev1.Secret){
		"plain": func(*corev1.Secret) {},
		"token": func(s *corev1.Secret) { // which the API server would fill with a token of the ServiceAccount
			ofClient(s)
			s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "default"}
		},
		"bootstrap":             func(s *corev1.Secret) { ofClient(s); s.Type = corev1.SecretTypeBootstrapToken },
		"label":                 func(s *corev1.Secret) { ofClient(s); s.OwnerReferences = nil },
		"owner":                 func(s *corev1.Secret) { ofClient(s); s.Labels = nil },
		"others":                func(s *corev1.Secret) { ofClient(s); s.OwnerReferences[0].Kind = "Deployment" },
		"of-owner-only":         func(s *corev1.Secret) { ofClient(s); s.OwnerReferences[0].Controller = nil },
		"marked":                marked,
		"keys":                  withKeys,
		"main-tokenserver-keys": ofClient,
		"retained-token": func(s *corev1.Secret) {
			retained(s)
			s.Type, s.Annotations[corev1.ServiceAccountNameKey] = corev1.SecretTypeServiceAccountToken, "default"
		},
		"retained-unmarked":       func(s *corev1.Secret) { retained(s); delete(s.Annotations, v1alpha1.AdoptAnnotation) },
		"retained-for-another":    func(s *corev1.Secret) { retained(s); s.Annotations[v1alpha1.AdoptAnnotation] = "another" },
		"retained-unlabelled":     func(s *corev1.Secret) { retained(s); s.Labels = nil },
		"retained-by-none":        func(s *corev1.Secret) { retained(s); delete(s.Annotations, compile.RetainedAnnotation) },
		"x-tokenserver-upstreams": retained,

		"main-tokenserver-upstreams":  ofClient,
		"other-tokenserver-upstreams": ofServer(server, "main"),
		"upstreams":                   ofServer(server, "main"),
		"label-tokenserver-upstreams": func(s *corev1.Secret) { ofServer(server, "label")(s); s.OwnerReferences = nil },
	} {
		if err := bound.Create(t.Context(), secretNamed(namespace, name, change)); !isRefused(err) {
			t.Errorf("creating %q: %v", name, err)
		}
	}

	own, keys := secretNamed(namespace, "own", ofClient), secretNamed(namespace, "main-tokenserver-keys", withKeys)
	kept, upstream := secretNamed(namespace, "kept", retained), secretNamed(namespace, "main-tokenserver-upstreams", ofServer(server, "main"))
	foreignUpstream := secretNamed(namespace, "foreign-tokenserver-upstreams")
	foreign, adopted := secretNamed(namespace, "foreign"), secretNamed(namespace, "adopted", marked)
	foreignKeys := secretNamed(namespace, "other-tokenserver-keys")
	create(t, foreign, adopted, foreignKeys, foreignUpstream)
	for _, s := range []*corev1.Secret{own, keys, kept, upstream} {
		if err := bound.Create(t.Context(), s); err != nil {
			t.Errorf("creating %s: %v", s.Name, err)
		}
	}
	for _, c := range []struct {
		secret             *corev1.Secret
		mayUpdate, mayDrop bool
	}{{own, true, true}, {keys, true, false}, {adopted, true, false}, {kept, true, false}, {upstream, true, true}, {foreign, false, false}, {foreignKeys, false, false}, {foreignUpstream, false, false}} {
		marked := c.secret.DeepCopy() // what is written does not make it the manager's, what there was does
		ofClient(marked)
		marked.OwnerReferences = append(marked.OwnerReferences, c.secret.OwnerReferences...)[:1]
		marked.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "web"}
		if err := bound.Update(t.Context(), marked, client.DryRunAll); (err == nil) != c.mayUpdate || err != nil && !isRefused(err) {
			t.Errorf("updating %s: %v", c.secret.Name, err)
		}
		patch := client.RawPatch(types.MergePatchType, []byte(`{"data":{"k":"eA=="}}`))
		if err := bound.Patch(t.Context(), c.secret.DeepCopy(), patch, client.DryRunAll); (err == nil) != c.mayUpdate || err != nil && !isRefused(err) {
			t.Errorf("patching %s: %v", c.secret.Name, err)
		}
		if err := bound.Delete(t.Context(), c.secret.DeepCopy(), client.DryRunAll); (err == nil) != c.mayDrop || err != nil && !isRefused(err) {
			t.Errorf("deleting %s: %v", c.secret.Name, err)
		}
	}
	if err := bound.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(namespace)); !isRefused(err) {
		t.Errorf("deleting all Secrets: %v", err)
	}
}

func TestTheAdmissionPolicyLetsTheManagerWriteOnlyItsOwnConfigMaps(t *testing.T) {
	bound, namespace := newBoundClient(t), newNamespace(t)
	c := newClientObject(t, namespace)
	named := func(name string, change ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
		m := newConfigMap(c, &v1alpha1.ConfigMapTarget{Name: name}, map[string]string{"k": "v"})
		for _, f := range change {
			f(m)
		}
		return m
	}
	plain := func(m *corev1.ConfigMap) { m.Labels, m.Annotations, m.OwnerReferences = nil, nil, nil }
	adopt := func(m *corev1.ConfigMap) {
		plain(m)
		m.Annotations = map[string]string{v1alpha1.AdoptAnnotation: "web"}
	}
	for name, change := range map[string]func(*corev1.ConfigMap){
		"plain": plain, "marked": adopt, rootCAName: func(*corev1.ConfigMap) {},
		"unlabelled":    func(m *corev1.ConfigMap) { m.Labels = nil },
		"others":        func(m *corev1.ConfigMap) { m.OwnerReferences[0].Kind = "Deployment" },
		"of-owner-only": func(m *corev1.ConfigMap) { m.OwnerReferences[0].Controller = nil },
		"with-secret":   func(m *corev1.ConfigMap) { m.Data["client_secret"] = "v" },
	} {
		if err := bound.Create(t.Context(), named(name, change), client.DryRunAll); !isRefused(err) {
			t.Errorf("creating %q: %v", name, err)
		}
	}
	own, adopted, foreign := named("own"), named("adopted", adopt), named("foreign", plain)
	create(t, adopted, foreign)
	if err := bound.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	for _, may := range []struct {
		object       *corev1.ConfigMap
		update, drop bool
	}{{own, true, true}, {adopted, true, false}, {foreign, false, false}} {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"data":{"k":"w"},"metadata":{"annotations":{"oauth-operator.dev/adopt":"web"}}}`))
		if err := bound.Patch(t.Context(), may.object.DeepCopy(), patch, client.DryRunAll); (err == nil) != may.update || err != nil && !isRefused(err) {
			t.Errorf("patching %s: %v", may.object.Name, err)
		}
		patch = client.RawPatch(types.MergePatchType, []byte(`{"data":{"client_secret":"w"}}`))
		if err := bound.Patch(t.Context(), may.object.DeepCopy(), patch, client.DryRunAll); !isRefused(err) {
			t.Errorf("patching %s with a secret: %v", may.object.Name, err)
		}
		if err := bound.Delete(t.Context(), may.object.DeepCopy(), client.DryRunAll); (err == nil) != may.drop || err != nil && !isRefused(err) {
			t.Errorf("deleting %s: %v", may.object.Name, err)
		}
	}
}

// newClientObject creates an OAuthClient that no manager reconciles.
func newClientObject(t *testing.T, namespace string) *v1alpha1.OAuthClient {
	t.Helper()
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}
	c.Spec = v1alpha1.OAuthClientSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
		TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
	}
	create(t, c)
	return c
}

// newServerObject creates an AuthorizationServer that no manager reconciles.
func newServerObject(t *testing.T) *v1alpha1.AuthorizationServer {
	t.Helper()
	server := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "main"}}
	server.Spec.Issuer = "https://" + server.Namespace + ".example.com"
	server.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "tls"}
	create(t, server)
	t.Cleanup(func() { _ = admin.Delete(context.Background(), server) })
	return server
}

// workloadOf are the objects of a token server as the operator makes them.
func workloadOf(server *v1alpha1.AuthorizationServer) []client.Object {
	return []client.Object{
		workload.ServiceAccount(server), workload.RoleBinding(server), workload.Deployment(server, "image"), workload.Service(server),
		workload.PodDisruptionBudget(server),
	}
}

func TestTheAdmissionPolicyLetsTheManagerWriteWhatATokenServerIsMadeOf(t *testing.T) {
	bound, server := newBoundClient(t), newServerObject(t)
	for _, o := range workloadOf(server) {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		if err := bound.Create(t.Context(), o); err != nil {
			t.Errorf("creating the %s: %v", kind, err)
			continue
		}
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"changed":"yes"}}}`))
		if err := bound.Patch(t.Context(), o, patch); err != nil {
			t.Errorf("updating the %s: %v", kind, err)
		}
		if err := bound.Delete(t.Context(), o); err != nil {
			t.Errorf("deleting the %s: %v", kind, err)
		}
	}
}

func TestTheAdmissionPolicyBoundsWhatATokenServerIsMadeOf(t *testing.T) {
	bound, server := newBoundClient(t), newServerObject(t)
	pod := func(change func(*corev1.PodSpec)) client.Object {
		d := workload.Deployment(server, "image")
		change(&d.Spec.Template.Spec)
		return d
	}
	container := func(change func(*corev1.SecurityContext)) client.Object {
		return pod(func(p *corev1.PodSpec) { change(p.Containers[0].SecurityContext) })
	}
	binding := func(change func(*rbacv1.RoleBinding)) client.Object {
		b := workload.RoleBinding(server)
		change(b)
		return b
	}
	service := func(change func(*corev1.ServiceSpec)) client.Object {
		s := workload.Service(server)
		change(&s.Spec)
		return s
	}
	refused := map[string]client.Object{
		"another ServiceAccount": pod(func(p *corev1.PodSpec) { p.ServiceAccountName = "default" }),
		"a hostPath": pod(func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
		}),
		"the node's network":   pod(func(p *corev1.PodSpec) { p.HostNetwork = true }),
		"the node's processes": pod(func(p *corev1.PodSpec) { p.HostPID = true }),
		"the node's IPC":       pod(func(p *corev1.PodSpec) { p.HostIPC = true }),
		"a node's port":        pod(func(p *corev1.PodSpec) { p.Containers[0].Ports[0].HostPort = 8080 }),
		"the user root":        pod(func(p *corev1.PodSpec) { p.SecurityContext.RunAsUser = new(int64(0)) }),
		"any user":             pod(func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil }),
		"a root container":     container(func(c *corev1.SecurityContext) { c.RunAsUser = new(int64(0)) }),
		"a container as any":   container(func(c *corev1.SecurityContext) { c.RunAsNonRoot = new(false) }),
		"escalation":           container(func(c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = nil }),
		"a capability":         container(func(c *corev1.SecurityContext) { c.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"} }),
		"no capabilities":      container(func(c *corev1.SecurityContext) { c.Capabilities = nil }),
		"an init container": pod(func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "init", Image: "image"}}
		}),
		"cluster-admin": binding(func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "cluster-admin" }),
		"a Role":        binding(func(b *rbacv1.RoleBinding) { b.RoleRef.Kind = "Role" }),
		"another subject": binding(func(b *rbacv1.RoleBinding) {
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: b.Namespace, Name: "default"})
		}),
		"a subject elsewhere": binding(func(b *rbacv1.RoleBinding) { b.Subjects[0].Namespace = "default" }),
		"a group": binding(func(b *rbacv1.RoleBinding) {
			b.Subjects = []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"}}
		}),
		"a binding of another name": binding(func(b *rbacv1.RoleBinding) { b.Name, b.Subjects[0].Name = "admin", "admin" }),
		"a binding without owner":   binding(func(b *rbacv1.RoleBinding) { b.OwnerReferences = nil }),
		"a binding without label":   binding(func(b *rbacv1.RoleBinding) { b.Labels = nil }),
		"external addresses":        service(func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"192.0.2.1"} }),
		"an external name": service(func(s *corev1.ServiceSpec) {
			*s = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com", Selector: s.Selector}
		}),
		"another selector": service(func(s *corev1.ServiceSpec) { s.Selector["app.kubernetes.io/instance"] = "other" }),
		"no selector":      service(func(s *corev1.ServiceSpec) { s.Selector = nil }),
	}
	for what, o := range refused {
		if err := bound.Create(t.Context(), o, client.DryRunAll); !isRefused(err) {
			t.Errorf("%s: %v", what, err)
		}
	}

	// Objects of others stay theirs, whatever their name is.
	for _, o := range workloadOf(server) {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		owners, labels := o.GetOwnerReferences(), o.GetLabels()
		o.SetOwnerReferences(nil)
		o.SetLabels(nil)
		create(t, o)
		o.SetOwnerReferences(owners)
		o.SetLabels(labels)
		if err := bound.Update(t.Context(), o, client.DryRunAll); !isRefused(err) {
			t.Errorf("taking over the %s: %v", kind, err)
		}
		if err := bound.Delete(t.Context(), o, client.DryRunAll); !isRefused(err) {
			t.Errorf("deleting the %s: %v", kind, err)
		}
	}
	var foreign appsv1.Deployment
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: server.Namespace, Name: "main-tokenserver"}, &foreign); err != nil {
		t.Error(err)
	}
}

// Others may add to a Deployment, as by a webhook. The manager changes the rest of it nonetheless.
func TestTheAdmissionPolicyBoundsWhatTheManagerAddsToADeployment(t *testing.T) {
	bound, server := newBoundClient(t), newServerObject(t)
	create(t, workload.Deployment(server, "image"))
	update := func(c client.Client, change func(*corev1.PodSpec)) error {
		for {
			var d appsv1.Deployment
			if err := admin.Get(t.Context(), client.ObjectKey{Namespace: server.Namespace, Name: "main-tokenserver"}, &d); err != nil {
				t.Fatal(err)
			}
			change(&d.Spec.Template.Spec)
			if err := c.Update(t.Context(), &d); !apierrors.IsConflict(err) {
				return err
			}
		}
	}
	sidecar := func(p *corev1.PodSpec) {
		p.Containers = append(p.Containers, corev1.Container{Name: "proxy", Image: "proxy"})
		p.Volumes = append(p.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
	}
	if err := update(bound, sidecar); !isRefused(err) {
		t.Errorf("the manager adds a container and a volume: %v", err)
	}
	if err := update(admin, sidecar); err != nil {
		t.Fatal(err)
	}
	if err := update(bound, func(p *corev1.PodSpec) { p.PriorityClassName = "system-cluster-critical" }); err != nil {
		t.Errorf("the manager changes something else: %v", err)
	}
	for what, change := range map[string]func(*corev1.PodSpec){
		"container": func(p *corev1.PodSpec) { p.Containers[1].Command = []string{"sh"} },
		"volume":    func(p *corev1.PodSpec) { p.Volumes[len(p.Volumes)-1].HostPath.Path = "/etc" },
	} {
		if err := update(bound, change); !isRefused(err) {
			t.Errorf("the manager changes another's %s: %v", what, err)
		}
	}
}

// A right that the manager is given later is bounded too, or is in the list of this test.
func TestAdmissionPoliciesCoverAllThatTheManagerMayWriteOfOthersKinds(t *testing.T) {
	var role rbacv1.ClusterRole
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "oauth-operator-manager"}, &role); err != nil {
		t.Fatal(err)
	}
	var policies admissionregistrationv1.ValidatingAdmissionPolicyList
	if err := admin.List(t.Context(), &policies); err != nil {
		t.Fatal(err)
	}
	operations := map[string]string{"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}
	covered := func(group, resource, verb string) bool {
		for _, policy := range policies.Items {
			for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
				if slices.Contains(rule.APIGroups, group) && slices.Contains(rule.Resources, resource) &&
					slices.Contains(rule.Operations, admissionregistrationv1.OperationType(operations[verb])) {
					return true
				}
			}
		}
		return false
	}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					own := group == v1alpha1.GroupVersion.Group || strings.HasSuffix(group, "."+v1alpha1.GroupVersion.Group)
					isEvent := resource == "events" // says something, and changes nothing
					if operations[verb] != "" && !own && !isEvent && !covered(group, resource, verb) {
						t.Errorf("no policy bounds what the manager may %s of %s in group %q", verb, resource, group)
					}
				}
			}
		}
	}
}
