package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// without is what a token server of a version says that does not read a format yet.
func without(format string) func(*internalv1alpha1.Replica) {
	return func(r *internalv1alpha1.Replica) {
		r.Spec.Formats = slices.DeleteFunc(documents.Formats(), func(f string) bool { return f == format })
	}
}

// A token server that lacks a format stands for one that is older than a manager which writes it. For
// each kind of object the document is one that no replica has seen before.
func TestANewFormatIsWrittenOnlyOnceEveryLiveReplicaReadsIt(t *testing.T) {
	for _, test := range []struct {
		format string
		create func(w *testEnv) (o client.Object, identity string)
	}{
		{documents.FormatClient, func(w *testEnv) (client.Object, string) {
			c := w.newClient()
			return c, c.Namespace + "." + c.Name
		}},
		{documents.FormatUser, func(w *testEnv) (client.Object, string) {
			return w.newUser("alice", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.Subject = "alice-subject" }), "alice-subject"
		}},
		{documents.FormatResourceServer, func(w *testEnv) (client.Object, string) { return w.newAPI(ordersAPI, "orders:read"), ordersAPI }},
	} {
		t.Run(test.format, func(t *testing.T) {
			w := newEnv(t)
			old := w.newReplica("old-0", maxResourceVersion, without(test.format))
			w.keepRenewing(old)
			o, identity := test.create(w)
			message := w.waitForCondition(o, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
			if !strings.Contains(message, "old-0") || !strings.Contains(message, test.format) {
				t.Error(message)
			}
			w.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
			time.Sleep(500 * time.Millisecond)
			if e := w.entry(internalv1alpha1.SpaceIdentity, identity); e != nil {
				t.Errorf("written: %+v", e.Spec)
			}
			updateObject(w, old, func(r *internalv1alpha1.Replica) { r.Spec.Formats = documents.Formats() }) // it was upgraded
			w.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

func TestADocumentThatCannotBeReplacedStays(t *testing.T) {
	w := newEnv(t)
	op := &operator{Client: w.manager.GetClient(), live: w.manager.GetAPIReader(), now: w.clock.now, seen: newSightings(w.clock.now)}
	c := w.readyClient()
	current := w.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID)
	eventually.True(t, "the cache has it", func() bool {
		var e internalv1alpha1.Entry
		return op.Get(t.Context(), client.ObjectKeyFromObject(current), &e) == nil && e.ResourceVersion == current.ResourceVersion
	})
	want := current.DeepCopy()
	want.Spec.Format, want.Spec.Document = "client/v2", `{"constraint":true}`
	held, err := op.hold(t.Context(), want, current)
	if held != nil || !pendingUpgrade(err) || !strings.Contains(err.Error(), "client/v2") {
		t.Errorf("%+v, %v", held, err)
	}
	if now := w.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID); now.ResourceVersion != current.ResourceVersion {
		t.Errorf("the document is %s %s", now.Spec.Format, now.Spec.Document)
	}
	updateObject(w, w.replica, func(r *internalv1alpha1.Replica) { r.Spec.Formats = append(r.Spec.Formats, "client/v2") })
	eventually.True(t, "every replica reads it", func() bool {
		_, err = op.hold(t.Context(), want, current)
		return !pendingUpgrade(err)
	})
}

func TestAManagerDoesNotWriteOverADocumentThatItCannotRead(t *testing.T) {
	w := newEnv(t)
	c, u := w.readyClient(), w.newUser("alice", "correct horse")
	api := w.newAPI(ordersAPI, "orders:read")
	w.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	reader := w.readyClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"orders:read"} })
	secret := w.clientSecretOf(c)
	var entries []*internalv1alpha1.Entry
	for _, name := range []string{c.Status.ClientID, u.Status.Subject, ordersAPI} {
		e := w.entry(internalv1alpha1.SpaceIdentity, name)
		updateObject(w, e, func(e *internalv1alpha1.Entry) {
			e.Spec.Format = documents.Kind(e.Spec.Format) + "/v9"
			e.Spec.Document = `{"constraint":true}`
		})
		entries = append(entries, e)
	}
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	updateObject(w, u, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = nil; u.Annotations = map[string]string{"touched": "yes"} })
	updateObject(w, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	updateObject(w, reader, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	w.waitForCondition(reader, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld) // the scope is served
	for _, o := range []client.Object{c, u, api} {
		message := w.waitForCondition(o, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
		if !strings.Contains(message, "/v9") {
			t.Error(message)
		}
	}
	time.Sleep(500 * time.Millisecond)
	for _, e := range entries {
		if now := w.entry(e.Spec.Space, e.Spec.Value); now == nil || now.ResourceVersion != e.ResourceVersion {
			t.Errorf("written over: %+v", now)
		}
	}
	if w.clientSecretOf(c) != secret {
		t.Error("the client's Secret was changed")
	}
	w.get(c)
	if c.Status.ClientID == "" || c.Status.SecretName == "" || len(c.Status.Credentials) == 0 {
		t.Errorf("the status forgets what is served: %+v", c.Status)
	}
}

func TestAManagerThatCannotReadTheServersDocumentLeavesAllAsItIs(t *testing.T) {
	w := newEnv(t)
	c := w.readyClient()
	e := w.entry(internalv1alpha1.SpaceIdentity, w.server.Spec.Issuer)
	updateObject(w, e, func(e *internalv1alpha1.Entry) { e.Spec.Format, e.Spec.Document = "server/v9", `{"constraint":true}` })
	updateObject(w, w.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 7}}
	})
	keys := w.server.Status.Keys
	w.waitForCondition(w.server, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	w.waitForCondition(w.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	updateObject(w, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	w.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	if now := w.entry(internalv1alpha1.SpaceIdentity, w.server.Spec.Issuer); now.ResourceVersion != e.ResourceVersion {
		t.Errorf("written over: %+v", now.Spec)
	}
	if w.get(w.server); len(keys) != len(w.server.Status.Keys) {
		t.Errorf("the keys were %+v and are %+v", keys, w.server.Status.Keys)
	}
	w.get(c)
	if c.Status.ClientID == "" || c.Status.SecretName == "" {
		t.Errorf("the status forgets what is served: %+v", c.Status)
	}
}

// While a token server is older than what the server asks, a key that was revoked is worthless at once.
func TestARevokedKeyDoesNotWaitForAnUpgrade(t *testing.T) {
	old := documents.Server{UID: "u", Keys: []documents.Key{{KID: "a"}, {KID: "b"}}, Algorithms: []string{"ES256"}, AccessTokenLifetime: 60}
	doc := documents.Server{UID: "u", Keys: []documents.Key{{KID: "b"}}, RevokedKeys: []string{"a"}, AccessTokenLifetime: 600}
	got := meanwhile(old, doc)
	if len(got.Keys) != 1 || !slices.Equal(got.RevokedKeys, []string{"a"}) || got.AccessTokenLifetime != 60 || got.Algorithms != nil {
		t.Errorf("%+v", got)
	}
}

// A suspension and a revoked key are written into the document that is there. When that fails it is
// tried again as soon as anything else that fails, and said, and not only once there was an upgrade.
func TestWhatCannotBeDoneWhileAnUpgradeIsPendingIsTriedAgainSoon(t *testing.T) {
	w := newEnv(t)
	op := &operator{Client: w.manager.GetClient(), live: w.manager.GetAPIReader(), now: w.clock.now, seen: newSightings(w.clock.now)}
	w.newReplica("old-0", maxResourceVersion, without(documents.FormatClient), func(r *internalv1alpha1.Replica) {
		r.Spec.Formats = slices.DeleteFunc(r.Spec.Formats, func(f string) bool { return f == documents.FormatServer })
	})
	eventually.True(t, "the manager knows it", func() bool { live, err := op.liveReplicas(t.Context(), w.server); return err == nil && len(live) == 2 })
	unread := func() *internalv1alpha1.Entry { // the manager cannot read it, so it cannot write into it either
		return &internalv1alpha1.Entry{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.identity, Name: "none", UID: "u", ResourceVersion: "1"},
			Spec:       internalv1alpha1.EntrySpec{ServerUID: w.server.UID, Owner: internalv1alpha1.Owner{UID: "u"}, Document: "{"},
		}
	}
	// The Entry has no format, so the one that is wanted is new to it.
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: v1alpha1.OAuthClientSpec{Suspended: true}}
	clients := &clientReconciler{operator: op}
	err := clients.write(t.Context(), &clientScope{client: c, at: &attachment{server: w.server}, entry: unread()}, unread())
	if err == nil || asVersionSkew(err) != nil {
		t.Errorf("a suspension that failed: %v", err)
	}
	servers, entry := &serverReconciler{operator: op}, unread()
	entry.Spec.Owner.UID = w.server.UID
	err = servers.serve(t.Context(), &serverScope{server: w.server, entry: entry, accepted: holds("", "")})
	if err == nil || asVersionSkew(err) != nil {
		t.Errorf("keys that could not be served: %v", err)
	}
}
