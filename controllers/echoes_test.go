package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestANewClientCostsFourWritesAndADryRun(t *testing.T) {
	made := recordWrites(t)
	env := newEnv(t)
	env.readyClient() // which has the Entry of the namespace written
	made.waitUntilQuiet(t)
	c := env.readyClient()
	time.Sleep(300 * time.Millisecond) // what a pass does that nothing asks for
	want := []string{
		"POST /api/v1/namespaces/" + c.Namespace + "/secrets", // the dry run
		"POST /apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + env.identity + "/entries",
		"POST /api/v1/namespaces/" + c.Namespace + "/secrets",
		"PUT /apis/internal.oauth-operator.dev/v1alpha1/namespaces/" + env.identity + "/entries/",
		"PATCH /apis/oauth-operator.dev/v1alpha1/namespaces/" + c.Namespace + "/oauthclients/" + c.Name + "/status",
	}
	got := made.matching("")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("the manager wrote %q", got)
		}
	}
	if events := env.eventsOf(c); len(events) > 0 {
		t.Errorf("there are events about a client with which nothing was wrong: %q", events)
	}
}

func TestWhatAPassWroteIsNoReasonForAnotherAndPostponesItUntilItIsSeen(t *testing.T) {
	now := time.Now()
	e := newEchoes(func() time.Time { return now })
	object := reconciled{compile.KindClient, types.NamespacedName{Namespace: "shop", Name: "web"}}
	pass := func(versions ...string) {
		end := e.begin(object)
		for _, version := range versions {
			e.add(object, version)
		}
		end()
	}
	pass("7", "9")
	if e.take(object, "8") || e.take(reconciled{compile.KindUser, object.name}, "7") {
		t.Error("what another program wrote, or what was written for another object, is an echo")
	}
	if !e.take(object, "7") || e.take(object, "7") {
		t.Error("a version is not an echo once")
	}
	if wait := e.postpone(object); wait != echoTimeout {
		t.Errorf("while the cache is older than what was written, a pass is postponed by %v", wait)
	}
	if e.take(object, "9") {
		t.Error("the pass that was postponed is not made") // it waits for this
	}
	if wait := e.postpone(object); wait != 0 {
		t.Errorf("once the cache has what was written, a pass is postponed by %v", wait)
	}
	pass("11")
	if now = now.Add(echoTimeout); e.postpone(object) > 0 {
		t.Error("a pass is postponed for ever")
	}
	pass()
	if e.take(object, "11") {
		t.Error("what a later pass may not have seen is an echo")
	}
	end := e.begin(object)
	if e.take(object, "13") {
		t.Error("what comes before the answer to the write is an echo")
	}
	e.add(object, "13")
	end()
	if e.postpone(object) > 0 {
		t.Error("a pass is postponed until what was seen is seen again")
	}
	end = e.begin(object)
	e.add(object, "15")
	if !e.take(object, "15") {
		t.Error("what comes while the pass goes on is no echo")
	}
	e.add(object, "17")
	if end(); !e.take(object, "17") {
		t.Error("what a pass writes after an echo has come is none")
	}
	if len(e.byObject) > 0 {
		t.Errorf("it remembers %v", e.byObject)
	}
}

// The writes of others look like the manager's own but for their version.
func TestWhatAnotherProgramWritesIsUndoneRightAfterTheManagersOwnWrite(t *testing.T) {
	env := newEnv(t)
	for range 10 {
		c := env.readyClient()
		updateObject(env, env.secretOf(c), func(s *corev1.Secret) { s.Data["issuer"] = []byte("https://evil.example.com") })
		eventually.True(t, "the Secret is repaired", func() bool { return string(env.secretOf(c).Data["issuer"]) == env.server.Spec.Issuer })
		status := c.DeepCopy()
		status.Status.SecretName = "another"
		if err := admin.Status().Update(t.Context(), status); err != nil {
			env.get(status)
			status.Status.SecretName = "another"
			if err := admin.Status().Update(t.Context(), status); err != nil {
				t.Fatal(err)
			}
		}
		eventually.True(t, "the status is repaired", func() bool { env.get(c); return c.Status.SecretName == c.Name+"-oauth" })
		e := env.entry(internalv1alpha1.SpaceIdentity, compile.ClientID(c))
		updateObject(env, e, func(e *internalv1alpha1.Entry) {
			e.Spec.Document = strings.Replace(e.Spec.Document, "{", `{"more":1,`, 1)
		})
		eventually.True(t, "the Entry is repaired", func() bool { env.get(e); return !strings.Contains(e.Spec.Document, `"more"`) })
	}
}

// A spec that is changed and changed back at once ends in the Entry of the last one, whatever the
// cache has when the second change is reconciled.
func TestASpecThatIsChangedBackAtOnceIsServed(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	for range 20 {
		updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = true })
		eventually.True(t, "the Entry says so", func() bool { return env.document(c).Suspended })
		updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = false })
		eventually.True(t, "the Entry says so no more", func() bool { return !env.document(c).Suspended })
		updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = true })
		updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = false })
		env.waitForCondition(c, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if env.document(c).Suspended {
			t.Fatal("the client is Ready, and its Entry says that it is suspended")
		}
	}
}
