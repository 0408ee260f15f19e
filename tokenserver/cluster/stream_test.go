package cluster

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/cluster/clustertest"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
)

func TestAWatchOfEntriesIsReadAsClientGoReadsIt(t *testing.T) {
	api := clustertest.Start(t, "https://auth.example.com")
	kept := documents.Namespace{Name: "shop", Labels: map[string]string{"team": "shop \"\u00e9\U0001F600\u2028\" <&>"}}
	gone := documents.Namespace{Name: "gone"}
	api.Put(t, kept, gone)
	ours, theirs := watchBoth(t, api, metav1.ListOptions{
		AllowWatchBookmarks: true, SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	kept.Labels["team"] = "orders"
	api.Put(t, kept)
	api.Delete(t, gone)
	seen := map[watch.EventType]int{}
	for seen[watch.Modified] == 0 || seen[watch.Deleted] == 0 {
		want, got := next(t, theirs), next(t, ours)
		seen[want.Type]++
		entry, _ := want.Object.(*internalv1alpha1.Entry)
		read, _ := got.Object.(*internalv1alpha1.Entry)
		if entry == nil || read == nil || got.Type != want.Type {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if read.Name != entry.Name || read.ResourceVersion != entry.ResourceVersion || read.Spec != entry.Spec ||
			!reflect.DeepEqual(read.Annotations, entry.Annotations) || read.TypeMeta != entry.TypeMeta {
			t.Errorf("%s: got %+v, want %+v", want.Type, read, entry)
		}
	}
	if seen[watch.Added] != 2 || seen[watch.Bookmark] != 1 {
		t.Errorf("saw %v, want two Entries and the bookmark after them", seen)
	}
}

func TestTheErrorThatEndsAWatchIsReadAsClientGoReadsIt(t *testing.T) {
	const status = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",` +
		`"message":"too old resource version: 1 (9)","reason":"Expired","details":{"retryAfterSeconds":3,"causes":[{"message":"m"}]},"code":410}}` + "\n"
	eventType, object, err := entryDecoder.Watch(io.NopCloser(strings.NewReader(status))).Decode()
	if err != nil || eventType != watch.Error {
		t.Fatalf("got %s, %v", eventType, err)
	}
	if err := apierrors.FromObject(object); !apierrors.IsResourceExpired(err) || err.Error() != "too old resource version: 1 (9)" {
		t.Errorf("got %v", err)
	}
	if seconds, _ := apierrors.SuggestsClientDelay(apierrors.FromObject(object)); seconds != 3 {
		t.Errorf("it asks for a delay of %d s, want 3", seconds)
	}
}

func TestWhatIsNoWatchOfEntriesIsAnError(t *testing.T) {
	const entry = `{"type":"ADDED","object":{"kind":"Entry","apiVersion":"internal.oauth-operator.dev/v1alpha1","metadata":{"name":"e"},"spec":{"document":"secret"}}}`
	for what, text := range map[string]string{
		"another kind":         strings.Replace(entry, "Entry", "Table", 1),
		"another version":      strings.Replace(entry, "v1alpha1", "v1", 1),
		"an unknown event":     strings.Replace(entry, "ADDED", "REPLACED", 1),
		"no event":             `{}`,
		"a Status that is not": `{"type":"ADDED","object":{"kind":"Status","apiVersion":"v1"}}`,
		"an error that is not": strings.Replace(entry, "ADDED", "ERROR", 1),
		"another type":         strings.Replace(entry, `"secret"`, `{"secret":1}`, 1),
		"cut off":              entry[:len(entry)-9],
		"no JSON":              "secret",
	} {
		_, _, err := entryDecoder.Watch(io.NopCloser(strings.NewReader(text))).Decode()
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v", what, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the document: %v", what, err)
		}
	}
	first := entryDecoder.Watch(io.NopCloser(strings.NewReader(entry + "\n" + strings.Replace(entry, `"document":"secret"`, "", 1))))
	for _, want := range []string{"secret", ""} {
		_, object, err := first.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if got := object.(*internalv1alpha1.Entry).Spec.Document; got != want {
			t.Errorf("the document is %q, want %q", got, want)
		}
	}
	if _, _, err := first.Decode(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

// watchBoth opens one watch twice: as a token server does, and with the decoder of client-go.
func watchBoth(t *testing.T, api *clustertest.API, options metav1.ListOptions) (ours, theirs watch.Interface) {
	t.Helper()
	config := api.AdminConfig()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubeclient.New(config, httpClient, internalv1alpha1.GroupVersion, internalv1alpha1.AddToScheme)
	if err != nil {
		t.Fatal(err)
	}
	w := kubeclient.Watch{Client: client, Namespace: clustertest.Namespace, Resource: "entries", LabelSelector: internalv1alpha1.ServerUIDLabel + "=" + api.ServerUID}
	open := func(decoder kubeclient.Decoder) watch.Interface {
		w.Decoder = decoder
		opened, err := w.Open(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(opened.Stop)
		return opened
	}
	return open(entryDecoder), open(nil)
}

func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case event, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch has ended")
		}
		return event
	case <-ctx.Done():
		t.Fatal("no event")
		return watch.Event{}
	}
}
