package bench

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

// clientWrites are the objects that the manager has written for one OAuthClient.
type clientWrites struct {
	env    *testenv.Env
	client v1alpha1.OAuthClient
	secret corev1.Secret
	entry  internalv1alpha1.Entry
}

// writesFor returns what the manager has written for a client of the app team.
func writesFor(b *testing.B, env *testenv.Env, name string) *clientWrites {
	b.Helper()
	w := &clientWrites{env: env}
	if err := testenv.Kube.Get(b.Context(), client.ObjectKey{Namespace: env.AppNamespace, Name: name}, &w.client); err != nil {
		b.Fatal(err)
	}
	if err := testenv.Kube.Get(b.Context(), client.ObjectKey{Namespace: env.AppNamespace, Name: w.client.Status.SecretName}, &w.secret); err != nil {
		b.Fatal(err)
	}
	var entries internalv1alpha1.EntryList
	if err := testenv.Kube.List(b.Context(), &entries, client.InNamespace(env.ServerNamespace)); err != nil {
		b.Fatal(err)
	}
	for _, e := range entries.Items {
		if e.Spec.Owner.UID == w.client.UID {
			w.entry = e
			return w
		}
	}
	b.Fatalf("there is no Entry of %s", name)
	return nil
}

// make makes the writes of the manager for the i-th copy of the client, which exists, in their order.
func (w *clientWrites) make(b *testing.B, c *v1alpha1.OAuthClient, i int) error {
	ctx := b.Context()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: c.Namespace, Name: c.Name + "-oauth", Labels: w.secret.Labels, Annotations: w.secret.Annotations,
		OwnerReferences: slices.Clone(w.secret.OwnerReferences),
	}, Data: w.secret.Data}
	owner := &secret.OwnerReferences[0] // which exists, or the garbage collector would delete the Secret meanwhile
	owner.Name, owner.UID = c.Name, c.UID
	entry := &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.entry.Namespace, Name: fmt.Sprintf("e-%064d", i), OwnerReferences: w.entry.OwnerReferences,
		Labels: map[string]string{internalv1alpha1.ServerUIDLabel: "none"}, // so that no token server reads it
	}, Spec: w.entry.Spec}
	if err := testenv.Kube.Create(ctx, secret.DeepCopy(), client.DryRunAll); err != nil {
		return err
	}
	if err := testenv.Kube.Create(ctx, entry); err != nil {
		return err
	}
	if err := testenv.Kube.Create(ctx, secret); err != nil {
		return err
	}
	entry.Spec.Document += " " // as the change of a credential's state
	if err := testenv.Kube.Update(ctx, entry); err != nil {
		return err
	}
	before := c.DeepCopy()
	c.Status = *w.client.Status.DeepCopy()
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: "Copy", Status: metav1.ConditionTrue, Reason: "Copy"})
	return testenv.Kube.Status().Patch(ctx, c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// timeOfWrites is how long it takes to apply n clients and to make the manager's writes for each, on
// as many connections, while the manager is paused. It leaves no clients behind.
func timeOfWrites(b *testing.B, env *testenv.Env, n int) time.Duration {
	b.Helper()
	w := writesFor(b, env, "many-0")
	pauseManager(b)
	namespace := env.AppNamespace + "-floor"
	env.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	type copied struct {
		*v1alpha1.OAuthClient
		i int
	}
	applied, failed := make(chan copied, n), make(chan error, controllers.DefaultWorkers)
	var all sync.WaitGroup
	began := time.Now()
	for range controllers.DefaultWorkers {
		all.Go(func() {
			for c := range applied {
				if err := w.make(b, c.OAuthClient, c.i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	doAll(b, 0, n, func(i int) error {
		c := newClientIn(namespace, env, i)
		err := testenv.Kube.Create(b.Context(), c)
		applied <- copied{c, i}
		return err
	})
	close(applied)
	all.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
	for _, o := range []client.Object{&v1alpha1.OAuthClient{}, &corev1.Secret{}} {
		for _, in := range []string{namespace, env.AppNamespace} {
			deleteAll(b, o, in)
		}
	}
	deleteAll(b, &internalv1alpha1.Entry{}, env.ServerNamespace)
	return took
}

// deleteAll deletes the objects of a kind in a namespace, one by one: a request to delete them all may
// take the API server a minute at most.
func deleteAll(b *testing.B, kind client.Object, namespace string) {
	b.Helper()
	of, err := testenv.Kube.GroupVersionKindFor(kind)
	if err != nil {
		b.Fatal(err)
	}
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(of)
	if err := testenv.Kube.List(b.Context(), all, client.InNamespace(namespace)); err != nil {
		b.Fatal(err)
	}
	doAll(b, 0, len(all.Items), func(i int) error {
		return client.IgnoreNotFound(testenv.Kube.Delete(b.Context(), &all.Items[i]))
	})
}
