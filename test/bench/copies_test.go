package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

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
// the manager would write them; since it would remove them, it is suspended until they are gone.
type copies struct {
	etcd     *etcd
	original *internalv1alpha1.Entry
	document documents.Client
	made     int
}

func copiesOf(b *testing.B, env *testenv.Env, c *v1alpha1.OAuthClient) *copies {
	b.Helper()
	made := &copies{etcd: openEtcd(b), original: entryOf(b, env, c.UID, internalv1alpha1.SpaceIdentity)}
	if err := json.Unmarshal([]byte(made.original.Spec.Document), &made.document); err != nil {
		b.Fatal(err)
	}
	pauseManager(b)
	b.Cleanup(func() {
		if err := made.etcd.delete(env.ServerNamespace, copyPrefix); err != nil {
			b.Error(err)
		}
	})
	return made
}

// entryOf returns the Entry of an object in a space.
func entryOf(b *testing.B, env *testenv.Env, owner types.UID, space internalv1alpha1.Space) *internalv1alpha1.Entry {
	b.Helper()
	entries := &internalv1alpha1.EntryList{}
	if err := testenv.Kube.List(b.Context(), entries, client.InNamespace(env.ServerNamespace)); err != nil {
		b.Fatal(err)
	}
	for i, e := range entries.Items {
		if e.Spec.Owner.UID == owner && e.Spec.Space == space {
			return &entries.Items[i]
		}
	}
	b.Fatalf("%s has no Entry in space %s", owner, space)
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

// copyPrefix begins the names of the Entries of copies.
const copyPrefix = "entry-copy-"

// entry of the i-th copy.
func (c *copies) entry(i int) *internalv1alpha1.Entry {
	document := c.document
	document.Name = fmt.Sprintf("copy-%d", i)
	document.UID, document.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i), c.document.Namespace+"."+document.Name
	return copyOf(c.original, fmt.Sprintf("client-%025d", i), document.ID, document.UID, document)
}

// copyOf returns an Entry like another, of another owner, for another value and with another
// document, if it has one.
func copyOf(like *internalv1alpha1.Entry, name, value, owner string, document any) *internalv1alpha1.Entry {
	e := &internalv1alpha1.Entry{
		ObjectMeta: metav1.ObjectMeta{Namespace: like.Namespace, Name: copyPrefix + name, Labels: like.Labels, OwnerReferences: like.OwnerReferences},
		Spec:       like.Spec,
	}
	e.Spec.Value, e.Spec.Owner.UID, e.Spec.Owner.Name = value, types.UID(owner), name
	if e.Spec.Document != "" {
		var err error
		if e.Spec.Document, err = documents.Encode(document); err != nil {
			panic(err) // it was decoded from the same
		}
	}
	return e
}

// copyUsers creates n users with the document of the user of env, with another name, subject and
// address each.
func copyUsers(b *testing.B, env *testenv.Env, n int) {
	b.Helper()
	identity, username := entryOf(b, env, env.User.UID, internalv1alpha1.SpaceIdentity), entryOf(b, env, env.User.UID, internalv1alpha1.SpaceUsername)
	store := openEtcd(b)
	for _, like := range []*internalv1alpha1.Entry{identity, username} {
		store.put(b, like, 0, n, func(i int) *internalv1alpha1.Entry {
			uid, subject, name := fmt.Sprintf("00000000-0000-4000-9000-%012d", i), fmt.Sprintf("4e6b2f0a-%012d", i), fmt.Sprintf("user.%d@example.com", i)
			var document documents.User
			if like.Spec.Document != "" {
				if err := json.Unmarshal([]byte(like.Spec.Document), &document); err != nil {
					panic(err)
				}
				document.UID, document.Subject, document.Username, document.Claims["email"] = uid, subject, name, name
			}
			value := subject
			if like == username {
				value = name
			}
			return copyOf(like, fmt.Sprintf("%s-%022d", like.Spec.Space, i), value, uid, document)
		})
	}
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
	c.etcd.put(b, c.original, c.made, n, c.entry)
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
	eventually.Within(b, 5*time.Minute, "a token for "+config.ClientID, func() (bool, string) {
		l, err := dial(hostOf(env.Issuer))
		if err != nil {
			return false, err.Error()
		}
		defer func() { _ = l.Close() }()
		a, err := l.send(request)
		return err == nil && a.status == http.StatusOK, string(a.body)
	})
}
