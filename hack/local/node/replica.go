package node

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// gracePeriod is how long a token server may take to finish what it is at.
const gracePeriod = 15 * time.Second

// Replica is one process of a token server, across its restarts.
type Replica struct {
	*process.Supervisor

	node  *Node
	spec  podSpec
	index int
	name  string

	mu             sync.Mutex
	listen, status string
}

// startReplica starts the process and restarts it when it ends, until the context ends.
func (n *Node) startReplica(ctx context.Context, spec podSpec, index int, v volumes) *Replica {
	r := &Replica{node: n, spec: spec, index: index, name: spec.key.Name + "-" + strconv.Itoa(index)}
	r.Supervisor = process.Supervise(ctx, "token server "+r.id(), func() (process.Command, error) { return r.command(v) }, gracePeriod, n.options.Log)
	return r
}

// Name is the name of the Replica object that the process keeps.
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

func (r *Replica) id() string { return r.spec.key.Namespace + "/" + r.name }

func (r *Replica) command(v volumes) (process.Command, error) {
	if err := r.choosePorts(); err != nil {
		return process.Command{}, err
	}
	args := []string{
		"--namespace", r.spec.key.Namespace, "--server-name", r.spec.key.Name, "--server-uid", string(r.spec.uid),
		"--replica-name", r.name, "--listen", r.Listen(), "--status-listen", r.Status(),
		"--keys-dir", v.keys, "--storage", r.spec.storage, "--kubeconfig", v.kubeconfig,
	}
	if v.tls != "" {
		args = append(args, "--tls-dir", v.tls)
	}
	if v.storage != "" {
		args = append(args, "--storage-dsn-file", filepath.Join(v.storage, r.spec.dsnKey))
	}
	return process.Command{Path: r.node.options.Program, Args: args, Output: process.NewPrefixWriter(r.node.options.Log, r.id()+": ")}, nil
}

// choosePorts picks a new port for the status, and for the endpoints of a replica that has no port
// of its own yet.
func (r *Replica) choosePorts() error {
	listen := r.Listen()
	if r.index == 0 {
		listen = r.spec.listen
	}
	if listen == "" {
		host, _, err := net.SplitHostPort(r.spec.listen)
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
