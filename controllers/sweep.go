package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// A sweep is large if it would remove more than largeSweepEntries and more than one in largeSweepShare of a server's Entries: 5 %. A cluster
// that lost so many objects between two looks may be one that is being restored, or an API server that does not know better.
const (
	largeSweepEntries = 10
	largeSweepShare   = 20
)

// retrySweep is how soon a sweep that failed is begun again.
const retrySweep = time.Minute

// reasonLargeSweep is the reason of the event by which a large sweep announces itself, actionSweep what is done then.
const (
	reasonLargeSweep = "LargeSweep"
	actionSweep      = "Sweep"
)

// Sweeper removes the Entries whose owners do not exist any more. Reconcilers remove them as soon as they see the owner go; the sweep finds
// what went while nobody looked. Entries whose AuthorizationServer is gone are the garbage collector's, unless it was told to leave them behind
// (kubectl delete --cascade=orphan): then they name no owner that it could look for.
//
// The cache says where to look. An Entry is removed after the API server has said that its owner is gone, and only if it is still the one
// that was looked at. Any other answer ends the sweep, and what was announced has to be announced again.
type Sweeper struct {
	*operator

	// Interval is how often the Sweeper looks; the first time is when it starts.
	Interval time.Duration
	// Wait is the time between the announcement of a large sweep and its going on.
	Wait time.Duration

	announced map[types.UID]*largeSweep // by server
}

// largeSweep is one that was announced.
type largeSweep struct {
	goesOn  time.Time
	entries map[types.UID]bool
}

// NeedLeaderElection says that one manager sweeps.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until the context ends.
func (s *Sweeper) Start(ctx context.Context) error {
	for {
		next, err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "looking for documents without an owner; nothing more is removed until the next look", "next", next)
		}
		timer := time.NewTimer(max(next.Sub(s.now()), time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// sweep looks once, and says when to look again.
func (s *Sweeper) sweep(ctx context.Context) (next time.Time, err error) {
	next = s.now().Add(s.Interval)
	defer func() {
		if err != nil { // whoever cannot answer now may have answered wrongly before
			s.announced = nil
			next = earliest(next, s.now().Add(retrySweep))
		}
	}()
	servers, err := s.inventory(ctx)
	if err != nil {
		return next, err
	}
	announced := map[types.UID]*largeSweep{}
	for i := range servers {
		waiting, err := s.sweepServer(ctx, &servers[i])
		if err != nil {
			return next, err
		}
		if waiting != nil {
			announced[servers[i].uid] = waiting
			next = earliest(next, waiting.goesOn)
		}
	}
	s.announced = announced
	return next, nil
}

// sweepServer asks for the owner of each suspect, and removes what has none; of a large sweep it returns what waits.
func (s *Sweeper) sweepServer(ctx context.Context, i *inventory) (*largeSweep, error) {
	orphans, err := s.orphans(ctx, i)
	if err != nil {
		return nil, err
	}
	before := s.announced[i.uid]
	remove, waiting := decideSweep(i.total, orphans, before, s.now(), s.Wait)
	if waiting != nil && waiting != before {
		s.events.Eventf(i.regarding, nil, corev1.EventTypeWarning, reasonLargeSweep, actionSweep,
			"%d of %d documents belong to objects that do not exist any more; they will be removed at %s, unless the API server says otherwise then",
			len(orphans), i.total, waiting.goesOn.UTC().Format(time.RFC3339))
	}
	for _, e := range remove {
		if err := s.deleteEntry(ctx, e); err != nil && !apierrors.IsConflict(err) { // a conflict: somebody else has the name now
			return nil, err
		}
	}
	return waiting, nil
}

// decideSweep says which of the orphans are removed now, and what waits. What goes on after the wait is what was announced, and no more.
func decideSweep(total int, orphans []*internalv1alpha1.Entry, announced *largeSweep, now time.Time, wait time.Duration) (remove []*internalv1alpha1.Entry, waiting *largeSweep) {
	if len(orphans) <= largeSweepEntries || len(orphans)*largeSweepShare <= total {
		return orphans, nil
	}
	if announced == nil {
		announced = &largeSweep{goesOn: now.Add(wait), entries: map[types.UID]bool{}}
		for _, e := range orphans {
			announced.entries[e.UID] = true
		}
		return nil, announced
	}
	if now.Before(announced.goesOn) {
		return nil, announced
	}
	for _, e := range orphans {
		if announced.entries[e.UID] {
			remove = append(remove, e)
		}
	}
	return remove, nil
}

// orphans are the suspects whose owner is gone, by the word of the API server.
func (s *Sweeper) orphans(ctx context.Context, i *inventory) ([]*internalv1alpha1.Entry, error) {
	if i.former != nil {
		if gone, err := s.isOwnerGone(ctx, *i.former); err != nil || !gone {
			return nil, err
		}
		return append(i.suspects, i.issuer), nil
	}
	gone := map[types.UID]bool{}
	var orphans []*internalv1alpha1.Entry
	for _, e := range i.suspects {
		owner := e.Spec.Owner
		if _, asked := gone[owner.UID]; !asked { // a ResourceServer has an Entry for each scope
			var err error
			if gone[owner.UID], err = s.isOwnerGone(ctx, owner); err != nil {
				return nil, err
			}
		}
		if gone[owner.UID] {
			orphans = append(orphans, e)
		}
	}
	return orphans, nil
}

// inventory is what the cache has of one server's Entries.
type inventory struct {
	uid       types.UID
	namespace string
	regarding client.Object // that events are about
	// former is the server, if it is not in the cache and has left the Entries behind. Then all are suspects, and issuer besides.
	former   *internalv1alpha1.Owner
	issuer   *internalv1alpha1.Entry
	total    int
	suspects []*internalv1alpha1.Entry // their owner is not in the cache
}

// inventory of each server that exists, and of each that has left Entries behind. It looks at the cache without copying: there may be ten thousand Entries.
func (s *Sweeper) inventory(ctx context.Context) ([]inventory, error) {
	var servers v1alpha1.AuthorizationServerList
	var entries internalv1alpha1.EntryList
	if err := s.List(ctx, &entries, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Entries: %w", err)
	}
	// The owners are listed after what they own, so that one which came in between is no suspect.
	owners, err := s.ownerUIDs(ctx, &servers)
	if err != nil {
		return nil, err
	}
	found := map[types.UID]*inventory{}
	for i := range servers.Items {
		server := &servers.Items[i]
		found[server.UID] = &inventory{uid: server.UID, namespace: server.Namespace, regarding: server}
	}
	former := map[types.UID]*inventory{}
	for i := range entries.Items {
		e := &entries.Items[i]
		switch of := found[e.Spec.ServerUID]; {
		case of == nil:
			leftBehind(former, e)
		case of.namespace == e.Namespace:
			of.total++
			if !owners[e.Spec.Owner.UID] {
				of.suspects = append(of.suspects, e.DeepCopy())
			}
		}
	}
	var all []inventory
	for _, i := range found {
		all = append(all, *i)
	}
	for _, i := range former {
		if i.former != nil {
			all = append(all, *i)
		}
	}
	return all, nil
}

// leftBehind adds an Entry to those of a server that is not in the cache, unless the garbage collector removes it. The name of the server is in
// the Entry of its issuer, which is removed after the others: as long as there are any, the API server can be asked for it.
func leftBehind(former map[types.UID]*inventory, e *internalv1alpha1.Entry) {
	if slices.ContainsFunc(e.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == e.Spec.ServerUID }) {
		return
	}
	of := former[e.Spec.ServerUID]
	if of == nil {
		of = &inventory{uid: e.Spec.ServerUID, namespace: e.Namespace}
		former[of.uid] = of
	}
	if of.namespace != e.Namespace {
		return
	}
	of.total++
	e = e.DeepCopy()
	if e.Spec.Owner.Kind == kindServer && e.Spec.Owner.UID == e.Spec.ServerUID {
		of.former, of.issuer, of.regarding = &e.Spec.Owner, e, e
		return
	}
	of.suspects = append(of.suspects, e)
}

// ownerUIDs are those of all objects in the cache that can own an Entry.
func (s *Sweeper) ownerUIDs(ctx context.Context, servers *v1alpha1.AuthorizationServerList) (map[types.UID]bool, error) {
	uids := map[types.UID]bool{}
	for _, list := range []client.ObjectList{
		servers, &v1alpha1.OAuthClientList{}, &v1alpha1.OAuthUserList{}, &v1alpha1.ResourceServerList{}, &corev1.NamespaceList{},
	} {
		if err := s.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the owners of Entries: %w", err)
		}
		if err := meta.EachListItem(list, func(o runtime.Object) error {
			uids[o.(metav1.Object).GetUID()] = true
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return uids, nil
}
