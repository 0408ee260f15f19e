package gitops

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// finalizer keeps a deleted object until the test has read it.
const finalizer = "example.com/hold"

// statuses are what the tools are to say of an object in a state.
type statuses struct{ kstatus, flux, argocd string }

var (
	current     = statuses{"Current", "Current", "Healthy"}
	inProgress  = statuses{"InProgress", "InProgress", "Progressing"}
	failed      = statuses{"Failed", "Failed", "Degraded"}
	terminating = statuses{"Terminating", "Terminating", "Progressing"}
)

// observation is an object as the API server returned it in a state.
type observation struct {
	state  string
	object *unstructured.Unstructured
	want   statuses
}

// observations collects objects in their states.
type observations struct {
	env *testenv.Env
	all []observation
}

func (o *observations) add(state string, object *unstructured.Unstructured, want statuses) {
	o.all = append(o.all, observation{state, object, want})
}

// read adds an object as it is.
func (o *observations) read(state string, object client.Object, want statuses) {
	o.env.T.Helper()
	u := withKind(o.env.T, object)
	if err := testenv.Kube.Get(o.env.T.Context(), client.ObjectKeyFromObject(object), u); err != nil {
		o.env.T.Fatal(err)
	}
	o.add(state, u, want)
}

// wait creates an object unless it exists, and adds it when its condition Ready has the reason.
func (o *observations) wait(state string, object client.Object, reason string, want statuses) {
	o.env.T.Helper()
	if object.GetUID() == "" {
		o.env.Create(object)
	}
	o.env.WaitFor(state+" "+object.GetName(), object, func() bool {
		ready := meta.FindStatusCondition(conditionsOf(o.env.T, withStatus(o.env.T, object)), v1alpha1.ConditionReady)
		return ready.Reason == reason && ready.ObservedGeneration == object.GetGeneration()
	})
	o.read(state, object, want)
}

// dryRun adds what the API server answers to the creation of an object, and to a change of one that
// is Ready: no manager has seen either.
func (o *observations) dryRun(fresh, ready client.Object, change func(spec map[string]any)) {
	o.env.T.Helper()
	u := withKind(o.env.T, fresh)
	delete(u.Object, "status")
	if err := testenv.Kube.Create(o.env.T.Context(), u, client.DryRunAll); err != nil {
		o.env.T.Fatal(err)
	}
	o.add("fresh", u, inProgress)
	var changed *unstructured.Unstructured
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		changed = withKind(o.env.T, ready)
		if err := testenv.Kube.Get(o.env.T.Context(), client.ObjectKeyFromObject(ready), changed); err != nil {
			return err
		}
		change(changed.Object["spec"].(map[string]any))
		return testenv.Kube.Update(o.env.T.Context(), changed, client.DryRunAll)
	})
	if err != nil {
		o.env.T.Fatal(err)
	}
	o.add("changed", changed, inProgress)
}

// delete deletes an object that a finalizer keeps, and adds it.
func (o *observations) delete(object client.Object, want statuses) {
	o.env.T.Helper()
	setFinalizers := func(list ...string) func() { return func() { object.SetFinalizers(list) } }
	o.env.Update(object, setFinalizers(finalizer))
	o.env.T.Cleanup(func() {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		_ = testenv.Kube.Patch(context.Background(), object, patch)
	})
	o.env.Delete(object)
	o.read("being deleted", object, want)
}

// withKind returns an object without a type, as tools read it.
func withKind(t testing.TB, object client.Object) *unstructured.Unstructured {
	t.Helper()
	kinds, _, err := testenv.Kube.Scheme().ObjectKinds(object)
	if err != nil {
		t.Fatal(err)
	}
	u := withStatus(t, object)
	u.SetGroupVersionKind(kinds[0])
	return u
}

func withStatus(t testing.TB, object client.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func conditionsOf(t testing.TB, u *unstructured.Unstructured) []metav1.Condition {
	t.Helper()
	content, err := json.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Status struct{ Conditions []metav1.Condition }
	}
	if err := json.Unmarshal(content, &object); err != nil {
		t.Fatal(err)
	}
	return object.Status.Conditions
}

func TestToolsOfGitOpsJudgeEachKindRightlyInEachState(t *testing.T) {
	env := testenv.New(t)
	o := &observations{env: env}
	servers(o)
	users(o)
	apis(o)
	providers(o)
	clients(o)
	o.delete(env.User, terminating)
	o.delete(env.Server, terminating) // the last: everything else needs it

	var objects []*unstructured.Unstructured
	kinds := map[string]int{}
	for _, seen := range o.all {
		objects = append(objects, seen.object)
		kinds[seen.object.GetKind()]++
	}
	for i, said := range judge(t, objects) {
		check(t, o.all[i], said)
	}
	for kind, states := range kinds {
		if states < 7 || scripts(t)[kind] == "" {
			t.Errorf("%s was judged in %d states", kind, states)
		}
	}
	if len(kinds) != len(scripts(t)) {
		t.Errorf("objects of the kinds %v, and scripts for %d", kinds, len(scripts(t)))
	}
}

// check compares what the tools say of an object with what they are to say, and with its conditions.
func check(t *testing.T, seen observation, said map[string]judgement) {
	t.Helper()
	what := seen.state + " " + seen.object.GetKind()
	got := statuses{said["kstatus"].Status, said["flux"].Status, said["argocd"].Status}
	if got != seen.want {
		t.Errorf("%s is %+v, not %+v: %v", what, got, seen.want, seen.object.Object["status"])
	}
	conditions := conditionsOf(t, seen.object)
	generation, _, _ := unstructured.NestedInt64(seen.object.Object, "status", "observedGeneration")
	isObserved := generation == seen.object.GetGeneration()
	isReady := meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) && isObserved && seen.object.GetDeletionTimestamp() == nil
	if (got == current) != isReady {
		t.Errorf("%s is %+v, and that its current generation is Ready is %v", what, got, isReady)
	}
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if message := said["argocd"].Message; message == "" || isObserved && seen.object.GetDeletionTimestamp() == nil && !strings.HasSuffix(message, ready.Message) {
		t.Errorf("Argo CD says of %s %q, and its condition Ready %q", what, message, ready.Message)
	}
}

func selector(label string) *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: "x"}}}
}

func servers(o *observations) {
	server := func(name, issuer string) *v1alpha1.AuthorizationServer {
		return &v1alpha1.AuthorizationServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: o.env.ServerNamespace, Name: name}, Spec: v1alpha1.AuthorizationServerSpec{Issuer: issuer},
		}
	}
	o.wait("ready", o.env.Server, v1alpha1.ReasonReady, current)
	o.dryRun(server("fresh", "https://fresh.example.com"), o.env.Server, func(spec map[string]any) { spec["tokens"] = map[string]any{"accessTokenLifetime": "7m"} })
	waiting := server("waiting", "https://127.0.0.1:1")
	waiting.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "missing"}
	o.wait("pending", waiting, v1alpha1.ReasonSecretNotFound, inProgress)
	o.wait("refused", server("refused", o.env.Issuer), v1alpha1.ReasonIssuerTaken, inProgress)
	stalled := server("stalled", "https://stalled.example.com")
	stalled.Spec.AllowedClients = []v1alpha1.ClientRule{{Name: "a", Namespaces: selector("a b")}}
	o.wait("stalled", stalled, v1alpha1.ReasonInvalid, failed)
	for _, s := range []client.Object{waiting, stalled} {
		o.env.T.Cleanup(func() { _ = testenv.Kube.Delete(context.Background(), s) })
	}
}

func users(o *observations) {
	o.wait("ready", o.env.User, v1alpha1.ReasonReady, current)
	o.dryRun(o.env.NewUser("fresh", "fresh", "fresh"), o.env.User, func(spec map[string]any) { spec["claims"] = map[string]any{"name": "Alice"} })
	lost := o.env.NewUser("lost", "lost", "lost")
	lost.Spec.ServerRef.Name = "missing"
	o.wait("pending", lost, v1alpha1.ReasonServerNotFound, inProgress)
	o.wait("refused", o.env.NewUser("refused", testenv.Username, "refused"), v1alpha1.ReasonUsernameTaken, inProgress)
	stalled := o.env.NewUser("stalled", "stalled", "stalled")
	stalled.Spec.Claims.Raw = []byte(`{"iss": "x"}`)
	o.wait("stalled", stalled, v1alpha1.ReasonInvalid, failed)
}

func apis(o *observations) {
	api := func(namespace, name, server string) *v1alpha1.ResourceServer {
		return &v1alpha1.ResourceServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: v1alpha1.ResourceServerSpec{
				ServerRef: v1alpha1.ServerReference{Name: server, Namespace: o.env.ServerNamespace}, Identifier: "https://" + name + ".example.com",
			},
		}
	}
	ready := o.env.ReadyAPI("https://api.example.com", []string{"read"})
	o.wait("ready", ready, v1alpha1.ReasonReady, current)
	o.dryRun(api(o.env.AppNamespace, "fresh", "main"), ready, func(spec map[string]any) { spec["scopes"] = []any{map[string]any{"name": "write"}} })
	o.wait("pending", api(o.env.AppNamespace, "lost", "missing"), v1alpha1.ReasonServerNotFound, inProgress)
	o.wait("refused", api(o.env.ServerNamespace, "refused", "main"), v1alpha1.ReasonNotAllowedByServer, inProgress)
	stalled := api(o.env.AppNamespace, "stalled", "main")
	stalled.Spec.AllowedClients = []v1alpha1.ResourceClientRule{{Name: "a", Namespaces: selector("a b")}}
	o.wait("stalled", stalled, v1alpha1.ReasonInvalid, failed)
	o.delete(ready, terminating)
}

func providers(o *observations) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.env.ServerNamespace, Name: "provider"}, StringData: map[string]string{"secret": strings.Repeat("x", 32)},
	}
	o.env.Create(secret)
	provider := func(name, issuer, key string) *v1alpha1.IdentityProvider {
		return &v1alpha1.IdentityProvider{
			ObjectMeta: metav1.ObjectMeta{Namespace: o.env.ServerNamespace, Name: name},
			Spec: v1alpha1.IdentityProviderSpec{
				ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Clients: v1alpha1.ProviderClientsListed, Type: v1alpha1.ProviderOIDC, Allow: "true",
				OIDC: &v1alpha1.OIDCProviderSettings{
					Issuer: issuer, ClientID: "oauth-operator", ClientSecretRef: v1alpha1.SecretKeyReference{Name: secret.Name, Key: key},
				},
			},
		}
	}
	ready := provider("ready", "https://login.example.com", "secret")
	o.wait("ready", ready, v1alpha1.ReasonReady, current)
	o.dryRun(provider("fresh", "https://fresh.example.com", "secret"), ready, func(spec map[string]any) { spec["displayName"] = "Acme" })
	o.wait("pending", provider("pending", "https://pending.example.com", "missing"), v1alpha1.ReasonSecretNotFound, inProgress)
	o.wait("refused", provider("refused", "https://login.example.com", "secret"), v1alpha1.ReasonRealmTaken, inProgress)
	stalled := provider("stalled", "https://stalled.example.com", "secret")
	stalled.Spec.Allow = "upstream."
	o.wait("stalled", stalled, v1alpha1.ReasonInvalid, failed)
	o.delete(ready, terminating)
}

func clients(o *observations) {
	spec := v1alpha1.OAuthClientSpec{
		ServerRef:  v1alpha1.ServerReference{Name: "main", Namespace: o.env.ServerNamespace},
		GrantTypes: []v1alpha1.GrantType{v1alpha1.GrantTypeClientCredentials}, TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
	}
	oauthClient := func(name string, change func(*v1alpha1.OAuthClientSpec)) *v1alpha1.OAuthClient {
		c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: o.env.AppNamespace, Name: name}, Spec: *spec.DeepCopy()}
		change(&c.Spec)
		return c
	}
	unchanged := func(*v1alpha1.OAuthClientSpec) {}
	ready := oauthClient("ready", unchanged)
	o.wait("ready", ready, v1alpha1.ReasonReady, current)
	o.dryRun(oauthClient("fresh", unchanged), ready, func(spec map[string]any) { spec["displayName"] = "Shop" })
	o.wait("pending", oauthClient("lost", func(s *v1alpha1.OAuthClientSpec) { s.ServerRef.Name = "missing" }), v1alpha1.ReasonServerNotFound, inProgress)
	refused := oauthClient("refused", func(s *v1alpha1.OAuthClientSpec) { s.ClientID = "another.id" })
	o.wait("refused", refused, v1alpha1.ReasonNotAllowedByServer, inProgress)
	// Today the API server refuses each client that would be stalled.
	stalled := withKind(o.env.T, refused)
	condition := map[string]any{
		"type": v1alpha1.ConditionStalled, "status": "True", "reason": v1alpha1.ReasonInvalid, "lastTransitionTime": "2026-01-01T00:00:00Z",
		"message": meta.FindStatusCondition(refused.Status.Conditions, v1alpha1.ConditionReady).Message,
	}
	status := stalled.Object["status"].(map[string]any)
	status["conditions"] = append(status["conditions"].([]any), condition)
	if err := testenv.Kube.Status().Update(o.env.T.Context(), stalled, client.DryRunAll); err != nil {
		o.env.T.Fatal(err)
	}
	o.add("stalled", stalled, failed)
	suspended := oauthClient("suspended", func(s *v1alpha1.OAuthClientSpec) { s.Suspended = true })
	o.wait("suspended", suspended, v1alpha1.ReasonSuspended, statuses{"InProgress", "Current", "Suspended"})
	o.delete(ready, statuses{"Terminating", "InProgress", "Progressing"})
}
