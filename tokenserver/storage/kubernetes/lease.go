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
	// leaseDuration is how long a replica that has not renewed its lease keeps it.
	leaseDuration = 3 * time.Minute
	// renewAfter is how old a lease gets before its holder renews it.
	renewAfter = leaseDuration / 4
)

// leaseName is the name of the Lease by which the replicas agree on who sweeps.
func (s *Store) leaseName() string { return s.config.ServerName + "-tokenserver-sweep" }

// lead says whether this replica is the one that sweeps, and takes the lease if it is free. If two think so for a moment, because their clocks
// differ, both delete the same objects, once.
func (s *Store) lead(ctx context.Context) (bool, error) {
	leads, err := s.holdLease(ctx)
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrExists) {
		leads, err = false, nil // another was faster
	}
	s.leads.Store(leads && err == nil)
	return leads, err
}

func (s *Store) holdLease(ctx context.Context) (bool, error) {
	now := s.config.Now()
	lease := &coordinationv1.Lease{}
	err := get(ctx, s.in(s.clients.leases.Get(), leaseResource), s.leaseName(), lease)
	if errors.Is(err, storage.ErrNotFound) {
		lease = &coordinationv1.Lease{ObjectMeta: s.meta(s.leaseName(), nil)}
		s.hold(lease, now)
		return true, write(ctx, s.in(s.clients.leases.Post(), leaseResource).Body(lease), nil)
	}
	if err != nil {
		return false, err
	}
	age := leaseDuration
	if lease.Spec.RenewTime != nil {
		age = now.Sub(lease.Spec.RenewTime.Time).Abs()
	}
	ours := lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity == s.config.ReplicaName
	switch {
	case ours && age < renewAfter:
		return true, nil
	case !ours && age < leaseDuration:
		return false, nil
	}
	s.hold(lease, now)
	return true, write(ctx, s.in(s.clients.leases.Put(), leaseResource).Name(lease.Name).Body(lease), nil)
}

// hold writes this replica into a lease.
func (s *Store) hold(lease *coordinationv1.Lease, now time.Time) {
	renewed, seconds := metav1.NewMicroTime(now.UTC()), int32(leaseDuration/time.Second)
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != s.config.ReplicaName {
		lease.Spec.AcquireTime = &renewed
	}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &s.config.ReplicaName, &seconds, &renewed
}
