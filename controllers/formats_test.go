package controllers

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

// A token server that lacks a format stands for one that is older than a manager which writes it.
// For each kind of object the document is one that no replica has seen before.
func TestANewFormatIsWrittenOnlyOnceEveryLiveReplicaReadsIt(t *testing.T) {
	for _, test := range []struct {
		format string
		create func(env *testEnv) (o client.Object, identity string)
	}{
		{documents.FormatClient, func(env *testEnv) (client.Object, string) {
			c := env.newClient()
			return c, c.Namespace + "." + c.Name
		}},
		{documents.FormatUser, func(env *testEnv) (client.Object, string) {
			return env.newUser("alice", "correct horse", func(u *v1alpha1.OAuthUser) { u.Spec.Subject = "alice-subject" }), "alice-subject"
		}},
		{documents.FormatResourceServer, func(env *testEnv) (client.Object, string) { return env.newAPI(ordersAPI, "orders:read"), ordersAPI }},
	} {
		t.Run(test.format, func(t *testing.T) {
			env := newEnv(t)
			old := env.newReplica("old-0", maxResourceVersion, without(test.format))
			env.keepRenewing(old)
			o, identity := test.create(env)
			message := env.waitForCondition(o, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
			if !strings.Contains(message, "old-0") || !strings.Contains(message, test.format) {
				t.Error(message)
			}
			env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
			time.Sleep(500 * time.Millisecond)
			if e := env.entry(internalv1alpha1.SpaceIdentity, identity); e != nil {
				t.Errorf("written: %+v", e.Spec)
			}
			updateObject(env, old, func(r *internalv1alpha1.Replica) { r.Spec.Formats = documents.Formats() }) // it was upgraded
			env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

func TestADocumentThatCannotBeReplacedStays(t *testing.T) {
	env := newEnv(t)
	op := newOperator(env.manager.GetClient(), env.manager.GetAPIReader(), nil, Options{Now: env.clock.now})
	c := env.readyClient()
	current := env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID)
	eventually.True(t, "the cache has it", func() bool {
		var e internalv1alpha1.Entry
		return op.Get(t.Context(), client.ObjectKeyFromObject(current), &e) == nil && e.ResourceVersion == current.ResourceVersion
	})
	want := current.DeepCopy()
	want.Spec.Format, want.Spec.Document = "client/v99", `{"constraint":true}`
	held, err := op.entries.Ensure(t.Context(), want, current)
	if held != nil || !isUpgradePending(err) || !strings.Contains(err.Error(), "client/v99") {
		t.Errorf("%+v, %v", held, err)
	}
	if now := env.entry(internalv1alpha1.SpaceIdentity, c.Status.ClientID); now.ResourceVersion != current.ResourceVersion {
		t.Errorf("the document is %s %s", now.Spec.Format, now.Spec.Document)
	}
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Formats = append(r.Spec.Formats, "client/v99") })
	eventually.True(t, "every replica reads it", func() bool {
		_, err = op.entries.Ensure(t.Context(), want, current)
		return !isUpgradePending(err)
	})
}

func TestAManagerDoesNotWriteOverADocumentThatItCannotRead(t *testing.T) {
	env := newEnv(t)
	c, u := env.readyClient(), env.newUser("alice", "correct horse")
	api := env.newAPI(ordersAPI, "orders:read")
	env.waitForCondition(u, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	env.waitForCondition(api, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	reader := env.readyClient(func(c *v1alpha1.OAuthClient) { c.Spec.Scopes = []string{"orders:read"} })
	secret := env.clientSecretOf(c)
	var entries []*internalv1alpha1.Entry
	for _, name := range []string{c.Status.ClientID, u.Status.Subject, ordersAPI} {
		e := env.entry(internalv1alpha1.SpaceIdentity, name)
		updateObject(env, e, func(e *internalv1alpha1.Entry) {
			e.Spec.Format = documents.Kind(e.Spec.Format) + "/v9"
			e.Spec.Document = `{"constraint":true}`
		})
		entries = append(entries, e)
	}
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	updateObject(env, u, func(u *v1alpha1.OAuthUser) { u.Spec.Claims = nil; u.Annotations = map[string]string{"touched": "yes"} })
	updateObject(env, api, func(api *v1alpha1.ResourceServer) { api.Spec.Scopes = resourceScopes("orders:read", "orders:write") })
	updateObject(env, reader, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(reader, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld) // the scope is served
	for _, o := range []client.Object{c, u, api} {
		message := env.waitForCondition(o, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
		if !strings.Contains(message, "/v9") {
			t.Error(message)
		}
	}
	time.Sleep(500 * time.Millisecond)
	for _, e := range entries {
		if now := env.entry(e.Spec.Space, e.Spec.Value); now == nil || now.ResourceVersion != e.ResourceVersion {
			t.Errorf("written over: %+v", now)
		}
	}
	if env.clientSecretOf(c) != secret {
		t.Error("the client's Secret was changed")
	}
	env.get(c)
	if c.Status.ClientID == "" || c.Status.SecretName == "" || len(c.Status.Credentials) == 0 {
		t.Errorf("the status forgets what is served: %+v", c.Status)
	}
}

func TestAManagerThatCannotReadTheServersDocumentLeavesAllAsItIs(t *testing.T) {
	env := newEnv(t)
	c := env.readyClient()
	e := env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer)
	updateObject(env, e, func(e *internalv1alpha1.Entry) { e.Spec.Format, e.Spec.Document = "server/v9", `{"constraint":true}` })
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.Signing = &v1alpha1.SigningSettings{Rotation: &v1alpha1.KeyRotation{Revision: 7}}
	})
	keys := env.server.Status.Keys
	env.waitForCondition(env.server, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	env.waitForCondition(env.server, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	updateObject(env, c, func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Shop" })
	env.waitForCondition(c, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonManagerTooOld)
	if now := env.entry(internalv1alpha1.SpaceIdentity, env.server.Spec.Issuer); now.ResourceVersion != e.ResourceVersion {
		t.Errorf("written over: %+v", now.Spec)
	}
	if env.get(env.server); len(keys) != len(env.server.Status.Keys) {
		t.Errorf("the keys were %+v and are %+v", keys, env.server.Status.Keys)
	}
	env.get(c)
	if c.Status.ClientID == "" || c.Status.SecretName == "" {
		t.Errorf("the status forgets what is served: %+v", c.Status)
	}
}

// While a token server is older than what the server asks, a key that was revoked is worthless at
// once.
func TestARevokedKeyDoesNotWaitForAnUpgrade(t *testing.T) {
	old := documents.Server{UID: "u", Keys: []documents.Key{{KID: "a"}, {KID: "b"}}, Algorithms: []string{"ES256"}, AccessTokenLifetime: 60}
	doc := documents.Server{UID: "u", Keys: []documents.Key{{KID: "b"}}, RevokedKeys: []string{"a"}, AccessTokenLifetime: 600}
	got := replaceKeys(old, doc)
	if len(got.Keys) != 1 || !slices.Equal(got.RevokedKeys, []string{"a"}) || got.AccessTokenLifetime != 60 || got.Algorithms != nil {
		t.Errorf("%+v", got)
	}
}

func TestTokensNotBeforeOfAServerDoesNotWaitForAnUpgrade(t *testing.T) {
	first := inSeconds(-60)
	env := newEnv(t, func(s *v1alpha1.AuthorizationServer) { s.Spec.TokensNotBefore = first })
	env.keepRenewing(env.newReplica("old-0", maxResourceVersion, without("server/v3")))
	at := inSeconds(-5)
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.TokensNotBefore, s.Spec.AllowedClients[0].IdentityProviders = at, []string{"acme"}
	})
	env.waitForCondition(env.server, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
	doc := documentAt[documents.Server](env, env.server.Spec.Issuer)
	if doc.TokensNotBefore != at.Unix() || doc.AllowedClients[0].IdentityProviders != nil {
		t.Errorf("not before %d, rule %+v", doc.TokensNotBefore, doc.AllowedClients[0])
	}
}

// A token server that does not know of it has no document that says so, and a revoked key does not
// wait for that.
func TestARevokedKeyDoesNotWaitForTokensNotBefore(t *testing.T) {
	env := newEnv(t)
	env.keepRenewing(env.newReplica("old-0", maxResourceVersion, func(r *internalv1alpha1.Replica) {
		r.Spec.Formats = slices.DeleteFunc(documents.Formats(), func(f string) bool {
			return documents.Kind(f) == documents.KindServer && f != documents.FormatServer
		})
	}))
	leaked := documentAt[documents.Server](env, env.server.Spec.Issuer).Keys[0].KID
	updateObject(env, env.server, func(s *v1alpha1.AuthorizationServer) {
		s.Spec.TokensNotBefore, s.Spec.Signing = inSeconds(-5), &v1alpha1.SigningSettings{RevokedKeys: []string{leaked}}
	})
	env.waitForCondition(env.server, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
	doc := documentAt[documents.Server](env, env.server.Spec.Issuer)
	if !slices.Equal(doc.RevokedKeys, []string{leaked}) || doc.TokensNotBefore != 0 {
		t.Errorf("revoked %q, not before %d", doc.RevokedKeys, doc.TokensNotBefore)
	}
}

// A suspension and a revoked key are written into the document that is there. When that fails it is
// tried again as soon as anything else that fails, and said, and not only once there was an
// upgrade.
func TestWhatCannotBeDoneWhileAnUpgradeIsPendingIsTriedAgainSoon(t *testing.T) {
	env := newEnv(t)
	op := newOperator(env.manager.GetClient(), env.manager.GetAPIReader(), nil, Options{Now: env.clock.now})
	env.newReplica("old-0", maxResourceVersion, without(documents.FormatClient), func(r *internalv1alpha1.Replica) {
		r.Spec.Formats = slices.DeleteFunc(r.Spec.Formats, func(f string) bool { return f == documents.FormatServer })
	})
	eventually.True(t, "the manager knows it", func() bool {
		live, err := op.liveReplicas(t.Context(), env.server)
		return err == nil && len(live) == 2
	})
	unread := func() *internalv1alpha1.Entry { // the manager cannot read it, so it cannot write into it either
		return &internalv1alpha1.Entry{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "none", UID: "u", ResourceVersion: "1"},
			Spec:       internalv1alpha1.EntrySpec{ServerUID: env.server.UID, Owner: internalv1alpha1.Owner{UID: "u"}, Document: "{"},
		}
	}
	// The Entry has no format, so the one that is wanted is new to it.
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: v1alpha1.OAuthClientSpec{Suspended: true}}
	clients := &clientReconciler{operator: op}
	err := clients.writeDocument(t.Context(), &clientPass{client: c, server: &resolvedServer{object: env.server}, entry: unread()}, unread())
	if err == nil || asVersionSkew(err) != nil {
		t.Errorf("a suspension that failed: %v", err)
	}
	servers, entry := &serverReconciler{operator: op}, unread()
	entry.Spec.Owner.UID = env.server.UID
	err = servers.writeDocument(t.Context(), &serverPass{server: env.server, entry: entry, accepted: trueCondition("", "")})
	if err == nil || asVersionSkew(err) != nil {
		t.Errorf("keys that could not be served: %v", err)
	}
}

func TestADocumentThatManyPassesNeedIsDecodedOncePerVersionOfItsEntry(t *testing.T) {
	var known decodedEntries
	entry := func(i int, version, name string) *internalv1alpha1.Entry {
		text, err := documents.Encode(documents.Namespace{Name: name, Labels: map[string]string{"team": name}})
		if err != nil {
			t.Fatal(err)
		}
		return &internalv1alpha1.Entry{
			ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i)), ResourceVersion: version},
			Spec:       internalv1alpha1.EntrySpec{Format: documents.Format(documents.Namespace{}), Document: text},
		}
	}
	decode := func(e *internalv1alpha1.Entry) documents.Namespace {
		d, err := decodeShared[documents.Namespace](&known, e)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first, again := decode(entry(1, "7", "shop")), decode(entry(1, "7", "shop"))
	if reflect.ValueOf(first.Labels).Pointer() != reflect.ValueOf(again.Labels).Pointer() {
		t.Error("one version is decoded twice")
	}
	if changed := decode(entry(1, "8", "bank")); changed.Name != "bank" {
		t.Errorf("the next version is %q", changed.Name)
	}
	if _, err := decodeShared[documents.Client](&known, entry(1, "8", "bank")); err == nil {
		t.Error("the document of a namespace is that of a client")
	}
	for i := range 3 * maxDecodedEntries {
		decode(entry(i, "1", "shop"))
	}
	if n := len(known.byEntry); n > maxDecodedEntries {
		t.Errorf("the documents of %d Entries are held", n)
	}
}
