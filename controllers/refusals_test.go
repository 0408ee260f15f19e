package controllers

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	localoperator "github.com/oauth-operator/oauth-operator/hack/local/operator"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// newQuota admits so many Secrets in a namespace. The quota controller, which no test runs, would
// write the status.
func (env *testEnv) newQuota(namespace string, secrets string) *corev1.ResourceQuota {
	env.t.Helper()
	hard := corev1.ResourceList{corev1.ResourceSecrets: resource.MustParse(secrets)}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	create(env.t, q)
	q.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{corev1.ResourceSecrets: resource.MustParse("0")}}
	if err := admin.Status().Update(env.t.Context(), q); err != nil {
		env.t.Fatal(err)
	}
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}}
	eventually.True(env.t, "the quota is in force", func() bool {
		return apierrors.IsForbidden(admin.Create(env.t.Context(), probe.DeepCopy(), client.DryRunAll))
	})
	return q
}

// newPolicy refuses the objects of a resource in a namespace for which a CEL expression does not
// hold, until the test ends or lift is called.
func (env *testEnv) newPolicy(namespace, group, version, resource, expression, message string, probe client.Object) (lift func()) {
	env.t.Helper()
	name := namespace + "-" + resource
	fail, all := admissionv1.Fail, metav1.LabelSelector{}
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{
				ObjectSelector:    &all,
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: expression, Message: message}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	create(env.t, policy, binding)
	refuses := func() bool {
		err := admin.Create(env.t.Context(), probe.DeepCopyObject().(client.Object), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), message)
	}
	eventually.True(env.t, "the policy is in force", refuses)
	return func() {
		env.deleteObject(binding)
		env.deleteObject(policy)
		eventually.True(env.t, "the policy is not in force", func() bool { return !refuses() })
	}
}

// quiet fails the test if the manager changes anything in the given time but by the allowed number
// of tries, and wakes all that wait meanwhile.
func (env *testEnv) quiet(made *writeRecorder, d time.Duration, tries int) {
	env.t.Helper()
	made.limit(-1)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { // what token servers have applied wakes the objects that wait for it
			r.Spec.AppliedResourceVersion = fmt.Sprint(time.Now().UnixNano())
		})
	}
	if entries := made.matching("/entries"); len(entries) > 0 {
		env.t.Errorf("%d writes of Entries: %q", len(entries), entries[0])
	}
	if all := made.matching(""); len(all) > tries {
		env.t.Errorf("%d requests that write in %v, not %d: %q", len(all), d, tries, all[:min(10, len(all))])
	}
}

func TestASecretThatAQuotaRefusesIsAConditionAndIsTriedLessAndLessOften(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	quota := env.newQuota(env.apps, "0")
	began := time.Now()
	c := env.newClient()
	message := env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	if !strings.Contains(message, "exceeded quota: none") || !strings.Contains(message, c.Name+"-oauth") || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %s", time.Since(began), message)
	}
	time.Sleep(500 * time.Millisecond) // the status was written
	env.quiet(made, 8*time.Second, 4)  // tries after 1, 3 and 7 seconds
	if env.entry(internalv1alpha1.SpaceIdentity, compile.ClientID(c)) != nil {
		t.Error("there is an Entry")
	}
	updateObject(env, quota, func(q *corev1.ResourceQuota) { q.Spec.Hard[corev1.ResourceSecrets] = resource.MustParse("9") })
	quota.Status.Hard = quota.Spec.Hard
	if err := admin.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if !env.isCredential(c, env.clientSecretOf(c)) || len(env.document(c).Credentials) != 1 {
		t.Error("the secret does not authenticate")
	}
}

func TestACredentialStaysInForceWhileItsSecretCannotBeWrittenAgain(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	deleted, edited := env.readyClient(), env.readyClient()
	values := map[*v1alpha1.OAuthClient]string{deleted: env.clientSecretOf(deleted), edited: env.clientSecretOf(edited)}
	manager := fmt.Sprintf("system:serviceaccount:%s:%s", localoperator.Namespace, localoperator.ServiceAccount)
	lift := env.newPolicy(env.apps, "", "v1", "secrets", "!has(object.data) || object.metadata.name != 'probe' && request.userInfo.username != '"+manager+"'", "no data is wanted",
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "probe"}, StringData: map[string]string{"a": "b"}})
	env.deleteObject(env.secretOf(deleted))
	updateObject(env, env.secretOf(edited), func(s *corev1.Secret) { s.Data["client_secret"] = []byte(strongSecret) })
	for _, c := range []*v1alpha1.OAuthClient{deleted, edited} {
		message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
		if !strings.Contains(message, "no data is wanted") {
			t.Error(message)
		}
	}
	updateObject(env, deleted, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "another generation" })
	env.waitForCondition(deleted, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	time.Sleep(500 * time.Millisecond)
	env.quiet(made, 5*time.Second, 6) // three of each
	for c, value := range values {
		if !env.isCredential(c, value) || env.isCredential(c, strongSecret) {
			t.Error("what Pods hold is refused, or what was typed is not")
		}
	}
	lift()
	for c, value := range values {
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if now := env.clientSecretOf(c); now == value || now == strongSecret || !env.isCredential(c, now) || env.stateOf(c, value) != documents.CredentialRetiring {
			t.Error("a Secret that was deleted or edited has the same value again, or what was typed")
		}
	}
}

func TestAPolicyOnLabelsAndContentSeesTheWholeSecret(t *testing.T) {
	env := newEnv(t)
	env.newPolicy(env.apps, "", "v1", "secrets",
		"has(object.metadata.labels) && 'team' in object.metadata.labels && has(object.data) && 'client_secret' in object.data && 'issuer' in object.data",
		"it is not whole", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "probe"}})
	c := env.readyClient(func(c *v1alpha1.OAuthClient) {
		c.Spec.Secret = &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{
			Name: "whole", Labels: map[string]string{"team": "shop"},
		}}
	})
	if !env.isCredential(c, env.clientSecretOf(c)) {
		t.Error("the secret does not authenticate")
	}
	refused := env.newClient()
	env.waitForCondition(refused, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	updateObject(env, refused, func(r *v1alpha1.OAuthClient) {
		r.Spec.Secret = c.Spec.Secret.DeepCopy()
		r.Spec.Secret.Target.Name = "other"
	})
	env.waitForCondition(refused, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAnImmutableSecretIsACondition(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c := env.readyClient()
	value := env.clientSecretOf(c)
	updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Immutable = new(true) })
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { // which changes what the Secret is to hold
		c.Spec.GrantTypes, c.Spec.RedirectURIs = []v1alpha1.GrantType{"authorization_code"}, []string{"https://app.example.com/cb"}
	})
	message := env.waitForCondition(c, v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	if !strings.Contains(message, "immutable") {
		t.Error(message)
	}
	time.Sleep(500 * time.Millisecond)
	env.quiet(made, 4*time.Second, 3)
	if env.get(c); !env.isCredential(c, value) || c.Status.SecretName == "" {
		t.Error("the secret that Pods hold is not in force")
	}
}

func TestWhateverStepFailsTheConditionsOfThatKindSaySoOfThisGeneration(t *testing.T) {
	env := newEnv(t)
	c, user, api := env.readyClient(), env.newUser("alice", "correct horse"), env.newAPI("https://api.example.com", "a:read")
	env.waitForCondition(user, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	p, identity := env.readyProvider("login"), env.newIdentity(func(o *v1alpha1.OAuthIdentity) { o.Spec.TokensNotBefore = inSeconds(-10) })
	env.waitForCondition(identity, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	lift := env.newPolicy(env.identity, "internal.oauth-operator.dev", "v1alpha1", "entries", "object.metadata.name == 'none'", "the platform is frozen",
		newEntry(t, env.server, "probe", compile.OwnerOf(c)))
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Changed" })
	updateObject(env, user, func(u *v1alpha1.OAuthUser) { u.Spec.Username = "alice.two" })
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes[0].Description = "Changed" })
	updateObject(env, p, func(p *v1alpha1.IdentityProvider) { p.Spec.DisplayName = "Changed" })
	updateObject(env, identity, func(o *v1alpha1.OAuthIdentity) { o.Spec.TokensNotBefore = inSeconds(-5) })
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: time.Minute}}
	})
	for _, o := range []client.Object{c, user, api, p, identity, env.server} {
		message := env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
		own := o.GetNamespace() == env.identity
		if strings.Contains(message, "the platform is frozen") != own || !strings.Contains(message, "Entry") {
			t.Errorf("%T: %s", o, message)
		}
	}
	for condition, status := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionAccepted: metav1.ConditionTrue, v1alpha1.ConditionResolvedRefs: metav1.ConditionUnknown,
		v1alpha1.ConditionCredentialsReady: metav1.ConditionUnknown, v1alpha1.ConditionProgrammed: metav1.ConditionFalse,
	} {
		if env.get(c); !hasCondition(c.Status.Conditions, condition, status, c.Generation) {
			t.Logf("conditions %+v", c.Status.Conditions)
			t.Errorf("%s is not %s", condition, status)
		}
	}
	lift()
	for _, o := range []client.Object{c, user, api, p, identity, env.server} {
		env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
}

// What a policy refuses of the objects that a server needs is a condition of the server, whichever
// it is, and each of them is asked for less and less often.
func TestWhateverOfAServerIsRefusedIsAConditionIsTriedLessAndLessOftenAndHeals(t *testing.T) {
	for resource, test := range map[string]struct {
		group, kind, conditionType string
		probe                      func(*v1alpha1.AuthorizationServer) client.Object
	}{
		"secrets": {"", "Secret", v1alpha1.ConditionAvailable, func(s *v1alpha1.AuthorizationServer) client.Object { // with the keys
			return workload.UpstreamsSecret(s)
		}},
		"serviceaccounts": {"", "ServiceAccount", v1alpha1.ConditionDeployed, func(s *v1alpha1.AuthorizationServer) client.Object {
			return workload.ServiceAccount(s)
		}},
		"rolebindings": {rbacv1.GroupName, "RoleBinding", v1alpha1.ConditionDeployed, func(s *v1alpha1.AuthorizationServer) client.Object {
			return workload.RoleBinding(s)
		}},
		"services": {"", "Service", v1alpha1.ConditionDeployed, func(s *v1alpha1.AuthorizationServer) client.Object {
			return workload.Service(s)
		}},
		"poddisruptionbudgets": {policyv1.GroupName, "PodDisruptionBudget", v1alpha1.ConditionDeployed, func(s *v1alpha1.AuthorizationServer) client.Object {
			return workload.PodDisruptionBudget(s)
		}},
		"deployments": {appsv1.GroupName, "Deployment", v1alpha1.ConditionDeployed, func(s *v1alpha1.AuthorizationServer) client.Object {
			return workload.Deployment(s, testImage)
		}},
	} {
		t.Run(resource, func(t *testing.T) {
			made := recordWrites(t)
			env := newEnvWithoutManager(t)
			probe := test.probe(env.server)
			probe.SetName("probe")
			probe.SetOwnerReferences(nil) // there is no server yet
			lift := env.newPolicy(env.identity, test.group, "v1", resource, "object.metadata.name == 'none'", "the platform is frozen", probe)
			startManager(t)
			create(t, env.server)
			env.replica = env.newReplica("main-0", maxResourceVersion)
			env.keepRenewing(env.replica)
			message := env.waitForCondition(env.server, test.conditionType, metav1.ConditionFalse, v1alpha1.ReasonRefused)
			if !strings.Contains(message, test.kind+` "main-tokenserver`) || !strings.Contains(message, "the platform is frozen") {
				t.Error(message)
			}
			env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
			time.Sleep(500 * time.Millisecond) // the status was written
			env.quiet(made, 4*time.Second, 3)
			lift()
			env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// The credential of a provider that is in use stays so while another one cannot be copied, and a
// ConfigMap is no exception.
func TestARefusedCopyOfACredentialAndARefusedConfigMapAreConditionsAndTriedLessAndLessOften(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	c, p := env.readyClient(withConfigMap("settings", nil)), env.readyProvider("login")
	copied := env.upstreams()
	secrets := env.newPolicy(env.identity, "", "v1", "secrets", "!object.metadata.name.endsWith('-upstreams')", "no copies here",
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "probe-upstreams"}})
	configMaps := env.newPolicy(env.apps, "", "v1", "configmaps", "object.metadata.name == 'none'", "no settings here",
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.apps, Name: "probe"}})
	updateObject(env, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "login"}}, func(s *corev1.Secret) {
		s.Data["secret"] = []byte("another")
	})
	env.deleteObject(env.configMap("settings"))
	if message := env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused); !strings.Contains(message, "no copies here") {
		t.Error(message)
	}
	if message := env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused); !strings.Contains(message, "no settings here") {
		t.Error(message)
	}
	time.Sleep(500 * time.Millisecond) // both statuses were written
	env.quiet(made, 4*time.Second, 6)
	served := env.providerDocument("login").Credentials
	if len(copied) != 1 || len(served) != 1 || copied[served[0]] == nil || !maps.EqualFunc(env.upstreams(), copied, bytes.Equal) {
		t.Errorf("%d credentials were copied, and %d are named", len(env.upstreams()), len(served))
	}
	if !env.isCredential(c, env.clientSecretOf(c)) {
		t.Error("the secret of the client is not in force")
	}
	secrets()
	configMaps()
	eventually.True(t, "the other credential is copied", func() bool { return len(env.upstreams()) == 2 })
	env.loadUpstreams()
	env.waitForCondition(p, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// countedWriter is a writer with a clock of its own, and how often it asked the API server to
// create something.
func countedWriter(t *testing.T, now *time.Time) (w *writer, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	counted := rest.CopyConfig(managerConfig)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				asked.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	return newWriter(clientOf(t, counted), func() time.Time { return *now }), asked
}

func TestWhatWasRefusedIsAskedAgainLessAndLessOftenUntilTheObjectIsEdited(t *testing.T) {
	now := time.Now()
	w, asked := countedWriter(t, &now)
	object := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: 1}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "Not a name"}}
	create := func() {
		t.Helper()
		if err := w.Create(withCause(t.Context(), object), secret.DeepCopy()); !apierrors.IsInvalid(err) {
			t.Errorf("%v", err)
		}
	}
	in := func(d time.Duration) int32 {
		before := asked.Load()
		for end := now.Add(d); now.Before(end); now = now.Add(100 * time.Millisecond) {
			create()
		}
		return asked.Load() - before
	}
	for _, c := range []struct {
		in   time.Duration
		want int32
	}{{time.Second, 1}, {15 * time.Second, 4}, {16 * time.Second, 1}, {5 * time.Minute, 4}, {20 * time.Minute, 4}} {
		if got := in(c.in); got < c.want-1 || got > c.want+1 {
			t.Errorf("in %v: asked %d times, not %d", c.in, got, c.want)
		}
	}
	before := asked.Load()
	object.Generation++
	if create(); asked.Load() != before+1 {
		t.Error("an edited object is not tried at once")
	}
	object.UID = "b"
	if create(); asked.Load() != before+2 {
		t.Error("another object of the name is not tried at once")
	}
	if create(); asked.Load() != before+2 {
		t.Error("it is tried again at once")
	}
}

// As when two clients name one Secret as their target, in a namespace whose quota admits none.
func TestObjectsThatAreRefusedTheSameWriteAreEachTriedLessAndLessOften(t *testing.T) {
	now := time.Now()
	w, asked := countedWriter(t, &now)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "Not a name"}}
	for end := now.Add(time.Minute); now.Before(end); now = now.Add(100 * time.Millisecond) {
		for _, uid := range []types.UID{"a", "b", "c"} {
			object := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{UID: uid, Generation: 1}}
			if err := w.Create(withCause(t.Context(), object), secret.DeepCopy()); !apierrors.IsInvalid(err) {
				t.Fatal(err)
			}
		}
	}
	if got := asked.Load(); got > 3*6 { // at once, and after 1, 3, 7, 15 and 31 seconds
		t.Errorf("asked %d times in a minute", got)
	}
}
