package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

const identitySubject = "~47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

// newIdentity creates the OAuthIdentity of identitySubject.
func (env *testEnv) newIdentity(change ...func(*v1alpha1.OAuthIdentity)) *v1alpha1.OAuthIdentity {
	env.t.Helper()
	o := &v1alpha1.OAuthIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: v1alpha1.OAuthIdentityName(identitySubject)},
		Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: identitySubject},
	}
	for _, f := range change {
		f(o)
	}
	create(env.t, o)
	return o
}

func suspendedIdentity(o *v1alpha1.OAuthIdentity) { o.Spec.Suspended = true }

// recordSignIn writes what a token server does at a sign-in.
func (env *testEnv) recordSignIn(o *v1alpha1.OAuthIdentity, username string) {
	env.t.Helper()
	now := metav1.NowMicro()
	eventually.True(env.t, "the sign-in is recorded", func() bool {
		env.get(o)
		o.Status.ServerUID, o.Status.Provider, o.Status.ProviderUID, o.Status.LastSignIn = env.server.UID, "acme", "provider", &now
		o.Status.Claims = &runtime.RawExtension{Raw: []byte(`{"preferred_username":"` + username + `"}`)}
		return admin.Status().Update(env.t.Context(), o) == nil
	})
}

// said returns what the token servers are told about identitySubject, or nil.
func (env *testEnv) said() *documents.Identity {
	env.t.Helper()
	e := env.entry(internalv1alpha1.SpaceIdentitySpec, identitySubject)
	if e == nil {
		return nil
	}
	doc, err := decodeEntry[documents.Identity](e)
	if err != nil {
		env.t.Fatal(err)
	}
	return &doc
}

func TestWhatIsSaidAboutAUserFromElsewhereIsServedWhileItIsSaid(t *testing.T) {
	env := newEnv(t)
	o := env.newIdentity(suspendedIdentity)
	message := env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	if !strings.Contains(message, "spec.suspended") {
		t.Error(message)
	}
	if doc := env.said(); doc == nil || *doc != (documents.Identity{UID: string(o.UID), Subject: identitySubject, Suspended: true}) {
		t.Errorf("the document is %+v", doc)
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	updateObject(env, o, func(o *v1alpha1.OAuthIdentity) {
		o.Spec.Suspended, o.Spec.TokensNotBefore = false, &metav1.Time{Time: at}
	})
	env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if doc := env.said(); doc == nil || doc.Suspended || doc.TokensNotBefore != at.Unix() {
		t.Errorf("the document is %+v", doc)
	}
	updateObject(env, o, func(o *v1alpha1.OAuthIdentity) { o.Spec.TokensNotBefore = nil })
	eventually.True(t, "nothing is said any more", func() bool {
		env.get(o)
		return env.said() == nil && len(o.Status.Conditions) == 0 && o.Status.ObservedGeneration == 0
	})
}

func TestWhatATokenServerRecordsOfAUserIsNotTheManagersToWrite(t *testing.T) {
	env := newEnv(t)
	o := env.newIdentity()
	env.recordSignIn(o, "alice")
	written := o.ResourceVersion
	env.readyClient() // by then the manager has seen it
	if env.get(o); o.ResourceVersion != written || env.said() != nil {
		t.Errorf("in an object that says nothing the manager has written: %+v", o.Status)
	}
	updateObject(env, o, suspendedIdentity)
	env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	if o.Status.LastSignIn == nil || !strings.Contains(string(o.Status.Claims.Raw), "alice") {
		t.Errorf("with the conditions the status is %+v", o.Status)
	}
	env.recordSignIn(o, "alice2")
	if o.Status.Provider != "acme" || !strings.Contains(string(o.Status.Claims.Raw), "alice2") ||
		!meta.IsStatusConditionFalse(o.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("the status is %+v", o.Status)
	}
	updateObject(env, o, func(o *v1alpha1.OAuthIdentity) { o.Spec.Suspended = false })
	eventually.True(t, "the conditions are gone", func() bool { env.get(o); return len(o.Status.Conditions) == 0 })
	if o.Status.LastSignIn == nil || o.Status.ServerUID != env.server.UID || !strings.Contains(string(o.Status.Claims.Raw), "alice2") {
		t.Errorf("without the conditions the status is %+v", o.Status)
	}
}

func TestAnOAuthIdentityHasTheNameOfItsSubject(t *testing.T) {
	env := newEnv(t)
	o := env.newIdentity(suspendedIdentity, func(o *v1alpha1.OAuthIdentity) { o.Name = "alice" })
	message := env.waitForCondition(o, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	if !strings.Contains(message, "metadata.name") || !strings.Contains(message, v1alpha1.OAuthIdentityName(identitySubject)) {
		t.Error(message)
	}
	if env.said() != nil || !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("an object of another name says %+v: %+v", env.said(), o.Status.Conditions)
	}
	right := env.newIdentity(suspendedIdentity)
	env.waitForCondition(right, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	if doc := env.said(); doc == nil || doc.UID != string(right.UID) {
		t.Errorf("the document is %+v", doc)
	}
}

func TestAnOAuthIdentityInheritsNothingFromAFormerOne(t *testing.T) {
	env, stop := newEnvWithStop(t)
	defer func() { stop() }()
	o := env.newIdentity(suspendedIdentity)
	env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	env.deleteObject(o)
	eventually.True(t, "nothing is said about a deleted one", func() bool { return env.said() == nil })

	o = env.newIdentity(suspendedIdentity)
	env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	stop() // the manager sees no deletion
	env.deleteObject(o)
	env.newIdentity()
	_, stop = runManager(t, env.clock.set)
	eventually.True(t, "the next one says nothing", func() bool { return env.said() == nil })
}

func TestWhatIsSaidAboutAUserWaitsForTheServer(t *testing.T) {
	env := newEnv(t)
	o := env.newIdentity(suspendedIdentity, func(o *v1alpha1.OAuthIdentity) { o.Spec.ServerRef.Name = "other" })
	env.waitForCondition(o, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonServerNotFound)
	create(t, &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.identity, Name: "other"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://other." + env.identity + ".example.com"},
	})
	env.waitForCondition(o, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
}

func TestASuspensionSurvivesTheLossOfItsEntry(t *testing.T) {
	env := newEnv(t)
	o := env.newIdentity(suspendedIdentity)
	env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	lost := env.entry(internalv1alpha1.SpaceIdentitySpec, identitySubject)
	env.deleteObject(lost)
	eventually.True(t, "it is there again", func() bool {
		e := env.entry(internalv1alpha1.SpaceIdentitySpec, identitySubject)
		return e != nil && e.UID != lost.UID && env.said().Suspended
	})
}

func TestATokenServerThatCannotReadWhatIsSaidAboutAUserIsNamed(t *testing.T) {
	env := newEnv(t)
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) {
		r.Spec.Formats = slices.DeleteFunc(r.Spec.Formats, func(f string) bool { return documents.Kind(f) == documents.KindIdentity })
	})
	o := env.newIdentity(suspendedIdentity)
	message := env.waitForCondition(o, v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonUpgradePending)
	if !strings.Contains(message, env.replica.Name) {
		t.Error(message)
	}
	updateObject(env, env.replica, func(r *internalv1alpha1.Replica) { r.Spec.Formats = documents.Formats() })
	env.waitForCondition(o, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
}
