package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// project keeps a directory filled with the data of a Secret until the context ends, as a kubelet
// does for a volume: it waits for a Secret that does not exist yet, follows its changes, and leaves
// the files alone when it is deleted. The channel is closed once the files are there, or it is known
// that an optional Secret is not, and the group is done when nothing is written any more.
func project(
	ctx context.Context, group *sync.WaitGroup, client kubernetes.Interface, namespace, secret string, optional bool, dir string, log io.Writer,
) <-chan struct{} {
	ready := make(chan struct{})
	var once sync.Once
	write := func(object any) {
		if err := replaceFiles(dir, object.(*corev1.Secret).Data); err != nil {
			_, _ = fmt.Fprintf(log, "projecting Secret %s/%s: %v\n", namespace, secret, err)
			return
		}
		once.Do(func() { close(ready) })
	}
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, secret)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "secrets", namespace, only),
		ObjectType:    &corev1.Secret{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: write, UpdateFunc: func(_, object any) { write(object) }},
	})
	group.Go(func() { informer.RunWithContext(ctx) })
	if optional {
		group.Go(func() {
			if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				once.Do(func() { close(ready) })
			}
		})
	}
	return ready
}

const (
	dataLink = "..data"     // leads to the directory that counts; its replacement is the moment of the change
	nextLink = "..data_tmp" // becomes it
)

// replaceFiles makes the directory hold exactly these files, all at one moment, in the layout of a
// kubelet's volumes: each file is a link through ..data, itself a link to a directory that is never
// changed once it is in use. A reader who watches ..data sees each change once.
func replaceFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	current, err := readFiles(dir)
	if err != nil {
		return err
	}
	if maps.EqualFunc(current, files, bytes.Equal) && current != nil {
		return nil
	}
	next, err := os.MkdirTemp(dir, "..")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(next, name), content, 0o600); err != nil {
			return err
		}
	}
	link := filepath.Join(dir, nextLink)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt that was cut off
		return err
	}
	if err := os.Symlink(filepath.Base(next), link); err != nil {
		return err
	}
	if err := os.Rename(link, filepath.Join(dir, dataLink)); err != nil {
		return err
	}
	return removeStale(dir, filepath.Base(next), files)
}

// readFiles returns what the directory holds, or nil when it holds nothing yet.
func readFiles(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(filepath.Join(dir, dataLink))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(entries))
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(dir, dataLink, entry.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// removeStale adds the links of new files, and removes those of files that are gone and the
// directories that are no longer in use.
func removeStale(dir, current string, files map[string][]byte) error {
	for name := range files {
		err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		_, wanted := files[name]
		if wanted || name == dataLink || name == current {
			continue
		}
		if entry.IsDir() && !strings.HasPrefix(name, "..") {
			return fmt.Errorf("%s is not a volume: it has a directory %s", dir, name)
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
