package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

const (
	// tellEvery is the time between two clients whose status is written, or event sent, because of
	// uses of their credentials: whatever the number of clients, that is less than one write a
	// second.
	tellEvery = 1250 * time.Millisecond
	// tellAgain is how much later a use must be than the one that the status tells, tellRetiring
	// the same for a credential that was replaced.
	tellAgain    = 24 * time.Hour
	tellRetiring = time.Hour
)

// reasonWrongMethod is the reason of the event about a secret that comes by a wrong method.
const reasonWrongMethod = "WrongAuthMethod"

// telling spreads the news of uses over time. A Usage brings many at once.
type telling struct {
	now func() time.Time

	mu   sync.Mutex
	next time.Time                      // when the next client can have its turn
	due  map[client.ObjectKey]time.Time // when a client has, or had, its turn
	told map[refusal]time.Time          // when the event was sent
}

// refusal is that a client's secret comes by a method that is not the client's.
type refusal struct {
	client types.UID
	method string
}

func newTelling(now func() time.Time) *telling {
	return &telling{now: now, due: map[client.ObjectKey]time.Time{}, told: map[refusal]time.Time{}}
}

// turn gives a client its turn, unless it has one already.
func (t *telling) turn(key client.ObjectKey) (wait time.Duration, given bool) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, has := t.due[key]; has {
		return 0, false
	}
	if t.next.Before(now) {
		t.next = now
	}
	at := t.next
	t.due[key], t.next = at, at.Add(tellEvery)
	return at.Sub(now), true
}

// dueAt is when it is the client's turn; the zero time if it has none.
func (t *telling) dueAt(key client.ObjectKey) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.due[key]
}

// done ends the turn of a client.
func (t *telling) done(key client.ObjectKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.due, key)
}

// isTold reports whether the event about a refusal was sent in the last day.
func (t *telling) isTold(r refusal) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, told := t.told[r]
	return told && t.now().Sub(at) < tellAgain
}

func (t *telling) setTold(r refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told[r] = t.now()
}

// forget what is over: turns of clients that are gone, and what may be told again.
func (t *telling) forget() {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.due, func(_ client.ObjectKey, at time.Time) bool { return now.Sub(at) > time.Hour })
	maps.DeleteFunc(t.told, func(_ refusal, at time.Time) bool { return now.Sub(at) >= tellAgain })
}

// usages are the cache's own.
func (op *operator) usages(ctx context.Context, options ...client.ListOption) ([]internalv1alpha1.Usage, error) {
	var list internalv1alpha1.UsageList
	if err := op.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing Usages: %w", err)
	}
	return list.Items, nil
}

// usesOf a client's credentials, as the token servers of its server tell.
func (op *operator) usesOf(ctx context.Context, server *v1alpha1.AuthorizationServer, uid types.UID) ([]internalv1alpha1.CredentialUse, error) {
	usages, err := op.usages(ctx, client.InNamespace(server.Namespace), client.MatchingFields{indexUsed: string(uid)})
	if err != nil {
		return nil, err
	}
	var uses []internalv1alpha1.CredentialUse
	for i := range usages {
		if usages[i].Spec.ServerUID != server.UID {
			continue
		}
		for _, use := range usages[i].Spec.Uses {
			if use.Owner == uid {
				uses = append(uses, use)
			}
		}
	}
	return uses, nil
}

// clientsIn are the UIDs of the clients of which a Usage speaks.
func clientsIn(u *internalv1alpha1.Usage) []string {
	uids := map[string]bool{}
	for _, use := range u.Spec.Uses {
		uids[string(use.Owner)] = true
	}
	return slices.Collect(maps.Keys(uids))
}

// onUses wakes the clients for which a Usage has news, each in its turn.
func (op *operator) onUses() handler.EventHandler {
	wake := func(ctx context.Context, object client.Object, q requestQueue) {
		usage, ok := object.(*internalv1alpha1.Usage)
		if !ok {
			return
		}
		op.telling.forget()
		for _, key := range op.clientsWithNews(ctx, usage) {
			if wait, given := op.telling.turn(key); given {
				q.AddAfter(ctrl.Request{NamespacedName: key}, wait)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requestQueue) { wake(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requestQueue) { wake(ctx, e.ObjectNew, q) },
	}
}

func (op *operator) clientsWithNews(ctx context.Context, usage *internalv1alpha1.Usage) []client.ObjectKey {
	var keys []client.ObjectKey
	for _, use := range usage.Spec.Uses {
		var list v1alpha1.OAuthClientList
		err := op.List(ctx, &list, client.MatchingFields{indexUID: string(use.Owner)}, client.UnsafeDisableDeepCopy)
		if err != nil || len(list.Items) == 0 {
			continue
		}
		if c := &list.Items[0]; serverOfClient(c).Namespace == usage.Namespace && op.isNews(c, use) {
			keys = append(keys, client.ObjectKeyFromObject(c))
		}
	}
	return keys
}

// isNews reports whether a use is worth a write.
func (op *operator) isNews(c *v1alpha1.OAuthClient, use internalv1alpha1.CredentialUse) bool {
	if use.RefusedMethod != "" {
		return op.isRefusalNews(c, use)
	}
	return slices.ContainsFunc(c.Status.Credentials, func(told v1alpha1.CredentialStatus) bool {
		return told.ID == use.ID && worthTelling(told.State, told.LastUsed, op.hourOf(use))
	})
}

// isRefusalNews reports whether the client's people are to be told that its secret comes by a wrong
// method. A Usage lists what it likes for as long as it likes: an event is sent about a credential
// that the client has, a method by which secrets can come, and the last day only, and once a day.
func (op *operator) isRefusalNews(c *v1alpha1.OAuthClient, use internalv1alpha1.CredentialUse) bool {
	switch method := v1alpha1.TokenEndpointAuthMethod(use.RefusedMethod); {
	case method != v1alpha1.AuthMethodBasic && method != v1alpha1.AuthMethodPost,
		method == c.Spec.TokenEndpointAuthMethod,
		op.now().Sub(op.hourOf(use)) >= tellAgain:
		return false
	}
	return slices.ContainsFunc(c.Status.Credentials, func(known v1alpha1.CredentialStatus) bool { return known.ID == use.ID }) &&
		!op.telling.isTold(refusal{c.UID, use.RefusedMethod})
}

// worthTelling reports whether a use is so much later than the one that was told that it is worth a
// write.
func worthTelling(state v1alpha1.CredentialState, told *metav1.Time, used time.Time) bool {
	step := tellAgain
	if state == v1alpha1.CredentialRetiring {
		step = tellRetiring
	}
	return told == nil || used.Sub(told.Time) >= step
}

// hourOf a use; a token server whose clock is ahead does not make it one of the future, or no later
// use would be told until then.
func (op *operator) hourOf(use internalv1alpha1.CredentialUse) time.Time {
	if now := op.now().UTC().Truncate(time.Hour); use.Time.After(now) {
		return now
	}
	return use.Time.UTC()
}

// tellUses puts the last uses of a client's credentials into its status, where they are news, and
// sends an event about the ones that were refused.
func (r *clientReconciler) tellUses(s *clientScope) {
	for _, use := range s.uses {
		if use.RefusedMethod != "" {
			r.tellRefusal(s.client, use)
			continue
		}
		for i := range s.client.Status.Credentials {
			told, used := &s.client.Status.Credentials[i], r.hourOf(use)
			if told.ID == use.ID && worthTelling(told.State, told.LastUsed, used) {
				told.LastUsed = &metav1.Time{Time: used}
			}
		}
	}
}

func (r *clientReconciler) tellRefusal(c *v1alpha1.OAuthClient, use internalv1alpha1.CredentialUse) {
	if !r.isRefusalNews(c, use) {
		return
	}
	r.telling.setTold(refusal{c.UID, use.RefusedMethod})
	r.events.Eventf(c, nil, corev1.EventTypeWarning, reasonWrongMethod, action,
		"the client sends its secret, which is right, by %s, and is refused, since spec.tokenEndpointAuthMethod is %s: "+
			"have the application send it by that, or change the field", use.RefusedMethod, c.Spec.TokenEndpointAuthMethod)
}

// credentialStatus tells of credentials what may be told. Their last uses stay as they were told.
func credentialStatus(credentials []documents.Credential, told []v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
	used := map[string]*metav1.Time{}
	for _, known := range told {
		used[known.ID] = known.LastUsed
	}
	var list []v1alpha1.CredentialStatus
	for _, credential := range credentials {
		list = append(list, v1alpha1.CredentialStatus{
			ID: credential.ID, State: v1alpha1.CredentialState(credential.State),
			NotBefore: unixTime(credential.NotBefore), RetireAfter: unixTime(credential.RetireAfter), LastUsed: used[credential.ID],
		})
	}
	return list
}
