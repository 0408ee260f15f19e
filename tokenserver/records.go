package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/cluster"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/kubernetes"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/memory"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres"
)

// records is where the program keeps what outlives a request.
type records struct {
	storage.Store
	// kind is one of the documents.Storage constants.
	kind string
	// epoch of a store that does not outlive the process; empty for any other.
	epoch string
	// run keeps the store working until its context ends.
	run func(context.Context)
	// problem says what keeps the store from being used; empty if nothing does.
	problem func() string
	// trouble says what is wrong with a store that is used, for it passes; empty if nothing is. Nil for a store that never says so.
	trouble func() string
}

// openRecords opens the store that the options name. The names are those of spec.storage.type; letter case does not matter.
func (p *program) openRecords(metrics prometheus.Registerer) (records, error) {
	switch o := p.options; {
	case strings.EqualFold(o.Storage, documents.StorageKubernetes):
		return p.openKubernetes(metrics)
	case strings.EqualFold(o.Storage, documents.StorageMemory):
		store, err := memory.New(o.Now, o.Random)
		if err != nil {
			return records{}, fmt.Errorf("make the store: %w", err)
		}
		return records{
			Store: store, kind: documents.StorageMemory, epoch: store.Epoch(),
			run: func(context.Context) {}, problem: func() string { return "" },
		}, nil
	case strings.EqualFold(o.Storage, documents.StoragePostgreSQL):
		return p.openPostgres(metrics)
	default:
		return records{}, fmt.Errorf("unknown storage %q", o.Storage)
	}
}

func (p *program) openKubernetes(metrics prometheus.Registerer) (records, error) {
	api, err := cluster.RESTConfig(p.options.Kubeconfig)
	if err != nil {
		return records{}, err
	}
	store, err := kubernetes.New(api, kubernetes.Config{
		Namespace: p.options.Namespace, ServerName: p.options.ServerName, ServerUID: p.options.ServerUID, ReplicaName: p.options.ReplicaName,
		Username: p.usernameOf, ClientID: p.clientIDOf, Changed: p.cluster.Changed, Now: p.options.Now, Log: p.options.Log, Metrics: metrics,
	})
	if err != nil {
		return records{}, err
	}
	return records{Store: store, kind: documents.StorageKubernetes, run: store.Run, problem: store.Problem}, nil
}

// firstTry bounds the first attempt to reach the database. Others follow, while the program runs.
const firstTry = 5 * time.Second

func (p *program) openPostgres(metrics prometheus.Registerer) (records, error) {
	if p.options.DSNFile == "" {
		return records{}, errors.New("the file with the DSN is missing")
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstTry)
	defer cancel()
	store, err := postgres.Open(ctx, postgres.Options{
		DSNFile: p.options.DSNFile, ServerUID: p.options.ServerUID, Changed: p.cluster.Changed,
		Now: p.options.Now, Random: p.options.Random, Log: p.options.Log, Metrics: metrics,
	})
	if err != nil {
		return records{}, err
	}
	return records{
		Store: store, kind: documents.StoragePostgreSQL,
		run: func(ctx context.Context) {
			<-ctx.Done()
			store.Close()
		},
		problem: func() string {
			if state := store.State(); !state.Ready {
				return "storage: " + state.Problem
			}
			return ""
		},
		trouble: func() string {
			if state := store.State(); state.Problem != "" {
				return "storage: " + state.Problem
			}
			return ""
		},
	}, nil
}

func (p *program) usernameOf(userUID string) string {
	user, ok := p.registry.UserByUID(userUID)
	if !ok {
		return ""
	}
	return user.Username
}

func (p *program) clientIDOf(clientUID string) string {
	client, ok := p.registry.ClientByUID(clientUID)
	if !ok {
		return ""
	}
	return client.ID
}

// recordsProblem says what keeps the records from being used. A process that was started for another storage than the server now has would
// redeem what was redeemed there; whoever runs it starts it again with the other.
func (p *program) recordsProblem() string {
	server, _ := p.registry.Server()
	if server.Storage != "" && server.Storage != p.records.kind {
		return fmt.Sprintf("the server keeps its records in %s, and this process was started for %s: start it again with --storage=%s",
			server.Storage, p.records.kind, strings.ToLower(server.Storage))
	}
	return p.records.problem()
}
