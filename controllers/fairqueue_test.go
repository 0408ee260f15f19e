package controllers

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func requestIn(namespace string, i int) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(i)}}
}

func startQueue(t *testing.T) *fairQueue {
	t.Helper()
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](time.Millisecond, time.Second)
	q, ok := newFairQueue("", limiter).(*fairQueue)
	if !ok {
		t.Fatal("the queue has another type")
	}
	t.Cleanup(q.ShutDown)
	return q
}

func addExisting(q *fairQueue, request ctrl.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, request)
}

// take takes the next request, and is done with it.
func take(q *fairQueue) ctrl.Request {
	request, _, _ := q.GetWithPriority()
	q.Done(request)
	return request
}

// turnsUntil counts the turns until a request has had its own, while after each turn again does what
// others do then.
func turnsUntil(t *testing.T, q *fairQueue, wanted ctrl.Request, again func(ctrl.Request)) int {
	t.Helper()
	for n := range 100_000 {
		request := take(q)
		if request == wanted {
			return n + 1
		}
		again(request)
	}
	t.Fatalf("%v has had no turn", wanted)
	return 0
}

func TestANamespaceWithManyObjectsDoesNotDelayThoseOfOthers(t *testing.T) {
	q := startQueue(t)
	const crowd = 1000
	for i := range crowd {
		q.Add(requestIn("crowd", i))
	}
	for i := range 10 {
		q.Add(requestIn("other", i))
	}
	addExisting(q, requestIn("existed", 0))
	addFirst(q, requestIn("crowd", crowd))
	position := map[string]int{} // of the last
	for i := range crowd + 12 {
		request := take(q)
		position[request.Namespace] = i
		if i == 0 && request != requestIn("crowd", crowd) {
			t.Errorf("the first is %v, not the one that is almost done", request)
		}
	}
	if position["other"] > 22 { // a turn of the crowd for each of ten, the first, and the one that existed
		t.Errorf("the last of ten came after %d", position["other"])
	}
	if position["existed"] != existingShare-2 {
		t.Errorf("one that existed before came as number %d, and not after %d that changed", position["existed"], existingShare-2)
	}
	if q.Len() > 0 || len(q.turns.asked) > 0 || len(q.turns.lines[classChanged].requests) > 0 {
		t.Errorf("it remembers %v", q.turns)
	}
}

// Who has few objects that change all the time has as many workers busy as others let him.
func TestNamespacesThatAlwaysHaveSomethingToDoDelayACrowdedOneByATurnEach(t *testing.T) {
	const busy, crowd = 20, 100
	for name, add := range map[string]func(*fairQueue, ctrl.Request){
		"changes": func(q *fairQueue, r ctrl.Request) { q.Add(r) },
		"ends":    func(q *fairQueue, r ctrl.Request) { addFirst(q, r) },
	} {
		t.Run(name, func(t *testing.T) {
			q := startQueue(t)
			again := func(r ctrl.Request) {
				if r.Namespace != "crowd" {
					add(q, r)
				}
			}
			for i := range busy {
				for object := range 2 {
					add(q, requestIn(fmt.Sprint("busy-", i), object))
				}
			}
			for i := range crowd {
				q.Add(requestIn("crowd", i))
			}
			addExisting(q, requestIn("crowd", crowd))
			suspended := requestIn("crowd", crowd-1)
			addFirst(q, suspended)
			if n := turnsUntil(t, q, suspended, again); n > 2*(busy+1) {
				t.Errorf("a suspension waits for %d turns while %d namespaces have something to do", n, busy)
			}
			if n := turnsUntil(t, q, requestIn("crowd", crowd-2), again); n > changedShare*crowd*(busy+1) {
				t.Errorf("the last of %d waits for %d turns", crowd, n)
			}
			if q.turns.waiting[requestIn("crowd", crowd)] == classExisting {
				t.Error("one that existed has had no turn meanwhile")
			}
		})
	}
}

func TestEachClassHasItsShareOfTheTurnsWhileAllHaveSomethingToDo(t *testing.T) {
	q := startQueue(t)
	const rounds = 10
	again := map[string]func(ctrl.Request){
		"ends": func(r ctrl.Request) { addFirst(q, r) }, "changes": q.Add, "existed": func(r ctrl.Request) { addExisting(q, r) },
	}
	for namespace, add := range again {
		add(requestIn(namespace, 0))
	}
	turns := map[string]int{}
	for range rounds * existingShare {
		request := take(q)
		turns[request.Namespace]++
		again[request.Namespace](request)
	}
	changes := rounds * existingShare / changedShare
	if turns["existed"] != rounds || turns["changes"] != changes || turns["ends"] != rounds*existingShare-rounds-changes {
		t.Errorf("of %d turns they have %v", rounds*existingShare, turns)
	}
}

func TestAnObjectThatExistedHasItsTurnHoweverMuchChanges(t *testing.T) {
	q := startQueue(t)
	const existing = 50
	for i := range existing {
		addExisting(q, requestIn("existed", i))
	}
	q.Add(requestIn("busy", 0))
	n := turnsUntil(t, q, requestIn("existed", existing-1), func(r ctrl.Request) {
		if r.Namespace == "busy" {
			q.Add(r)
		}
	})
	if n != existing*existingShare-1 {
		t.Errorf("%d objects that existed took %d turns, and not one of %d each", existing, n, existingShare)
	}
}

func TestARequestComesIntoABetterClassAndIntoNoWorse(t *testing.T) {
	q := startQueue(t)
	addExisting(q, requestIn("a", 0))
	q.Add(requestIn("a", 1))
	q.Add(requestIn("a", 2))
	addFirst(q, requestIn("a", 2))
	addExisting(q, requestIn("a", 1))
	q.Add(requestIn("a", 0))
	for i, want := range []int{2, 1, 0} {
		if got := take(q); got != requestIn("a", want) {
			t.Errorf("number %d is %v, not %d", i, got, want)
		}
	}
	if q.Len() != 0 {
		t.Errorf("%d wait", q.Len())
	}
	addExisting(q, requestIn("b", 0)) // what is left of the lines above has no effect
	q.Add(requestIn("a", 0))
	if got := take(q); got != requestIn("a", 0) {
		t.Errorf("the first is %v", got)
	}
}

// A request that came into a better class has left one behind in the other.
func TestWhatHasHadItsTurnInABetterClassTakesNoneFromItsNamespace(t *testing.T) {
	q := startQueue(t)
	const hasty = changedShare - 1 // none is a turn of those that changed
	for i := range hasty {
		q.Add(requestIn("a", i))
		addFirst(q, requestIn("a", i))
	}
	for range hasty {
		take(q)
	}
	q.Add(requestIn("a", hasty))
	for i := range 3 {
		q.Add(requestIn("b", i))
	}
	if n := turnsUntil(t, q, requestIn("a", hasty), func(ctrl.Request) {}); n > 2 {
		t.Errorf("it waits for %d turns, of which one is of the other namespace", n)
	}
	for q.Len() > 0 {
		take(q)
	}
	for c := range q.turns.lines {
		if l := &q.turns.lines[c]; len(l.namespaces) > 0 || len(l.requests) > 0 {
			t.Errorf("the line of class %d remembers %v", c, l.requests)
		}
	}
}

// queueMetrics has the metrics of queues, also when another manager's have another registry.
var queueMetrics = metrics.Registry

func TestTheMetricsOfAQueueCountWhatItIsAskedForAndWhatComesAgain(t *testing.T) {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](time.Millisecond, time.Second)
	q := newFairQueue(t.Name(), limiter)
	defer q.ShutDown()
	q.Add(requestIn("a", 0))
	q.AddRateLimited(requestIn("a", 1))
	eventually.True(t, "both wait", func() bool { return q.Len() == 2 })
	families, err := queueMetrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "name" && label.GetValue() == t.Name() {
					got[family.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	if got["workqueue_depth"] != 2 || got["workqueue_adds_total"] != 2 || got["workqueue_retries_total"] != 1 {
		t.Errorf("the metrics are %v", got)
	}
}

func TestWhatIsToBeDoneNowTakesThePlaceOfWhatWasToBeDoneLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newFairQueue("", workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](time.Minute, time.Hour)).(*fairQueue)
		defer q.ShutDown()
		r := requestIn("a", 0)
		q.AddAfter(r, time.Hour)
		q.AddRateLimited(r) // in a minute
		q.AddAfter(r, 2*time.Hour)
		waitsAfter := func(wait time.Duration) bool {
			time.Sleep(wait)
			synctest.Wait()
			return q.Len() == 1
		}
		if waitsAfter(59 * time.Second) {
			t.Error("it is not rate-limited")
		}
		if !waitsAfter(2 * time.Second) {
			t.Fatal("it is not added when its time has come")
		}
		q.AddAfter(r, time.Hour)
		if take(q); waitsAfter(3 * time.Hour) {
			t.Error("what a pass was to do later was not left to the next one, which waited")
		}
		q.AddAfter(r, time.Hour)
		q.Add(r)
		if take(q); waitsAfter(3 * time.Hour) {
			t.Error("what was done was to be done once more")
		}
		if q.AddAfter(r, time.Hour); !waitsAfter(time.Hour) {
			t.Error("what is to be done later is not done any more")
		}
	})
}

func TestAQueueThatIsShutDownHandsOutNothing(t *testing.T) {
	q := startQueue(t)
	q.Add(requestIn("a", 0))
	q.AddAfter(requestIn("a", 1), time.Hour)
	q.ShutDown()
	if _, _, shutdown := q.GetWithPriority(); !shutdown {
		t.Error("a request is handed out")
	}
	q.Add(requestIn("a", 2))
	q.AddAfter(requestIn("a", 3), time.Hour)
	if timers := len(q.later); timers != 1 || q.later[requestIn("a", 1)].Stop() {
		t.Errorf("of %d timers one runs", timers)
	}
}
