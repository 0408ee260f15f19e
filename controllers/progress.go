package controllers

import (
	"context"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

const (
	// statusDelay is how long a status waits that would say only that token servers do not serve the
	// latest change yet. Most serve it by then, and one write says so.
	statusDelay = time.Second
	// raceDelay is how long an object waits for the next pass if token servers have applied its
	// Entries while the pass found that they had not.
	raceDelay = 100 * time.Millisecond
)

// progressTracker holds the objects that wait for nothing but that token servers apply their
// Entries, and which version each waits for. What a token server reports several times a second
// while many objects change then causes a pass over those that it is about, and not over all.
type progressTracker struct {
	mu      sync.Mutex
	servers map[progressKey]*serverProgress
}

// progressKey is the server and the kind of the objects that wait: each kind has a controller, which
// hears of a Replica at a time of its own.
type progressKey struct {
	server types.UID
	kind   string
}

type serverProgress struct {
	applied uint64 // by every live replica
	waiting map[client.ObjectKey]awaitedVersion
}

// awaitedVersion is the version of Entries for which an object waits, and since when it waits for
// this or another.
type awaitedVersion struct {
	version uint64
	since   time.Time
}

func newProgressTracker() *progressTracker {
	return &progressTracker{servers: map[progressKey]*serverProgress{}}
}

func (t *progressTracker) get(key progressKey) *serverProgress {
	p := t.servers[key]
	if p == nil {
		p = &serverProgress{waiting: map[client.ObjectKey]awaitedVersion{}}
		t.servers[key] = p
	}
	return p
}

// await has an object wait for a version, and returns since when it waits, for this version or one
// before. It returns false if token servers have applied the version meanwhile.
func (t *progressTracker) await(key progressKey, object client.ObjectKey, version uint64, now time.Time) (since time.Time, waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.get(key)
	if known, ok := p.waiting[object]; ok {
		now = known.since
	}
	if p.applied >= version {
		delete(p.waiting, object)
		return now, false
	}
	p.waiting[object] = awaitedVersion{version, now}
	return now, true
}

// forget says that an object does not wait.
func (t *progressTracker) forget(key progressKey, object client.ObjectKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.get(key).waiting, object)
}

// advance records what every live replica has applied, and returns the objects that waited for it.
func (t *progressTracker) advance(key progressKey, applied uint64) (reached []client.ObjectKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.get(key)
	p.applied = applied
	for object, awaited := range p.waiting {
		if awaited.version <= applied {
			reached = append(reached, object)
			delete(p.waiting, object)
		}
	}
	return reached
}

// enqueueReached enqueues the objects of a kind that waited for what a Replica reports.
func (op *operator) enqueueReached(kind string) handler.EventHandler {
	enqueue := func(ctx context.Context, changed client.Object, q requestQueue) {
		r, ok := changed.(*internalv1alpha1.Replica)
		if !ok {
			return
		}
		applied, err := op.appliedByAll(ctx, r.Namespace, r.Spec.ServerUID)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot read the cache")
			return
		}
		for _, key := range op.progress.advance(progressKey{r.Spec.ServerUID, kind}, applied) {
			addFirst(q, ctrl.Request{NamespacedName: key})
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requestQueue) { enqueue(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requestQueue) { enqueue(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q requestQueue) { enqueue(ctx, e.Object, q) },
	}
}

// appliedByAll returns the version that every live replica of a server has applied; 0 if none is
// live.
func (op *operator) appliedByAll(ctx context.Context, namespace string, server types.UID) (uint64, error) {
	s := &v1alpha1.AuthorizationServer{}
	s.Namespace, s.UID = namespace, server
	live, err := op.liveReplicas(ctx, s)
	var least uint64
	for i := range live {
		applied, err := strconv.ParseUint(live[i].Spec.AppliedResourceVersion, 10, 64)
		if err != nil {
			return 0, nil //nolint:nilerr // one that has not read the Entries yet has applied none
		}
		if i == 0 || applied < least {
			least = applied
		}
	}
	return least, err
}

// addProgrammed adds the condition Programmed of an object that needs some Entries to be served by
// the token servers of a server. If it waits for a replica that may be dead, requeueAt is set to
// when it is.
func (op *operator) addProgrammed(l *conditionList, server *v1alpha1.AuthorizationServer, replicas []replica, entries []*internalv1alpha1.Entry, requeueAt *time.Time) {
	found := programmedCondition(replicas, entries)
	found.condition = latchProgrammed(found.condition, l.before, l.object.GetGeneration(), l.conditions)
	key, object := progressKey{server.UID, compile.OwnerOf(l.object).Kind}, client.ObjectKeyFromObject(l.object)
	switch {
	case found.condition.isTrue() || found.awaited == 0:
		op.progress.forget(key, object)
	default:
		since, waits := op.progress.await(key, object, found.awaited, op.now())
		if !waits {
			*requeueAt = earliest(*requeueAt, op.now().Add(raceDelay))
		}
		if due := since.Add(statusDelay); l.isAllTrue() && due.After(op.now()) {
			l.statusDue, *requeueAt = due, earliest(*requeueAt, due)
		}
	}
	if !found.condition.isTrue() {
		*requeueAt = earliest(*requeueAt, found.recheck)
	}
	l.add(v1alpha1.ConditionProgrammed, found.condition, "")
}
