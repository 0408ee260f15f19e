package controllers

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

// indexOf returns an index of n objects by their annotations, of which each has one of its own and
// all have one in common.
func indexOf(t *testing.T, n int) toolscache.Indexer {
	t.Helper()
	informer := newCompactInformer(toolscache.NewSharedIndexInformer(
		&toolscache.ListWatch{}, &metav1.PartialObjectMetadata{}, 0, toolscache.Indexers{toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc}))
	if err := informer.AddIndexers(toolscache.Indexers{"own": func(object any) ([]string, error) {
		return slices.Sorted(maps.Keys(object.(*metav1.PartialObjectMetadata).Annotations)), nil
	}}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := informer.GetIndexer().Add(indexedObject(i)); err != nil {
			t.Fatal(err)
		}
	}
	return informer.GetIndexer()
}

func indexedObject(i int) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: fmt.Sprint(i), Annotations: map[string]string{fmt.Sprintf("of its own %d", i): "", "in common": ""},
	}}
}

func namesOf(t *testing.T, index toolscache.Indexer, name, value string) []string {
	t.Helper()
	found, err := index.ByIndex(name, value)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range found {
		names = append(names, object.(*metav1.PartialObjectMetadata).Name)
	}
	return slices.Sorted(slices.Values(names))
}

func TestACompactIndexFindsWhatHasAValueAndNothingElse(t *testing.T) {
	const n = 3 * indexBuckets // so that most have a set with others
	index := indexOf(t, n)
	for i := range n {
		if got := namesOf(t, index, "own", fmt.Sprintf("of its own %d", i)); !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Fatalf("%d is found as %q", i, got)
		}
	}
	if got := namesOf(t, index, "own", "in common"); len(got) != n {
		t.Errorf("%d of %d have what all have in common", len(got), n)
	}
	if got := namesOf(t, index, toolscache.NamespaceIndex, "shop"); len(got) != n {
		t.Errorf("%d of %d are in the namespace", len(got), n)
	}
	changed := indexedObject(7)
	changed.Annotations = map[string]string{"another": ""}
	if err := index.Update(changed); err != nil {
		t.Fatal(err)
	}
	if err := index.Delete(indexedObject(8)); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string][]string{"another": {"7"}, "of its own 7": nil, "of its own 8": nil} {
		if got := namesOf(t, index, "own", value); !slices.Equal(got, want) {
			t.Errorf("%s: %q", value, got)
		}
	}
	if got := namesOf(t, index, "own", "in common"); len(got) != n-2 {
		t.Errorf("after one has changed and one is gone, %d of %d have what all have in common", len(got), n)
	}
	if values, err := index.GetIndexers()["own"](changed); err != nil || !slices.Equal(values, []string{"another"}) {
		t.Errorf("its function gives %q (%v)", values, err)
	}
}

func TestACompactIndexGivesNoBuckets(t *testing.T) {
	index := indexOf(t, 3)
	want := []string{"in common", "of its own 0", "of its own 1", "of its own 2"}
	if values := index.ListIndexFuncValues("own"); !slices.Equal(slices.Sorted(slices.Values(values)), want) {
		t.Errorf("the values are %q", values)
	}
	if found, err := index.Index("own", indexedObject(1)); err == nil {
		t.Errorf("what has the values of an object is found as %v", found)
	}
	if keys, err := index.IndexKeys("own", "in common"); err == nil {
		t.Errorf("the keys are %q", keys)
	}
	const namespaces = toolscache.NamespaceIndex // is not compact
	if found, err := index.Index(namespaces, indexedObject(1)); err != nil || len(found) != 3 {
		t.Errorf("%d are in the namespace (%v)", len(found), err)
	}
	if keys, err := index.IndexKeys(namespaces, "shop"); err != nil || len(keys) != 3 {
		t.Errorf("the keys are %q (%v)", keys, err)
	}
	if values := index.ListIndexFuncValues(namespaces); !slices.Equal(values, []string{"shop"}) {
		t.Errorf("the namespaces are %q", values)
	}
}

func TestACompactIndexTakesAThirdOfTheMemoryOfAnother(t *testing.T) {
	const n = 50_000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // it is far less
	}
	own := func(object any) ([]string, error) {
		return []string{object.(*metav1.PartialObjectMetadata).Name + " of its own"}, nil
	}
	var objects []any
	for i := range n {
		o := indexedObject(i)
		o.Annotations = nil
		objects = append(objects, o)
	}
	used := func(wrap func(toolscache.SharedIndexInformer) toolscache.SharedIndexInformer, indexers toolscache.Indexers) int64 {
		before := heap()
		informer := wrap(toolscache.NewSharedIndexInformer(&toolscache.ListWatch{}, &metav1.PartialObjectMetadata{}, 0, toolscache.Indexers{}))
		if err := informer.AddIndexers(indexers); err != nil {
			t.Fatal(err)
		}
		if err := informer.GetIndexer().Replace(objects, "1"); err != nil {
			t.Fatal(err)
		}
		after := heap()
		runtime.KeepAlive(informer)
		return (after - before) / n
	}
	plain := func(i toolscache.SharedIndexInformer) toolscache.SharedIndexInformer { return i }
	compact := func(i toolscache.SharedIndexInformer) toolscache.SharedIndexInformer { return newCompactInformer(i) }
	none := used(plain, nil)
	sets, buckets := used(plain, toolscache.Indexers{"own": own})-none, used(compact, toolscache.Indexers{"own": own})-none
	t.Logf("an index takes %d bytes for each object, and a compact one %d", sets, buckets)
	if buckets > sets/3 {
		t.Errorf("a compact index takes %d bytes for each object, another %d", buckets, sets)
	}
}
