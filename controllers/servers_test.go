package controllers

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/keyring"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestOfTwoServersWithOneIssuerTheOlderHasIt(t *testing.T) {
	env := newEnv(t)
	elsewhere := newNamespace(t)
	second := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "main"}, Spec: *env.server.Spec.DeepCopy()}
	create(t, second)
	older, younger := env.server, second
	if env.get(second); env.server.CreationTimestamp.Equal(&second.CreationTimestamp) && second.UID < env.server.UID { // within one second the lower UID is the older
		older, younger = second, env.server
	}
	message := env.waitForCondition(younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIssuerTaken)
	if !strings.Contains(message, "spec.issuer") || !strings.Contains(message, env.server.Spec.Issuer) || strings.Contains(message, older.Namespace+"/") {
		t.Error(message)
	}
	env.waitForCondition(older, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	e := &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{Namespace: younger.Namespace, Name: compile.EntryName(younger.UID, compile.IssuerName(younger))}}
	eventually.True(t, "the younger one is not served", func() bool { return !env.exists(e) })
	if younger.Status.Endpoints != nil {
		t.Error("it tells of endpoints")
	}

	c := env.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.ServerRef.Namespace = younger.Namespace })
	message = env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotAccepted)
	if !strings.Contains(message, "spec.serverRef") || !strings.Contains(message, v1alpha1.ReasonIssuerTaken) {
		t.Error(message)
	}
	env.deleteObject(older)
	env.waitForCondition(younger, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	env.waitForCondition(c, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	if younger == second {
		env.deleteObject(second)
	}
}

func TestTheIdentityOfATokenServerIsRepaired(t *testing.T) {
	env := newEnv(t)
	at := metav1.ObjectMeta{Namespace: env.identity, Name: workload.ServiceAccountName("main")}
	account, binding := &corev1.ServiceAccount{ObjectMeta: at}, &rbacv1.RoleBinding{ObjectMeta: at}
	env.get(account)
	env.get(binding)
	want := binding.DeepCopy()
	for what, damage := range map[string]func(){
		"deleted":   func() { env.deleteObject(account); env.deleteObject(binding) },
		"unlabeled": func() { updateObject(env, binding, func(b *rbacv1.RoleBinding) { b.Labels = nil }) },
		"subjects": func() {
			updateObject(env, binding, func(b *rbacv1.RoleBinding) {
				b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"})
			})
		},
		"role": func() { // which cannot be changed
			env.deleteObject(binding)
			other := want.DeepCopy()
			other.ResourceVersion, other.UID, other.RoleRef.Name = "", "", "view"
			if err := admin.Create(t.Context(), other); err != nil && !env.exists(binding) { // the manager was faster
				t.Error(err)
			}
		},
	} {
		damage()
		eventually.True(t, what+": all is as it was", func() bool {
			return env.exists(account) && env.exists(binding) && binding.RoleRef == want.RoleRef && len(binding.Subjects) == 1 &&
				binding.Subjects[0] == want.Subjects[0] && binding.Labels[workload.ManagedByLabel] == workload.ManagedBy
		})
	}
}

func TestACertificateThatIsMissingIsNamed(t *testing.T) {
	env := newEnv(t)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "certificate"} })
	message := env.waitForCondition(env.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "spec.tls.secretName") || !strings.Contains(message, `"certificate"`) {
		t.Error(message)
	}
	env.newSecret(env.identity, "certificate", nil)
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAServerCountsTheClientsThatItAccepted(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	env.readyClient()
	env.newClient(asking("elsewhere.x"))
	count := func(n int32) {
		t.Helper()
		eventually.True(t, "it counts right", func() bool { env.get(env.server); return env.server.Status.Clients == n })
	}
	count(2)
	env.deleteObject(c)
	count(1)
}

func TestARotationThatIsAskedForIsToldWhileItIsPending(t *testing.T) {
	env := newEnv(t)
	env.waitForCondition(env.server, v1alpha1.ConditionKeysCurrent, metav1.ConditionTrue, v1alpha1.ReasonKeysCurrent)
	hold := func() {
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
			r.Spec.Keys = nil
			for _, k := range env.server.Status.Keys {
				r.Spec.Keys = append(r.Spec.Keys, string(k.KID))
			}
		})
	}
	hold()
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 2}}
	})
	message := env.waitForCondition(env.server, v1alpha1.ConditionKeysCurrent, metav1.ConditionFalse, v1alpha1.ReasonRotationPending)
	eventually.True(t, "the status says when each signing key becomes Active, and the condition says the same", func() bool {
		env.get(env.server)
		message = meta.FindStatusCondition(env.server.Status.Conditions, v1alpha1.ConditionKeysCurrent).Message
		told := 0
		for _, k := range env.server.Status.Keys {
			if k.ActiveAfter != nil && k.Phase == v1alpha1.KeyPublished && time.Until(k.ActiveAfter.Time) > 5*time.Minute &&
				strings.Contains(message, string(k.KID)) && strings.Contains(message, k.ActiveAfter.UTC().Format(time.RFC3339)) {
				told++
			}
		}
		return told == 2 && strings.Contains(message, "revision 2")
	})
	if !meta.IsStatusConditionTrue(env.server.Status.Conditions, v1alpha1.ConditionReady) {
		t.Error("a rotation that is pending is taken for a fault")
	}
	env.clock.move(keyring.PublishedFor)
	hold()
	env.waitForCondition(env.server, v1alpha1.ConditionKeysCurrent, metav1.ConditionTrue, v1alpha1.ReasonKeysCurrent)
	for _, reason := range []string{v1alpha1.ReasonRotationPending, v1alpha1.ReasonKeysCurrent} {
		eventually.True(t, "there is an event "+reason, func() bool {
			return slices.ContainsFunc(env.eventsOf(env.server), func(e string) bool { return strings.HasPrefix(e, "Normal "+reason) })
		})
	}
}

func TestAnObjectThatIsNotOursIsLeftAloneAndNamed(t *testing.T) {
	env := newEnvWithoutManager(t)
	at := metav1.ObjectMeta{Namespace: env.identity, Name: workload.ServiceAccountName("main"), Annotations: map[string]string{"example.com/role": "theirs"}}
	account := &corev1.ServiceAccount{ObjectMeta: at}
	binding := &rbacv1.RoleBinding{ObjectMeta: at, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}}
	// One that looks like ours, and that another controller has.
	binding.Labels = workload.Labels("main")
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "theirs"}}
	create(t, theirs)
	binding.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: theirs.Name, UID: theirs.UID, Controller: new(true)}}
	service := &corev1.Service{ObjectMeta: at, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: at}
	deployment := &appsv1.Deployment{ObjectMeta: at, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "theirs", Image: "theirs"}}},
		},
	}}
	create(t, account, binding, service, budget, deployment)
	startManager(t)
	create(t, env.server)
	env.replica = env.newReplica("main-0", maxResourceVersion)
	for _, o := range []client.Object{account, binding, service, budget, deployment} {
		kind := reflect.TypeOf(o).Elem().Name()
		eventually.True(t, "the condition names the "+kind, func() bool {
			return strings.Contains(env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionFalse, v1alpha1.ReasonNameTaken), kind+` "main-tokenserver"`)
		})
		before := o.GetResourceVersion()
		if env.get(o); o.GetAnnotations()["example.com/role"] != "theirs" {
			t.Errorf("%T was changed", o)
		}
		env.deleteObject(o)
		annotate(t, env.server, "poke", kind+before) // or it is seen within half a minute
	}
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	// Ours, of a server that was deleted without what it owns.
	env.get(account)
	updateObject(env, account, func(a *corev1.ServiceAccount) { a.OwnerReferences = nil })
	eventually.True(t, "it is the server's again", func() bool { env.get(account); return metav1.IsControlledBy(account, env.server) })
}

func TestWhatAFormerServerOfTheNameOwnedIsWaitedOut(t *testing.T) {
	env := newEnvWithoutManager(t)
	former := env.server.DeepCopy()
	former.UID = "former-uid"
	account := workload.ServiceAccount(former)
	account.Finalizers = []string{"example.com/hold"}
	create(t, account)
	startManager(t)
	create(t, env.server)
	env.replica = env.newReplica("main-0", maxResourceVersion)
	message := env.waitForCondition(env.server, v1alpha1.ConditionDeployed, metav1.ConditionUnknown, v1alpha1.ReasonPending)
	if !strings.Contains(message, `"main-tokenserver"`) {
		t.Error(message)
	}
	for _, e := range env.eventsOf(env.server) {
		if strings.Contains(e, v1alpha1.ReasonNameTaken) {
			t.Error(e)
		}
	}
	updateObject(env, account, func(a *corev1.ServiceAccount) { a.Finalizers = nil })
	_ = admin.Delete(t.Context(), account) // the garbage collector may have been faster
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if env.get(account); !metav1.IsControlledBy(account, env.server) {
		t.Errorf("it is not the server's: %+v", account.OwnerReferences)
	}
}

func TestAClientsSecretIsNeverTheKeySecret(t *testing.T) {
	env := newEnv(t)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients = append(s.Spec.AllowedClients, v1alpha1.ClientRule{Name: "own"})
	})
	for _, name := range []string{"other-tokenserver-keys", "other-tokenserver-upstreams"} {
		c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "thief"}, Spec: v1alpha1.OAuthClientSpec{
			ServerRef: v1alpha1.ServerReference{Name: "main"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
			TokenEndpointAuthMethod: v1alpha1.AuthMethodBasic,
			Secret:                  &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: &v1alpha1.SecretTarget{Name: name}},
		}}
		if err := admin.Create(t.Context(), c); err == nil || !strings.Contains(err.Error(), "target.name must not end with -tokenserver-keys") {
			t.Errorf("%s: %v", name, err)
		}
		// One from before the rule. What a step of the client finds is what the condition says.
		s := &clientPass{client: c}
		target, problem, err := (&clientReconciler{}).findTarget(t.Context(), s)
		if target != nil || err != nil || problem.reason != v1alpha1.ReasonInvalid || !problem.stalled {
			t.Errorf("%s: %v, %v, %+v", name, target, err, problem)
		}
	}
	// A Secret of the name that belongs to a client is not taken for the key Secret, however it is
	// labeled.
	owner := env.readyClient(named("owner"), func(c *v1alpha1.OAuthClient) { c.Namespace = env.identity })
	theirs := env.newSecret(env.identity, workload.KeysSecretName("second"), nil, func(s *corev1.Secret) {
		s.Labels = map[string]string{workload.ManagedByLabel: workload.ManagedBy, workload.KeysLabel: "second"}
		s.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindClient, Name: owner.Name, UID: owner.UID, Controller: new(true),
		}}
	})
	second := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "second"}}
	second.Spec.Issuer = env.server.Spec.Issuer + "/second"
	create(t, second)
	env.waitForCondition(second, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonSecretExists)
	if before := theirs.ResourceVersion; env.exists(theirs) && theirs.ResourceVersion != before {
		t.Error("the Secret was changed")
	}
}

func TestTheKeySecretHasLabelsOfOurOwn(t *testing.T) {
	env := newEnv(t)
	labels := getKeySecret(t, env.server).Labels
	for key := range labels {
		if strings.HasPrefix(key, "app.kubernetes.io/") {
			t.Errorf("label %s", key)
		}
	}
	if labels[workload.KeysLabel] != "main" {
		t.Errorf("labels %v", labels)
	}
}

func TestTheCountOfClientsCostsFewWritesInABurst(t *testing.T) {
	const interval = 2 * time.Second
	made := recordWrites(t)
	env := newEnvWithoutManager(t)
	env.manager = startManager(t, func(o *Options) { o.CountInterval = interval })
	env.startServer()
	env.readyClient()
	made.waitUntilQuiet(t)
	began := time.Now()
	for i := range 40 {
		env.readyClient()
		// Each has the server looked at again, whenever the clients were counted.
		updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Version = fmt.Sprint("0.", i) })
	}
	eventually.True(t, "it has counted all", func() bool { env.get(env.server); return env.server.Status.Clients == 41 })
	most := int(time.Since(began)/interval) + 2
	if n := len(made.matching("/authorizationservers/main/status")); n > most {
		t.Errorf("%d writes in %v, not %d", n, time.Since(began), most)
	}
}

func TestAColumnSaysZeroWhereThereAreNoClients(t *testing.T) {
	env := newEnv(t)
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(compile.KindServer))
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(env.server), u); err != nil {
		t.Fatal(err)
	}
	if count, found, err := unstructured.NestedInt64(u.Object, "status", "clients"); count != 0 || !found || err != nil {
		t.Errorf("status.clients is %d, there: %v, %v", count, found, err)
	}
}

// An administrator who revokes a leaked key in a hurry may make a mistake beside it.
func TestAMistakeInAServerHoldsUpNoRevocation(t *testing.T) {
	env := newEnv(t)
	before := documentAt[documents.Server](env, env.server.Spec.Issuer)
	active := func(doc documents.Server, algorithm string) string {
		i := slices.IndexFunc(doc.Keys, func(k documents.Key) bool { return k.Algorithm == algorithm && k.Phase == documents.KeyActive })
		if i < 0 {
			t.Fatalf("no key for %s is active: %+v", algorithm, doc.Keys)
		}
		return doc.Keys[i].KID
	}
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Keys = servedKIDs(t, env.server) })
	leaked, at := active(before, "ES256"), inSeconds(-5)
	mistake := func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].Namespaces.Selector.MatchLabels = map[string]string{"no label": "x"}
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		mistake(s)
		s.Spec.Signing, s.Spec.TokensNotBefore = &v1alpha1.SigningSettings{RevokedKeys: []string{leaked}}, at
		s.Spec.Tokens = &v1alpha1.TokenSettings{AccessTokenLifetime: &metav1.Duration{Duration: time.Minute}}
	})
	message := env.waitForCondition(env.server, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, "but for spec.signing.revokedKeys and spec.tokensNotBefore") {
		t.Error(message)
	}
	doc := documentAt[documents.Server](env, env.server.Spec.Issuer)
	if !slices.Equal(doc.RevokedKeys, []string{leaked}) || active(doc, "ES256") == leaked || active(doc, "RS256") != active(before, "RS256") || doc.TokensNotBefore != at.Unix() {
		t.Errorf("revoked %q, keys %+v, not before %d", doc.RevokedKeys, doc.Keys, doc.TokensNotBefore)
	}
	if doc.AccessTokenLifetime != before.AccessTokenLifetime || !reflect.DeepEqual(doc.AllowedClients, before.AllowedClients) || !slices.Equal(doc.Algorithms, before.Algorithms) {
		t.Errorf("the rest is not what it was: %+v", doc)
	}
	if slices.ContainsFunc(env.server.Status.Keys, func(k v1alpha1.KeyStatus) bool { return k.KID == leaked }) {
		t.Errorf("the status has the key: %+v", env.server.Status.Keys)
	}
	// To lift it takes a spec without the mistake.
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TokensNotBefore = nil })
	env.waitForCondition(env.server, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if doc := documentAt[documents.Server](env, env.server.Spec.Issuer); doc.TokensNotBefore != at.Unix() {
		t.Errorf("what was void is good again from %d", doc.TokensNotBefore)
	}
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.AllowedClients[0].Namespaces = env.selectNamespaces("apps-of", env.identity)
	})
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if doc := documentAt[documents.Server](env, env.server.Spec.Issuer); doc.TokensNotBefore != 0 || doc.AccessTokenLifetime != 60 {
		t.Errorf("when it is corrected: %+v", doc)
	}
}

func TestTheEarliestOfTwoTimesIgnoresNever(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []struct{ a, b, want time.Time }{
		{early, late, early}, {late, early, early}, {time.Time{}, late, late}, {late, time.Time{}, late}, {time.Time{}, time.Time{}, time.Time{}},
	} {
		if got := earliest(c.a, c.b); got != c.want {
			t.Errorf("earliest(%v, %v) = %v", c.a, c.b, got)
		}
	}
}
