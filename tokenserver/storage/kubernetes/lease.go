package kubernetes

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// leaseDuration is how long a replica that does not renew its lease keeps it.
	leaseDuration = 3 * time.Minute
	// leaseRenewAge is the age at which the holder of the lease renews it.
	leaseRenewAge = leaseDuration / 4
)

// leaseName returns the name of the Lease whose holder sweeps.
func (s *Store) leaseName() string { return s.config.ServerName + "-tokenserver-sweep" }

// acquireLease reports whether this replica sweeps: it holds the lease, takes it if it is free, and
// renews it in time. If two replicas hold it for a moment because their clocks differ, both delete
// the same objects, which is harmless.
func (s *Store) acquireLease(ctx context.Context) (bool, error) {
	acquired, err := s.tryAcquireLease(ctx)
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrExists) {
		acquired, err = false, nil // another replica was faster
	}
	s.isLeader.Store(acquired && err == nil)
	return acquired, err
}

func (s *Store) tryAcquireLease(ctx context.Context) (bool, error) {
	now := s.config.Now()
	lease, written := &coordinationv1.Lease{}, &coordinationv1.Lease{}
	err := s.readObject(ctx, leaseResource, s.leaseName(), lease)
	if errors.Is(err, storage.ErrNotFound) {
		lease = &coordinationv1.Lease{ObjectMeta: s.objectMeta(s.leaseName(), nil)}
		s.setHolder(lease, now)
		return true, s.createObject(ctx, leaseResource, lease, written)
	}
	if err != nil {
		return false, err
	}
	age := leaseDuration
	if lease.Spec.RenewTime != nil {
		age = now.Sub(lease.Spec.RenewTime.Time).Abs()
	}
	isHolder := lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity == s.config.ReplicaName
	switch {
	case isHolder && age < leaseRenewAge:
		return true, nil
	case !isHolder && age < leaseDuration:
		return false, nil
	}
	s.setHolder(lease, now)
	return true, s.updateObject(ctx, leaseResource, lease, written)
}

// setHolder makes this replica the holder of a lease.
func (s *Store) setHolder(lease *coordinationv1.Lease, now time.Time) {
	renewed, seconds := metav1.NewMicroTime(now.UTC()), int32(leaseDuration/time.Second)
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != s.config.ReplicaName {
		lease.Spec.AcquireTime = &renewed
	}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &s.config.ReplicaName, &seconds, &renewed
}
