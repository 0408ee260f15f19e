package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/hack/local/identity"
	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
)

// deploymentSpec is what decides how the processes of a Deployment are run.
type deploymentSpec struct {
	key      types.NamespacedName
	uid      types.UID
	server   string // the AuthorizationServer that owns it
	template corev1.PodTemplateSpec
	hash     string // of the template
	stopped  bool   // it is scaled to 0
}

func newDeploymentSpec(d *appsv1.Deployment) deploymentSpec {
	spec := deploymentSpec{
		key: types.NamespacedName{Namespace: d.Namespace, Name: d.Name}, uid: d.UID, template: d.Spec.Template,
		stopped: d.Spec.Replicas != nil && *d.Spec.Replicas == 0,
	}
	if owner := metav1.GetControllerOfNoCopy(d); owner != nil {
		spec.server = owner.Name
	}
	content, err := json.Marshal(d.Spec.Template)
	if err != nil {
		panic(err) // it came as JSON
	}
	sum := sha256.Sum256(content)
	spec.hash = hex.EncodeToString(sum[:4])
	return spec
}

func (s deploymentSpec) equals(other deploymentSpec) bool {
	return s.uid == other.uid && s.hash == other.hash && s.stopped == other.stopped
}

// deployment is the processes of a Deployment for one deploymentSpec.
type deployment struct {
	node     *Node
	spec     deploymentSpec
	cancel   context.CancelFunc
	gone     chan struct{} // closed when all processes have ended
	removed  bool          // the Deployment is gone; guarded by Node.mu, as is the next
	replicas []*Replica    // from when the volumes are there
	listen   string        // host:port of the first replica; set before there are any

	changed chan struct{} // holds a value when the status is to be written
	mu      sync.Mutex
	object  *appsv1.Deployment // as it was last seen
}

// startDeployment runs a Deployment until the context ends or its cancel is called. It takes the
// place of the one before, if there is one: that one ends first, for both want the same port and the
// same directory.
func (n *Node) startDeployment(ctx context.Context, spec deploymentSpec, object *appsv1.Deployment, before *deployment) *deployment {
	ctx, cancel := context.WithCancel(ctx)
	d := &deployment{node: n, spec: spec, cancel: cancel, gone: make(chan struct{}), changed: make(chan struct{}, 1), object: object}
	if before != nil {
		before.cancel()
	}
	go func() {
		defer close(d.gone)
		if before != nil {
			<-before.gone
		}
		for {
			if err := d.run(ctx); err != nil && ctx.Err() == nil {
				d.log("%v", err)
			}
			if !clock.Sleep(ctx, time.Second) {
				return
			}
		}
	}()
	return d
}

func (d *deployment) log(format string, args ...any) {
	_, _ = fmt.Fprintf(d.node.options.Log, "%s: %s\n", d.spec.key, fmt.Sprintf(format, args...))
}

// run runs the processes until the context ends, or returns why it cannot.
func (d *deployment) run(ctx context.Context) error {
	n := d.node
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all.Go(func() { d.writeStatus(ctx) })
	if err := d.removePods(ctx); err != nil {
		return fmt.Errorf("removing the Pods of a Deployment of before: %w", err)
	}
	d.statusChanged()
	if d.spec.stopped {
		<-ctx.Done()
		return nil
	}
	issuer, err := n.issuerOf(ctx, d.spec.key.Namespace, d.spec.server)
	if err != nil {
		return fmt.Errorf("reading AuthorizationServer %s: %w", d.spec.server, err)
	}
	if d.listen, err = listenAddress(issuer); err != nil {
		return err
	}
	dirs, err := d.mount(ctx, &all)
	if err != nil {
		return err
	}
	var replicas []*Replica
	for i := range n.options.Replicas {
		r, err := d.startReplica(ctx, i, dirs)
		if err != nil {
			return err
		}
		all.Go(func() { r.report(ctx) })
		replicas = append(replicas, r)
	}
	n.mu.Lock()
	d.replicas = replicas
	n.mu.Unlock()
	for _, r := range replicas {
		<-r.Done()
	}
	cleaning, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	return d.removePods(cleaning)
}

// mount fills a directory for each volume of the template and keeps it up to date until the context
// ends, by goroutines that it adds to all. It returns the directories, by the names of the volumes,
// when everything is there that is not optional, and says what it waits for when that takes long.
func (d *deployment) mount(ctx context.Context, all *sync.WaitGroup) (map[string]string, error) {
	n, namespace := d.node, d.spec.key.Namespace
	dirs := map[string]string{}
	ready := map[string]<-chan struct{}{}
	for _, v := range d.spec.template.Spec.Volumes {
		dir := filepath.Join(n.dir(d.spec.key), v.Name)
		dirs[v.Name] = dir
		switch {
		case v.Secret != nil:
			optional := v.Secret.Optional != nil && *v.Secret.Optional
			ready["Secret "+v.Secret.SecretName] = project(ctx, all, n.client, namespace, v.Secret.SecretName, optional, dir, n.options.Log)
		case v.Projected != nil:
			name := d.spec.template.Spec.ServiceAccountName
			account, err := identity.MaintainToken(ctx, n.options.Config, namespace, name, dir, n.options.Log)
			if err != nil {
				return nil, err
			}
			ready["ServiceAccount "+name] = account.Ready()
		default:
			return nil, fmt.Errorf("volume %s of the Deployment is of a kind that this node does not know", v.Name)
		}
	}
	for what, ready := range ready {
		for patience, done := time.After(5*time.Second), false; !done; {
			select {
			case <-ready:
				done = true
			case <-patience:
				d.log("the token server waits for %s", what)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return dirs, nil
}

// observe takes note of what the Deployment says now.
func (d *deployment) observe(object *appsv1.Deployment) {
	d.mu.Lock()
	d.object = object
	d.mu.Unlock()
	d.statusChanged()
}

func (d *deployment) statusChanged() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// writeStatus says in the Deployment how many Pods there are, until the context ends. When the
// processes are all ready, so are as many Pods as it asks for.
func (d *deployment) writeStatus(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		}
		d.mu.Lock()
		object := d.object.DeepCopy()
		d.mu.Unlock()
		wanted, ready := *object.Spec.Replicas, d.ready()
		if ready == d.node.options.Replicas {
			ready = int(wanted)
		}
		available := min(int32(ready), wanted)
		status := appsv1.DeploymentStatus{
			ObservedGeneration: object.Generation, Replicas: wanted, UpdatedReplicas: wanted,
			ReadyReplicas: available, AvailableReplicas: available, UnavailableReplicas: wanted - available,
		}
		old := object.Status
		if old.ObservedGeneration == status.ObservedGeneration && old.Replicas == status.Replicas && old.AvailableReplicas == status.AvailableReplicas &&
			old.UpdatedReplicas == status.UpdatedReplicas {
			continue
		}
		object.Status = status
		_, err := d.node.client.AppsV1().Deployments(object.Namespace).UpdateStatus(ctx, object, metav1.UpdateOptions{})
		if err == nil {
			continue
		}
		if !clock.Sleep(ctx, 100*time.Millisecond) { // a conflict, or the API server is away
			return
		}
		d.statusChanged()
	}
}

// ready is how many of the processes are.
func (d *deployment) ready() int {
	d.node.mu.Lock()
	defer d.node.mu.Unlock()
	count := 0
	for _, r := range d.replicas {
		if r.isReady() {
			count++
		}
	}
	return count
}
