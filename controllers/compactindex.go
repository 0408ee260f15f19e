package controllers

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
)

// indexBuckets is how many sets of objects an index has at most: of a hundred thousand objects, who asks
// for a value has to look through six.
const indexBuckets = 1 << 14

// compactInformer is an informer whose indexes take little memory. An index of client-go has a set
// for each value, and one of controller-runtime two: 640 bytes for each object that has a value of
// its own, as a UID, a name or a Secret. Here the sets are for the values of one hash, and who asks
// for a value gets the objects of the set that have it.
type compactInformer struct {
	toolscache.SharedIndexInformer

	indexer   *compactIndexer
	transform toolscache.TransformFunc // nil: none
}

func newCompactInformer(informer toolscache.SharedIndexInformer) *compactInformer {
	indexer := &compactIndexer{Indexer: informer.GetIndexer(), seed: maphash.MakeSeed()}
	indexer.values, indexer.all = toolscache.Indexers{}, maps.Clone(indexer.Indexer.GetIndexers())
	return &compactInformer{SharedIndexInformer: informer, indexer: indexer}
}

// AddIndexers implements cache.SharedIndexInformer.
func (i *compactInformer) AddIndexers(indexers toolscache.Indexers) error {
	return i.SharedIndexInformer.AddIndexers(i.indexer.compact(indexers))
}

// GetIndexer implements cache.SharedIndexInformer.
func (i *compactInformer) GetIndexer() toolscache.Indexer { return i.indexer }

// SetTransform implements cache.SharedIndexInformer.
func (i *compactInformer) SetTransform(transform toolscache.TransformFunc) error {
	if err := i.SharedIndexInformer.SetTransform(transform); err != nil {
		return err // it has started
	}
	i.transform = transform
	return nil
}

// transformPage transforms the objects of a page of a list, in place. The informer does so itself, but
// only once it has all pages: until then it would hold whole objects.
func (i *compactInformer) transformPage(page runtime.Object) error {
	if i.transform == nil {
		return nil
	}
	return meta.EachListItem(page, func(o runtime.Object) error {
		_, err := i.transform(o)
		return err
	})
}

// compactIndexer reads the indexes of a compactInformer by ByIndex, as controller-runtime does.
type compactIndexer struct {
	toolscache.Indexer

	seed maphash.Seed // secret, so that no client can choose values of one hash
	mu   sync.RWMutex
	// values are the indexers that give the values, and all are these and those that are not compact.
	// Neither map is changed any more.
	values, all toolscache.Indexers
}

// compact returns indexers that give the buckets of the values that others give.
func (i *compactIndexer) compact(indexers toolscache.Indexers) toolscache.Indexers {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.values, i.all = maps.Clone(i.values), maps.Clone(i.all)
	maps.Copy(i.values, indexers)
	maps.Copy(i.all, indexers)
	inBuckets := toolscache.Indexers{}
	for name, valuesOf := range indexers {
		inBuckets[name] = func(object any) ([]string, error) {
			values, err := valuesOf(object)
			buckets := make([]string, 0, len(values))
			for _, value := range values {
				if bucket := i.bucketOf(value); !slices.Contains(buckets, bucket) {
					buckets = append(buckets, bucket)
				}
			}
			return buckets, err
		}
	}
	return inBuckets
}

// bucketOf returns the bucket of a value. controller-runtime has each value twice, behind a namespace and
// behind a name that stands for all, and a slash: both are in one bucket.
func (i *compactIndexer) bucketOf(value string) string {
	if _, behind, found := strings.Cut(value, "/"); found {
		value = behind
	}
	return bucketNames[maphash.String(i.seed, value)%indexBuckets]
}

// bucketNames are the names of buckets, so that none is made for each object.
var bucketNames = func() (names [indexBuckets]string) {
	for n := range names {
		names[n] = strconv.Itoa(n)
	}
	return names
}()

// ByIndex implements cache.Indexer.
func (i *compactIndexer) ByIndex(name, value string) ([]any, error) {
	i.mu.RLock()
	valuesOf, isCompact := i.values[name]
	i.mu.RUnlock()
	if !isCompact {
		return i.Indexer.ByIndex(name, value)
	}
	found, err := i.Indexer.ByIndex(name, i.bucketOf(value))
	if err != nil {
		return nil, err
	}
	having := slices.DeleteFunc(found, func(object any) bool {
		values, valuesErr := valuesOf(object)
		if valuesErr != nil {
			err = fmt.Errorf("computing the index %s: %w", name, valuesErr)
		}
		return !slices.Contains(values, value)
	})
	return having, err
}

// Index implements cache.Indexer, for the indexes that are not compact.
func (i *compactIndexer) Index(name string, object any) ([]any, error) {
	if i.isCompact(name) {
		return nil, fmt.Errorf("the index %s is compact: ByIndex finds what has one value", name)
	}
	return i.Indexer.Index(name, object)
}

// IndexKeys implements cache.Indexer, for the indexes that are not compact.
func (i *compactIndexer) IndexKeys(name, value string) ([]string, error) {
	if i.isCompact(name) {
		return nil, fmt.Errorf("the index %s is compact: ByIndex finds the objects instead of their keys", name)
	}
	return i.Indexer.IndexKeys(name, value)
}

// ListIndexFuncValues implements cache.Indexer. Of a compact index it computes the values of all
// objects, without those whose values are an error.
func (i *compactIndexer) ListIndexFuncValues(name string) []string {
	if !i.isCompact(name) {
		return i.Indexer.ListIndexFuncValues(name)
	}
	valuesOf, all := i.GetIndexers()[name], map[string]bool{}
	for _, object := range i.List() {
		values, err := valuesOf(object)
		if err != nil {
			continue
		}
		for _, value := range values {
			all[value] = true
		}
	}
	return slices.Collect(maps.Keys(all))
}

func (i *compactIndexer) isCompact(name string) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	_, isCompact := i.values[name]
	return isCompact
}

// GetIndexers implements cache.Indexer.
func (i *compactIndexer) GetIndexers() toolscache.Indexers {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.all
}
