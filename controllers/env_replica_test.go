package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// newReplica creates a Replica.
func (env *testEnv) newReplica(name, applied string, change ...func(*internalv1alpha1.Replica)) *internalv1alpha1.Replica {
	env.t.Helper()
	r := &internalv1alpha1.Replica{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: env.identity, Name: name, Labels: map[string]string{internalv1alpha1.ServerUIDLabel: string(env.server.UID)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: compile.KindServer, Name: env.server.Name, UID: env.server.UID,
			}},
		},
		Spec: internalv1alpha1.ReplicaSpec{
			ServerUID: env.server.UID, RenewTime: newRenewTime(), AppliedResourceVersion: applied, Ready: true, Formats: documents.Formats(),
		},
	}
	for _, f := range change {
		f(r)
	}
	create(env.t, r)
	return r
}

func newRenewTime() metav1.MicroTime {
	return metav1.NewMicroTime(time.Now().UTC().Truncate(time.Microsecond))
}

// renew has a replica renew itself now, as it does every ten seconds.
func (env *testEnv) renew(r *internalv1alpha1.Replica) {
	env.t.Helper()
	updateObject(env, r, func(r *internalv1alpha1.Replica) { r.Spec.RenewTime = newRenewTime() })
}

// keepRenewing renews a replica until the test ends or the replica is gone.
func (env *testEnv) keepRenewing(r *internalv1alpha1.Replica) {
	key, ctx := client.ObjectKeyFromObject(r), env.t.Context()
	go func() {
		for ticker := time.NewTicker(10 * time.Second); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
			}
			var now internalv1alpha1.Replica
			if err := admin.Get(ctx, key, &now); err != nil {
				ticker.Stop()
				return
			}
			now.Spec.RenewTime = newRenewTime()
			_ = admin.Update(ctx, &now) // a conflict is a renewal too
		}
	}()
}
