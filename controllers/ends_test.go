package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestWhatEndsIsReconciledBeforeOthersOfItsNamespace(t *testing.T) {
	later := metav1.NewTime(time.Unix(1_900_000_000, 0))
	clientWith := func(change func(*v1alpha1.OAuthClient)) client.Object {
		c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 1}}
		c.Status.ObservedGeneration = 1
		change(c)
		return c
	}
	asBefore := func(*v1alpha1.OAuthClient) {}
	for name, test := range map[string]struct {
		change  func(*v1alpha1.OAuthClient)
		isFirst bool
	}{
		"suspended": {func(c *v1alpha1.OAuthClient) { c.Spec.Suspended = true }, true},
		"deleted":   {func(c *v1alpha1.OAuthClient) { c.DeletionTimestamp = &later }, true},
		"tokens":    {func(c *v1alpha1.OAuthClient) { c.Spec.TokensNotBefore = &later }, true},
		"revoked": {func(c *v1alpha1.OAuthClient) {
			c.Spec.Secret = &v1alpha1.ClientSecret{RevokedCredentials: []v1alpha1.CredentialID{"a"}}
		}, true},
		"another revoked": {func(c *v1alpha1.OAuthClient) {
			c.Spec.Secret = &v1alpha1.ClientSecret{RevokedCredentials: []v1alpha1.CredentialID{"b"}}
		}, true},
		"renamed": {func(c *v1alpha1.OAuthClient) { c.Spec.DisplayName = "Web" }, false},
		"same":    {asBefore, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := startQueue(t)
			q.Add(requestIn("shop", 0))
			before := asBefore
			if name == "another revoked" {
				before = func(c *v1alpha1.OAuthClient) {
					c.Spec.Secret = &v1alpha1.ClientSecret{RevokedCredentials: []v1alpha1.CredentialID{"a"}}
				}
			}
			changed := event.UpdateEvent{ObjectOld: clientWith(before), ObjectNew: clientWith(test.change)}
			enqueueEnds().Update(t.Context(), changed, q)
			if first := take(q); (first.Name == "web") != test.isFirst {
				t.Errorf("the first is %s", first.Name)
			}
			unchanged := event.UpdateEvent{ObjectOld: clientWith(test.change), ObjectNew: clientWith(test.change)}
			if enqueueEnds().Update(t.Context(), unchanged, q); q.Len() > 1 {
				t.Error("it is first once more, with nothing changed")
			}
		})
	}
	q := startQueue(t)
	q.Add(requestIn("shop", 0))
	enqueueEnds().Delete(t.Context(), event.DeleteEvent{Object: clientWith(asBefore)}, q)
	if first := take(q); first.Name != "web" {
		t.Errorf("when a client is gone, the first is %s", first.Name)
	}
}

func TestWhatChangedWhileNoManagerRanIsReconciledBeforeWhatIsAsItWas(t *testing.T) {
	at := func(name string, generation, observed int64, isSuspended bool) client.Object {
		c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: generation}}
		c.Spec.Suspended, c.Status.ObservedGeneration = isSuspended, observed
		return c
	}
	unsaid := &v1alpha1.OAuthIdentity{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "unsaid", Generation: 1}}
	q := startQueue(t)
	for _, o := range []client.Object{
		at("same", 1, 1, false), at("same-and-suspended", 2, 2, true), unsaid, at("changed", 2, 1, false), at("new", 1, 0, false), at("suspended", 3, 2, true),
	} {
		addExisting(q, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(o)}) // as the handler of controller-runtime
		enqueueEnds().Create(t.Context(), event.CreateEvent{Object: o, IsInInitialList: true}, q)
	}
	for i, want := range []string{"suspended", "changed", "new", "same", "same-and-suspended", "unsaid"} {
		if got := take(q); got.Name != want {
			t.Errorf("number %d is %s, not %s", i, got.Name, want)
		}
	}
}
