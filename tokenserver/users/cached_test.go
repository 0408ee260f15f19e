package users_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/storagetest"
)

func TestWhatAnotherReplicaHasJustRecordedIsNeitherDeniedNorIssuedUponFromACache(t *testing.T) {
	for what, change := range map[string]func(w server, user *registry.User){
		"the record was created again": func(w server, user *registry.User) {
			if err := w.Memory.DeleteIdentity(t.Context(), user.UID); err != nil {
				t.Fatal(err)
			}
		},
		"the provider was created again": func(w server, _ *registry.User) {
			w.remove(acme())
			p := acme()
			p.UID = "acme-uid-2"
			w.serve(p)
		},
		"allow was changed": func(w server, _ *registry.User) {
			p := acme()
			p.Allow = `upstream.employee && "ops" in upstream.groups`
			w.serve(p)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newServer(t, acme())
			cache := w.UseCachedReads(w.Store)
			user := w.mustSignIn("1", employee())
			i, err := w.Memory.GetIdentity(t.Context(), user.UID)
			if err != nil {
				t.Fatal(err)
			}
			cache.FreezeIdentity(i)
			change(w, user)
			if w.isConfirmed(user) {
				t.Error("the user gets tokens by a record that is only in the cache")
			}
			again := w.mustSignIn("1", employee())
			if !w.isServed(again) || !w.isConfirmed(again) {
				t.Errorf("the user who has just signed in is not served: %+v", again)
			}
			if what != "allow was changed" && (again.Epoch == user.Epoch && again.ProviderUID == user.ProviderUID) {
				t.Errorf("what was issued before is good: %+v", again)
			}
		})
	}
}

func TestAUserIsServedFromACacheWithoutAskingTheStore(t *testing.T) {
	w := newServer(t, acme())
	cache := w.UseCachedReads(w.Store)
	user := w.mustSignIn("1", employee())
	i, err := w.Memory.GetIdentity(t.Context(), user.UID)
	if err != nil {
		t.Fatal(err)
	}
	cache.FreezeIdentity(i)
	before := w.Store.Calls("GetIdentity")
	if !w.isServed(user) || w.Store.Calls("GetIdentity") != before {
		t.Errorf("the user is not served, or the store was asked %d times", w.Store.Calls("GetIdentity")-before)
	}

	w.Store.FailAll(storagetest.Unavailable)
	w.Advance(25 * time.Hour)
	w.mustSignIn("1", employee())
}
