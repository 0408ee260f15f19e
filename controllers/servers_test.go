package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	served "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/controllers/workload"
)

func TestOfTwoServersWithOneIssuerTheOlderHasIt(t *testing.T) {
	w := newWorld(t)
	elsewhere := newNamespace(t)
	second := &v1alpha1.AuthorizationServer{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "main"}, Spec: *w.server.Spec.DeepCopy()}
	create(t, second)
	older, younger := w.server, second
	if w.get(second); w.server.CreationTimestamp.Equal(&second.CreationTimestamp) && second.UID < w.server.UID { // within one second the lower UID is the older
		older, younger = second, w.server
	}
	message := w.condition(younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonIssuerTaken)
	if !strings.Contains(message, "spec.issuer") || !strings.Contains(message, w.server.Spec.Issuer) || strings.Contains(message, older.Namespace+"/") {
		t.Error(message)
	}
	w.condition(older, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	e := &served.Entry{ObjectMeta: metav1.ObjectMeta{Namespace: younger.Namespace, Name: compile.EntryName(younger.UID, issuerClaim(younger))}}
	eventually(t, "the younger one is not served", func() bool { return !w.exists(e) })
	if younger.Status.Endpoints != nil {
		t.Error("it tells of endpoints")
	}

	c := w.newClient(func(c *v1alpha1.OAuthClient) { c.Spec.ServerRef.Namespace = younger.Namespace })
	message = w.condition(c, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotAccepted)
	if !strings.Contains(message, "spec.serverRef") || !strings.Contains(message, v1alpha1.ReasonIssuerTaken) {
		t.Error(message)
	}
	w.remove(older)
	w.condition(younger, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.condition(c, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	if younger == second {
		w.remove(second)
	}
}

func TestTheIdentityOfATokenServerIsRepaired(t *testing.T) {
	w := newWorld(t)
	at := metav1.ObjectMeta{Namespace: w.identity, Name: workload.ServiceAccountName("main")}
	account, binding := &corev1.ServiceAccount{ObjectMeta: at}, &rbacv1.RoleBinding{ObjectMeta: at}
	w.get(account)
	w.get(binding)
	want := binding.DeepCopy()
	for what, damage := range map[string]func(){
		"deleted":   func() { w.remove(account); w.remove(binding) },
		"unlabeled": func() { edit(w, binding, func(b *rbacv1.RoleBinding) { b.Labels = nil }) },
		"subjects": func() {
			edit(w, binding, func(b *rbacv1.RoleBinding) {
				b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"})
			})
		},
		"role": func() { // which cannot be changed
			w.remove(binding)
			other := want.DeepCopy()
			other.ResourceVersion, other.UID, other.RoleRef.Name = "", "", "view"
			if err := admin.Create(t.Context(), other); err != nil && !w.exists(binding) { // the manager was faster
				t.Error(err)
			}
		},
	} {
		damage()
		eventually(t, what+": all is as it was", func() bool {
			return w.exists(account) && w.exists(binding) && binding.RoleRef == want.RoleRef && len(binding.Subjects) == 1 &&
				binding.Subjects[0] == want.Subjects[0] && binding.Labels[workload.ManagedByLabel] == workload.ManagedBy
		})
	}
}

func TestACertificateThatIsMissingIsNamed(t *testing.T) {
	w := newWorld(t)
	edit(w, w.server, func(s *v1alpha1.AuthorizationServer) { s.Spec.TLS = &v1alpha1.TLSSettings{SecretName: "certificate"} })
	message := w.condition(w.server, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	if !strings.Contains(message, "spec.tls.secretName") || !strings.Contains(message, `"certificate"`) {
		t.Error(message)
	}
	w.newSecret(w.identity, "certificate", nil)
	w.condition(w.server, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAServerCountsTheClientsThatItAccepted(t *testing.T) {
	w := newWorld(t)
	c := w.readyClient()
	w.readyClient()
	w.newClient(asking("elsewhere.x"))
	count := func(n int32) {
		t.Helper()
		eventually(t, "it counts right", func() bool { w.get(w.server); return w.server.Status.Clients == n })
	}
	count(2)
	w.remove(c)
	count(1)
}

func TestARotationThatIsAskedForIsToldWhileItIsPending(t *testing.T) {
	w := newWorld(t)
	w.condition(w.server, v1alpha1.ConditionKeysCurrent, metav1.ConditionTrue, v1alpha1.ReasonKeysCurrent)
	hold := func() {
		edit(w, w.replica, func(r *served.Replica) {
			r.Spec.Keys = nil
			for _, k := range w.server.Status.Keys {
				r.Spec.Keys = append(r.Spec.Keys, string(k.KID))
			}
		})
	}
	hold()
	edit(w, w.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 2}}
	})
	message := w.condition(w.server, v1alpha1.ConditionKeysCurrent, metav1.ConditionFalse, v1alpha1.ReasonRotationPending)
	eventually(t, "the status says when each signing key becomes Active, and the condition says the same", func() bool {
		w.get(w.server)
		message = meta.FindStatusCondition(w.server.Status.Conditions, v1alpha1.ConditionKeysCurrent).Message
		told := 0
		for _, k := range w.server.Status.Keys {
			if k.ActiveAfter != nil && k.Phase == v1alpha1.KeyPublished && time.Until(k.ActiveAfter.Time) > 5*time.Minute &&
				strings.Contains(message, string(k.KID)) && strings.Contains(message, k.ActiveAfter.UTC().Format(time.RFC3339)) {
				told++
			}
		}
		return told == 2 && strings.Contains(message, "revision 2")
	})
	if !meta.IsStatusConditionTrue(w.server.Status.Conditions, v1alpha1.ConditionReady) {
		t.Error("a rotation that is pending is taken for a fault")
	}
	w.clock.move(publishedFor)
	hold()
	w.condition(w.server, v1alpha1.ConditionKeysCurrent, metav1.ConditionTrue, v1alpha1.ReasonKeysCurrent)
	for _, reason := range []string{v1alpha1.ReasonRotationPending, v1alpha1.ReasonKeysCurrent} {
		if events := w.eventsOf(w.server); !slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "Normal "+reason) }) {
			t.Errorf("no event %s: %q", reason, events)
		}
	}
}
