package storagetest_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

func TestAFaultSaysNoMoreThanItsNameDoes(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault storagetest.Fault
		want  error
		done  bool
	}{
		{"none", storagetest.None, nil, true},
		{"unavailable", storagetest.Unavailable, storage.ErrUnavailable, false},
		{"lost request", storagetest.LostRequest, storage.ErrAmbiguous, false},
		{"lost answer", storagetest.LostAnswer, storage.ErrAmbiguous, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner, err := memory.New(time.Now, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			s := &storagetest.Faulty{Store: inner}
			s.Fail("CreateGrant", test.fault)
			if _, err := s.CreateGrant(t.Context(), storage.Grant{ID: "a"}); !errors.Is(err, test.want) {
				t.Errorf("the call says %v, want %v", err, test.want)
			}
			_, err = s.GetGrant(t.Context(), "a")
			if done := err == nil; done != test.done {
				t.Errorf("the write was done: %v, want %v", done, test.done)
			}
			if s.Writes() != 1 || s.Calls("GetGrant") != 1 {
				t.Errorf("counted %d writes and %d reads, want 1 and 1", s.Writes(), s.Calls("GetGrant"))
			}
		})
	}
}
