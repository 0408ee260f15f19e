package registry_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

func TestOnlyTheSameEntryIsNotDecodedAgain(t *testing.T) {
	r := newShop(t)
	name := registrytest.Name(registry.SpaceIdentity, "shop.web")
	e := registrytest.Entries(t, client())[name]
	served := r.Decode(name, e)
	if r.Decode(name, e) != served {
		t.Error("an entry that is served is decoded again")
	}
	for what, change := range map[string]func(*registry.Entry){
		"space":         func(e *registry.Entry) { e.Space = registry.SpaceUsername },
		"value":         func(e *registry.Entry) { e.Value += "x" },
		"owner":         func(e *registry.Entry) { e.OwnerUID += "x" },
		"format":        func(e *registry.Entry) { e.Format = "client/v2" },
		"document":      func(e *registry.Entry) { e.Document += " " },
		"two at once":   func(e *registry.Entry) { e.Value, e.OwnerUID = e.Value+e.OwnerUID[:1], e.OwnerUID[1:] },
		"without any":   func(e *registry.Entry) { *e = registry.Entry{} },
		"without a doc": func(e *registry.Entry) { e.Format, e.Document = "", "" },
	} {
		changed := e
		change(&changed)
		if r.Decode(name, changed) == served {
			t.Errorf("%s: the change is not seen", what)
		}
	}
	r.Remove(name)
	if r.Decode(name, e) == served {
		t.Error("an entry that was removed is taken for one that is served")
	}
}

func TestReadingTheSameAgainChangesNothing(t *testing.T) {
	r := registry.New(time.Now)
	entries := map[string]registry.Entry{}
	for _, doc := range []any{server(), namespace("shop", "team", "shop"), orders(), client(), user()} {
		for name, e := range registrytest.Entries(t, doc) {
			entries[name] = e
		}
	}
	if rejected := registrytest.Replace(r, entries); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	before, revision := mustClient(t, r), r.RulesRevision()
	if rejected := registrytest.Replace(r, entries); len(rejected) > 0 {
		t.Error(rejected)
	}
	if mustClient(t, r) != before || r.RulesRevision() != revision {
		t.Error("the client is evaluated again")
	}
}

func TestAClientTakesLessThanTwoKilobytes(t *testing.T) {
	const clients, limit = 10_000, 2048
	r := newShop(t)
	before := heap()
	for i := range clients {
		registrytest.Fill(t, r, aClient(i))
		if _, ok := r.Client(aClient(i).ID); !ok {
			t.Fatal("the client is not served")
		}
	}
	if each := (heap() - before) / clients; each > limit {
		t.Errorf("a client takes %d bytes, want at most %d", each, limit)
	}
	runtime.KeepAlive(r)
}

// heap returns how many bytes of the heap are in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has finalized
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// aClient is one of many clients that differ in what makes a client.
func aClient(i int) documents.Client {
	c := client()
	c.UID, c.Name = fmt.Sprintf("00000000-0000-4000-8000-%012d", i), fmt.Sprintf("client-%d", i)
	c.ID = c.Namespace + "." + c.Name
	c.Credentials = []documents.Credential{{
		ID: fmt.Sprintf("c%07d", i), SHA256: fmt.Sprintf("%064d", i), State: documents.CredentialActive, Source: c.UID + "/123456",
	}}
	return c
}

// BenchmarkDecodeAClient is most of what a token server does for each client when it starts.
func BenchmarkDecodeAClient(b *testing.B) {
	r := registry.New(time.Now)
	entries := registrytest.Entries(b, aClient(1))
	b.ReportAllocs()
	for b.Loop() {
		for name, e := range entries {
			r.Decode(name, e)
		}
	}
}
