package node

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// gracePeriod is how long a token server may take to finish what it is at. Nothing sends it new
// requests meanwhile, so it is less than a Pod's.
const gracePeriod = 15 * time.Second

// Replica is one process of a token server, across its restarts: the container of a Pod.
type Replica struct {
	*process.Supervisor

	deployment *deployment
	index      int
	name       string
	podUID     types.UID
	ready      atomic.Bool

	mu             sync.Mutex
	listen, status string
}

// startReplica starts the process and restarts it when it ends, until the context ends.
func (d *deployment) startReplica(ctx context.Context, index int, dirs map[string]string) (*Replica, error) {
	r := &Replica{deployment: d, index: index, name: fmt.Sprintf("%s-%s-%d", d.spec.key.Name, d.spec.hash, index)}
	if err := r.createPod(ctx); err != nil {
		return nil, fmt.Errorf("creating Pod %s: %w", r.name, err)
	}
	r.Supervisor = process.Supervise(ctx, "token server "+r.id(), func() (process.Command, error) { return r.command(dirs) }, gracePeriod, d.node.options.Log)
	return r, nil
}

// Name is the name of the Pod, and of the Replica object that the process keeps.
func (r *Replica) Name() string { return r.name }

// Listen is the address (host:port) of the endpoints.
func (r *Replica) Listen() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listen
}

// Status is the address (host:port) of the probes and metrics. It is another one after each
// restart.
func (r *Replica) Status() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *Replica) isReady() bool { return r.ready.Load() }

func (r *Replica) id() string { return r.deployment.spec.key.Namespace + "/" + r.name }

// choosePorts picks a new port for the status, and for the endpoints of a replica that has no port
// of its own yet.
func (r *Replica) choosePorts() error {
	listen := r.Listen()
	if r.index == 0 {
		listen = r.deployment.listen
	}
	if listen == "" {
		host, _, err := net.SplitHostPort(r.deployment.listen)
		if err != nil {
			return err
		}
		port, err := loopback.FreePort(host)
		if err != nil {
			return err
		}
		listen = net.JoinHostPort(host, strconv.Itoa(port))
	}
	statusPort, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listen, r.status = listen, net.JoinHostPort("127.0.0.1", strconv.Itoa(statusPort))
	return nil
}
