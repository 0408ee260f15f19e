package memory_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
	"github.com/oauth-operator/oauth-operator/tokenserver/users/userstest"
)

func open(t *testing.T, now func() time.Time) *memory.Store {
	t.Helper()
	s, err := memory.New(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheMemoryStoreIsAStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Backend { return open(t, time.Now) })
}

func TestUsersFromElsewhereAreAlikeAtAllReplicasWithTheMemoryStore(t *testing.T) {
	userstest.Run(t, func(t *testing.T) userstest.Storage {
		s := open(t, time.Now)
		return userstest.Storage{Stores: []storage.Store{s, s, s}, DeleteIdentity: s.DeleteIdentity}
	})
}

// faultyBackend is a Faulty without faults on top of a memory store.
type faultyBackend struct {
	storagetest.Faulty
	memory *memory.Store
}

func (b *faultyBackend) SetMarkBounds(kind storage.MarkKind, bounds storage.MarkBounds) {
	b.memory.SetMarkBounds(kind, bounds)
}

func (b *faultyBackend) SetGrantBounds(perUserAndClient, perServer int) {
	b.memory.SetGrantBounds(perUserAndClient, perServer)
}

func (b *faultyBackend) SetIdentityBound(perServer int) { b.memory.SetIdentityBound(perServer) }

func (b *faultyBackend) DeleteIdentity(ctx context.Context, subject string) error {
	return b.memory.DeleteIdentity(ctx, subject)
}

func (b *faultyBackend) DeleteConsent(ctx context.Context, userUID, clientUID string) error {
	return b.memory.DeleteConsent(ctx, userUID, clientUID)
}

func TestAFaultyStoreWithoutFaultsIsAStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Backend {
		s := open(t, time.Now)
		return &faultyBackend{storagetest.Faulty{Store: s}, s}
	})
}

func TestEveryStoreHasAnEpochOfItsOwn(t *testing.T) {
	a, b := open(t, time.Now), open(t, time.Now)
	if a.ID() == "" || a.ID() == b.ID() {
		t.Errorf("ids are %q and %q", a.ID(), b.ID())
	}
}

func TestTheServersBoundRefusesUntilGrantsEndOrExpire(t *testing.T) {
	now := time.Now()
	s := open(t, func() time.Time { return now })
	s.SetGrantBounds(2, 4)
	create := func(i int) error {
		_, err := s.CreateGrant(t.Context(), storage.Grant{
			ID: fmt.Sprint(i), UserUID: fmt.Sprint("user", i), ClientUID: "client",
			CreatedAt: now, ExpiresAt: now.Add(time.Duration(i+1) * time.Hour),
		})
		return err
	}
	for i := range 4 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := create(4); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("beyond the bound: %v, want ErrFull", err)
	}
	g, err := s.GetGrant(t.Context(), "3")
	if err != nil {
		t.Fatal(err)
	}
	g.End(now, storage.EndRevoked)
	if _, err := s.UpdateGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := create(4); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if err := create(5); !errors.Is(err, storage.ErrFull) {
		t.Errorf("beyond the bound again: %v, want ErrFull", err)
	}
	now = now.Add(time.Hour)
	if err := create(5); err != nil {
		t.Errorf("after one has expired: %v", err)
	}
}

func TestACallWithoutTimeLeftIsUnavailable(t *testing.T) {
	s := open(t, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.GetGrant(ctx, "a"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Grant: %v, want ErrUnavailable", err)
	}
	if _, err := s.CreateGrant(ctx, storage.Grant{ID: "a"}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("CreateGrant: %v, want ErrUnavailable", err)
	}
	if err := s.SetMark(ctx, storage.Mark{Kind: storage.MarkToken, ID: "a", ExpiresAt: time.Now().Add(time.Hour)}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Mark: %v, want ErrUnavailable", err)
	}
}
