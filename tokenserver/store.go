package tokenserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/kubeclient"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/kubernetes"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// maxStoreOperations is how many operations of the storage may be in progress at once: half of the
// connections that clients may have open (httpserver.DefaultLimits), so that a storage that hangs
// leaves the other half to requests that need no record.
const maxStoreOperations = 1024

// store is the Store that the program keeps its records in.
type store struct {
	storage.Store
	// kind is one of the documents.Storage constants.
	kind string
	// id identifies the records of the Store, as in grant.Service. It is random for a Store that
	// does not outlive the process.
	id string
	// run does the background work of the Store until its context ends.
	run func(context.Context)
	// problem returns why the Store cannot be used; empty if it can.
	problem func() string
	// warning returns what is wrong with a Store that can be used, such as an outage; empty if
	// nothing is. It may be nil.
	warning func() string
}

// storeIDOf returns the id of a Store that outlives its process. A Store of another kind, or of a
// server that was created again and found its keys, knows nothing of what was redeemed, revoked and
// ended before.
func (p *program) storeIDOf(kind string) string {
	sum := sha256.Sum256([]byte(kind + " " + p.options.ServerUID))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// openStore opens the Store that the options name, as spec.storage.type does. Letter case does not
// matter.
func (p *program) openStore(metrics prometheus.Registerer) (store, error) {
	switch o := p.options; {
	case strings.EqualFold(o.Storage, documents.StorageKubernetes):
		return p.openKubernetes(metrics)
	case strings.EqualFold(o.Storage, documents.StorageMemory):
		m, err := memory.New(o.Now, o.Random)
		if err != nil {
			return store{}, fmt.Errorf("creating the memory store: %w", err)
		}
		if err := storage.RegisterLiveGrants(metrics, m.CountGrants); err != nil {
			return store{}, err
		}
		return store{
			Store: m, kind: documents.StorageMemory, id: m.ID(),
			run: func(context.Context) {}, problem: func() string { return "" },
		}, nil
	case strings.EqualFold(o.Storage, documents.StoragePostgreSQL):
		return p.openPostgres(metrics)
	default:
		return store{}, fmt.Errorf("unknown storage %q, want kubernetes, memory or postgresql", o.Storage)
	}
}

func (p *program) openKubernetes(metrics prometheus.Registerer) (store, error) {
	api, err := kubeclient.LoadConfig(p.options.Kubeconfig)
	if err != nil {
		return store{}, err
	}
	k, err := kubernetes.New(api, kubernetes.Config{
		Namespace: p.options.Namespace, ServerName: p.options.ServerName, ServerUID: p.options.ServerUID, ReplicaName: p.options.ReplicaName,
		Username: p.usernameOf, ClientID: p.clientIDOf, Changed: p.cluster.WriteReplicaSoon, Now: p.options.Now, Log: p.options.Log, Metrics: metrics,
	})
	if err != nil {
		return store{}, err
	}
	return store{
		Store: k, kind: documents.StorageKubernetes, id: p.storeIDOf(documents.StorageKubernetes), run: k.Run, problem: k.Problem,
	}, nil
}

// firstConnectTimeout bounds the first attempt to reach the database. The Store tries again while
// the program runs.
const firstConnectTimeout = 5 * time.Second

func (p *program) openPostgres(metrics prometheus.Registerer) (store, error) {
	if p.options.DSNFile == "" {
		return store{}, errors.New("the DSN file is missing")
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstConnectTimeout)
	defer cancel()
	db, err := postgres.Open(ctx, postgres.Options{
		DSNFile: p.options.DSNFile, ServerUID: p.options.ServerUID, Changed: p.cluster.WriteReplicaSoon,
		Now: p.options.Now, Random: p.options.Random, Log: p.options.Log, Metrics: metrics,
	})
	if err != nil {
		return store{}, err
	}
	return store{
		Store: db, kind: documents.StoragePostgreSQL, id: p.storeIDOf(documents.StoragePostgreSQL),
		run: func(ctx context.Context) {
			<-ctx.Done()
			db.Close()
		},
		problem: func() string {
			if state := db.State(); !state.Ready {
				return "storage: " + state.Problem
			}
			return ""
		},
		warning: func() string {
			if state := db.State(); state.Problem != "" {
				return "storage: " + state.Problem
			}
			return ""
		},
	}, nil
}

// usernameTimeout bounds a look-up of the name in a new record, which is for people alone.
const usernameTimeout = time.Second

// usernameOf returns the name of a user; empty if there is no such user, or none with a name, or if
// that is not known.
func (p *program) usernameOf(userUID string) string {
	ctx, cancel := context.WithTimeout(context.Background(), usernameTimeout)
	defer cancel()
	known := users.Users{Registry: p.registry, Store: p.store.Store}
	user, ok, err := known.ByUID(ctx, storage.RecentReader(p.store), userUID, "")
	if err != nil || !ok {
		return ""
	}
	return user.Username
}

// clientIDOf returns the id of a client; empty if the registry has no such client.
func (p *program) clientIDOf(clientUID string) string {
	client, ok := p.registry.ClientByUID(clientUID)
	if !ok {
		return ""
	}
	return client.ID
}

// storeProblem returns why the Store cannot be used; empty if it can. A process that was started
// for another storage than the server's document names must not be used: it would redeem codes that
// were redeemed there.
func (p *program) storeProblem() string {
	server, _ := p.registry.Server()
	if server.Storage != "" && server.Storage != p.store.kind {
		return fmt.Sprintf("the server keeps its records in %s, and this process was started for %s: start it again with --storage=%s",
			server.Storage, p.store.kind, strings.ToLower(server.Storage))
	}
	return p.store.problem()
}
