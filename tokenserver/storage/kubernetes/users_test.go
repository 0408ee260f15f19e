package kubernetes_test

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/users/userstest"
)

func TestUsersFromElsewhereAreAlikeAtAllReplicasWithTheKubernetesStore(t *testing.T) {
	userstest.Run(t, openReplicas)
}

// openReplicas opens the stores of three replicas of a new server.
func openReplicas(t *testing.T) userstest.Storage {
	w := newTestServer(t)
	replicas := []*replica{w.openStore(t, "main-0"), w.openStore(t, "main-1"), w.openStore(t, "main-2")}
	s := userstest.Storage{}
	for _, r := range replicas {
		s.Stores = append(s.Stores, r.Store)
	}
	s.DeleteIdentity = func(ctx context.Context, subject string) error {
		for _, r := range replicas {
			if err := r.DeleteIdentity(ctx, subject); err != nil {
				return err
			}
		}
		return nil
	}
	s.PutBack = func(ctx context.Context, subject string) error {
		key := client.ObjectKey{Namespace: w.namespace, Name: v1alpha1.OAuthIdentityName(subject)}
		dump := &v1alpha1.OAuthIdentity{}
		if err := admin.Get(ctx, key, dump); err != nil {
			return err
		}
		if err := s.DeleteIdentity(ctx, subject); err != nil {
			return err
		}
		status := dump.Status
		dump.ObjectMeta = metav1.ObjectMeta{Namespace: dump.Namespace, Name: dump.Name, Labels: dump.Labels}
		if err := admin.Create(ctx, dump); err != nil {
			return err
		}
		dump.Status = status
		return admin.Status().Update(ctx, dump)
	}
	return s
}
