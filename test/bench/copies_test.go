package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// copies are clients with the document and the secret of another one. Their Entries are written as
// the manager would write them; since it would remove them, it is suspended.
type copies struct {
	env      *testenv.Env
	original internalv1alpha1.Entry
	document documents.Client
	made     int
}

func copiesOf(b *testing.B, env *testenv.Env, c *v1alpha1.OAuthClient) *copies {
	b.Helper()
	entries := &internalv1alpha1.EntryList{}
	if err := testenv.Kube.List(b.Context(), entries, client.InNamespace(env.ServerNamespace)); err != nil {
		b.Fatal(err)
	}
	for _, e := range entries.Items {
		if e.Spec.Owner.UID != c.UID || e.Spec.Document == "" {
			continue
		}
		made := &copies{env: env, original: e}
		if err := json.Unmarshal([]byte(e.Spec.Document), &made.document); err != nil {
			b.Fatal(err)
		}
		pauseManager(b)
		return made
	}
	b.Fatalf("there is no Entry of %s", c.Name)
	return nil
}

func pauseManager(b *testing.B) {
	b.Helper()
	if err := testenv.Operator.Manager.Signal(syscall.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := testenv.Operator.Manager.Signal(syscall.SIGCONT); err != nil {
			b.Error(err)
		}
	})
}

// entry of the i-th copy.
func (c *copies) entry(i int) *internalv1alpha1.Entry {
	uid := types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
	document := c.document
	document.Name = fmt.Sprintf("copy-%d", i)
	document.UID, document.ID = string(uid), c.document.Namespace+"."+document.Name
	encoded, err := documents.Encode(document)
	if err != nil {
		panic(err) // it was decoded from the same
	}
	e := &internalv1alpha1.Entry{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.original.Namespace, Name: fmt.Sprintf("entry-copy-%032d", i), Labels: c.original.Labels, OwnerReferences: c.original.OwnerReferences,
		},
		Spec: c.original.Spec,
	}
	e.Spec.Value, e.Spec.Document = document.ID, encoded
	e.Spec.Owner.UID, e.Spec.Owner.Name = uid, document.Name
	return e
}

// config of the i-th copy, from that of the original.
func (c *copies) config(i int, original *oauth2.Config) *oauth2.Config {
	config := *original
	config.ClientID = fmt.Sprintf("%s.copy-%d", c.document.Namespace, i)
	return &config
}

// grow creates copies until there are n.
func (c *copies) grow(b *testing.B, n int) {
	b.Helper()
	createAll(b, c.made, n, func(i int) client.Object { return c.entry(i) })
	c.made = n
}

// createAll creates the objects from, and up to but not including, to.
func createAll(b *testing.B, from, to int, object func(i int) client.Object) {
	b.Helper()
	doAll(b, from, to, func(i int) error { return testenv.Kube.Create(b.Context(), object(i)) })
}

// doAll does something for all from, and up to but not including, to. Each of the workers does one
// thing at a time.
func doAll(b *testing.B, from, to int, do func(i int) error) {
	b.Helper()
	next := make(chan int)
	var all sync.WaitGroup
	failed := make(chan error, workers)
	for range workers {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := from; i < to; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
}

// waitUntilServed waits until a client gets a token.
func waitUntilServed(b *testing.B, env *testenv.Env, config *oauth2.Config) {
	b.Helper()
	request := tokenRequest(env, config)
	eventually.True(b, "a token for "+config.ClientID, func() bool {
		l, err := dial(hostOf(env.Issuer))
		if err != nil {
			return false
		}
		defer func() { _ = l.Close() }()
		a, err := l.send(request)
		return err == nil && a.status == http.StatusOK
	})
}
