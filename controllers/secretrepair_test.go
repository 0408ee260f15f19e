package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

func TestAnEditIsUndoneAtOnceAndThenOnceInAnInterval(t *testing.T) {
	c := &v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	target := func(uid types.UID, content string) *secretTarget {
		return &secretTarget{
			metadata: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: uid}}, isOwn: true, content: targetContent{labels: map[string]string{"content": content}},
		}
	}
	var m repairedSecrets
	write := func(target *secretTarget, active string, at time.Duration) bool {
		plan := credentialPlan{secret: secretA, activeID: "a", credentials: []documents.Credential{{ID: active, State: documents.CredentialActive}}}
		next := m.limit(c, target, &plan, planTime.Add(at))
		if next.IsZero() != (plan.secret != "") {
			t.Errorf("at %s: it is written is %v, and next at %s", at, plan.secret != "", next)
		}
		return plan.secret != ""
	}
	foreign := target("uid", "x")
	foreign.isOwn = false
	for i, step := range []struct {
		target *secretTarget
		active string
		at     time.Duration
		want   bool
	}{
		{target("uid", "x"), "a", 0, true},                // what the client asks for
		{target("uid", "x"), "a", time.Second, true},      // an edit
		{target("uid", "x"), "a", 2 * time.Second, false}, // another one, just after
		{target("uid", "x"), "b", 2 * time.Second, true},  // a new value never waits
		{foreign, "a", 2 * time.Second, true},
		{target("uid", "x"), "a", repairInterval, false},
		{target("uid", "x"), "a", repairInterval + time.Second, true},
		{target("uid", "y"), "a", repairInterval + 2*time.Second, true}, // the client asks for something else
		{target("new", "y"), "a", repairInterval + 3*time.Second, true}, // another Secret
		{target("new", "y"), "a", repairInterval + 4*time.Second, true},
		{target("new", "y"), "a", repairInterval + 5*time.Second, false},
		{target("other", "y"), "a", repairInterval + 6*time.Second, true},
		{target("other", "y"), "a", repairInterval + 7*time.Second, true},
		{target("other", "z"), "a", repairInterval + 8*time.Second, true},
	} {
		if got := write(step.target, step.active, step.at); got != step.want {
			t.Errorf("step %d: it is written is %v", i, got)
		}
	}
}
