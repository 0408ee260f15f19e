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
	"github.com/oauth-operator/oauth-operator/controllers/names"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

const (
	// reportInterval is the time between two clients whose status is written, or about which an
	// event is recorded, because their credentials were used: however many clients there are, that
	// is less than one write a second.
	reportInterval = 1250 * time.Millisecond
	// minUseStep is how much later a use must be than the one in the status, minRetiringUseStep the
	// same for a credential that was replaced.
	minUseStep         = 24 * time.Hour
	minRetiringUseStep = time.Hour
)

// reasonWrongMethod is the reason of the event about a client secret that is sent by another method
// than the client's.
const reasonWrongMethod = "WrongAuthMethod"

// usageReports spreads over time the writes that tell of uses: one Usage brings many at once.
type usageReports struct {
	now func() time.Time

	mu     sync.Mutex
	next   time.Time                      // the next free slot
	slots  map[client.ObjectKey]time.Time // when a client's last use is reported next, by client
	events map[refusedMethod]time.Time    // when the event was recorded
	// retiring is when Retiring credentials were used last, by id, until the status tells, and
	// warnings when those end about whose use an event was recorded.
	retiring, warnings map[string]time.Time
}

// refusedMethod is that a client's secret is sent by a method that is not the client's.
type refusedMethod struct {
	client types.UID
	method string
}

func newUsageReports(now func() time.Time) *usageReports {
	return &usageReports{
		now: now, slots: map[client.ObjectKey]time.Time{}, events: map[refusedMethod]time.Time{},
		retiring: map[string]time.Time{}, warnings: map[string]time.Time{},
	}
}

// schedule gives a client a slot, the next time at which its last use is reported, and returns how
// long it is until then. added is false if the client has one.
func (u *usageReports) schedule(key client.ObjectKey) (wait time.Duration, added bool) {
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, has := u.slots[key]; has {
		return 0, false
	}
	if u.next.Before(now) {
		u.next = now
	}
	at := u.next
	u.slots[key], u.next = at, at.Add(reportInterval)
	return at.Sub(now), true
}

// dueAt returns the slot of a client, or the zero time if it has none.
func (u *usageReports) dueAt(key client.ObjectKey) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.slots[key]
}

// finish removes the slot of a client.
func (u *usageReports) finish(key client.ObjectKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.slots, key)
}

// hasRecentEvent reports whether the event about a refused method was recorded in the last day.
func (u *usageReports) hasRecentEvent(r refusedMethod) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, recorded := u.events[r]
	return recorded && u.now().Sub(at) < minUseStep
}

func (u *usageReports) addEvent(r refusedMethod) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.events[r] = u.now()
}

// removeExpired removes the slots of clients that were deleted, and the events that are old enough
// to be repeated.
func (u *usageReports) removeExpired() {
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.slots, func(_ client.ObjectKey, at time.Time) bool { return now.Sub(at) > time.Hour })
	maps.DeleteFunc(u.events, func(_ refusedMethod, at time.Time) bool { return now.Sub(at) >= minUseStep })
	maps.DeleteFunc(u.retiring, func(_ string, at time.Time) bool { return now.Sub(at) >= minUseStep })
	maps.DeleteFunc(u.warnings, func(_ string, end time.Time) bool { return now.After(end) })
}

// addRetiringUse remembers the use of a Retiring credential: the next Usage of the replica may not
// list it any more when the client's slot comes.
func (u *usageReports) addRetiringUse(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retiring[id] = latest(u.retiring[id], at)
}

func (u *usageReports) retiringUse(id string) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.retiring[id]
}

// addWarning remembers that an event tells of the use of a credential, and reports whether that is
// new.
func (u *usageReports) addWarning(id string, end time.Time) (added bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.warnings[id].Equal(end) {
		return false
	}
	u.warnings[id] = end
	return true
}

// listUsages returns Usages. They belong to the cache: the caller must not change them.
func (op *operator) listUsages(ctx context.Context, options ...client.ListOption) ([]internalv1alpha1.Usage, error) {
	var list internalv1alpha1.UsageList
	if err := op.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing Usages: %w", err)
	}
	return list.Items, nil
}

// listUses returns the uses of a client's credentials that the token servers of its server
// recorded.
func (op *operator) listUses(ctx context.Context, server *v1alpha1.AuthorizationServer, uid types.UID) ([]internalv1alpha1.CredentialUse, error) {
	usages, err := op.listUsages(ctx, client.InNamespace(server.Namespace), client.MatchingFields{indexUsed: string(uid)})
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

// clientUIDsIn returns the UIDs of the clients whose credentials were used according to a Usage.
func clientUIDsIn(u *internalv1alpha1.Usage) []string {
	uids := map[string]bool{}
	for _, use := range u.Spec.Uses {
		uids[string(use.Owner)] = true
	}
	return slices.Collect(maps.Keys(uids))
}

// enqueueUsedClients enqueues the clients of which a Usage tells something that their status does
// not, each in its slot.
func (op *operator) enqueueUsedClients() handler.EventHandler {
	enqueue := func(ctx context.Context, object client.Object, q requestQueue) {
		usage, ok := object.(*internalv1alpha1.Usage)
		if !ok {
			return
		}
		op.usageReports.removeExpired()
		for _, key := range op.findReportableClients(ctx, usage) {
			if wait, added := op.usageReports.schedule(key); added {
				q.AddAfter(ctrl.Request{NamespacedName: key}, wait)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requestQueue) { enqueue(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requestQueue) { enqueue(ctx, e.ObjectNew, q) },
	}
}

func (op *operator) findReportableClients(ctx context.Context, usage *internalv1alpha1.Usage) []client.ObjectKey {
	var keys []client.ObjectKey
	for _, use := range usage.Spec.Uses {
		var list v1alpha1.OAuthClientList
		err := op.List(ctx, &list, client.MatchingFields{indexUID: string(use.Owner)}, client.UnsafeDisableDeepCopy)
		if err != nil || len(list.Items) == 0 {
			continue
		}
		if c := &list.Items[0]; names.ServerOf(c).Namespace == usage.Namespace && op.isReportableUse(c, use) {
			keys = append(keys, client.ObjectKeyFromObject(c))
		}
	}
	return keys
}

// isReportableUse reports whether a use is worth a write.
func (op *operator) isReportableUse(c *v1alpha1.OAuthClient, use internalv1alpha1.CredentialUse) bool {
	if use.RefusedMethod != "" {
		return op.isReportableRefusal(c, use)
	}
	return slices.ContainsFunc(c.Status.Credentials, func(known v1alpha1.CredentialStatus) bool {
		if known.ID == use.ID && known.State == v1alpha1.CredentialRetiring {
			op.usageReports.addRetiringUse(use.ID, op.hourOf(use))
		}
		return known.ID == use.ID && isMuchLater(known.State, known.LastUsed, op.hourOf(use))
	})
}

// isReportableRefusal reports whether there is to be an event about a client secret that is sent by
// a wrong method. A token server may put anything into a Usage, and keep it there: an event is
// recorded about a credential that the client has, a method by which secrets can be sent, and a use
// in the last day only, and once a day.
func (op *operator) isReportableRefusal(c *v1alpha1.OAuthClient, use internalv1alpha1.CredentialUse) bool {
	switch method := v1alpha1.TokenEndpointAuthMethod(use.RefusedMethod); {
	case method != v1alpha1.AuthMethodBasic && method != v1alpha1.AuthMethodPost,
		method == c.Spec.TokenEndpointAuthMethod,
		op.now().Sub(op.hourOf(use)) >= minUseStep:
		return false
	}
	return slices.ContainsFunc(c.Status.Credentials, func(known v1alpha1.CredentialStatus) bool { return known.ID == use.ID }) &&
		!op.usageReports.hasRecentEvent(refusedMethod{c.UID, use.RefusedMethod})
}

// isMuchLater reports whether a use is so much later than the one in the status that it is worth a
// write.
func isMuchLater(state v1alpha1.CredentialState, lastUsed *metav1.Time, used time.Time) bool {
	step := minUseStep
	if state == v1alpha1.CredentialRetiring {
		step = minRetiringUseStep
	}
	return lastUsed == nil || used.Sub(lastUsed.Time) >= step
}

// hourOf returns the hour of a use, or the present one if it is later: a token server whose clock
// is ahead must not keep later uses from being reported until then.
func (op *operator) hourOf(use internalv1alpha1.CredentialUse) time.Time {
	if now := op.now().UTC().Truncate(time.Hour); use.Time.After(now) {
		return now
	}
	return use.Time.UTC()
}

// reportUses sets the last uses of a client's credentials in its status, and records an event about
// secrets that were refused for their method.
func (r *clientReconciler) reportUses(s *clientPass) {
	for _, use := range s.uses {
		if use.RefusedMethod != "" {
			r.reportRefusal(s.client, use)
			continue
		}
		for i := range s.client.Status.Credentials {
			known, used := &s.client.Status.Credentials[i], r.hourOf(use)
			if known.ID == use.ID && isMuchLater(known.State, known.LastUsed, used) {
				known.LastUsed = &metav1.Time{Time: used}
			}
		}
	}
}

func (r *clientReconciler) reportRefusal(c *v1alpha1.OAuthClient, use internalv1alpha1.CredentialUse) {
	if !r.isReportableRefusal(c, use) {
		return
	}
	r.usageReports.addEvent(refusedMethod{c.UID, use.RefusedMethod})
	r.events.Eventf(c, nil, corev1.EventTypeWarning, reasonWrongMethod, eventAction,
		"the client sends its secret, which is right, by %s, and is refused, since spec.tokenEndpointAuthMethod is %s: "+
			"have the application authenticate by that, or change the field", use.RefusedMethod, c.Spec.TokenEndpointAuthMethod)
}

// newCredentialStatus returns what the status says of credentials. Their last uses stay as they
// were.
func newCredentialStatus(credentials []documents.Credential, before []v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
	lastUsed := map[string]*metav1.Time{}
	for _, known := range before {
		lastUsed[known.ID] = known.LastUsed
	}
	var list []v1alpha1.CredentialStatus
	for _, credential := range credentials {
		list = append(list, v1alpha1.CredentialStatus{
			ID: credential.ID, State: v1alpha1.CredentialState(credential.State),
			NotBefore: unixTime(credential.NotBefore), RetireAfter: unixTime(credential.RetireAfter), LastUsed: lastUsed[credential.ID],
		})
	}
	return list
}
