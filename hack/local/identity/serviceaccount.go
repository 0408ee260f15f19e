package identity

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	lifetime   = time.Hour
	retryAfter = time.Second
)

// renewalDelay returns when a kubelet would renew the token: after four fifths of its lifetime.
func renewalDelay(expires time.Time) time.Duration { return time.Until(expires) * 4 / 5 }

// ServiceAccount is a token that is kept fresh in a file, with a kubeconfig that points to it.
type ServiceAccount struct {
	namespace, name string
	client          kubernetes.Interface
	renewAfter      func(expires time.Time) time.Duration
	log             io.Writer

	kubeconfig, token string
	server            *rest.Config
	ready             chan struct{}
}

// MaintainToken writes the files `kubeconfig` and `token` in dir for a ServiceAccount and renews
// the token, until the context ends. It waits for a ServiceAccount that does not exist yet, and
// requests a new token at once when the ServiceAccount is created again. The configuration must be
// allowed to get and watch the ServiceAccount and to request its tokens. Failures are written to
// log.
func MaintainToken(ctx context.Context, c *rest.Config, namespace, name, dir string, log io.Writer) (*ServiceAccount, error) {
	return maintainToken(ctx, c, namespace, name, dir, log, renewalDelay)
}

func maintainToken(
	ctx context.Context, c *rest.Config, namespace, name, dir string, log io.Writer, renewAfter func(expires time.Time) time.Duration,
) (*ServiceAccount, error) {
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir) // a kubeconfig's paths count from where it lies, not from where its reader runs
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &ServiceAccount{
		namespace: namespace, name: name, client: client, renewAfter: renewAfter, log: log,
		kubeconfig: filepath.Join(dir, "kubeconfig"), token: filepath.Join(dir, "token"),
		server: &rest.Config{Host: c.Host, TLSClientConfig: rest.TLSClientConfig{CAData: c.CAData, CAFile: c.CAFile}},
		ready:  make(chan struct{}),
	}
	go s.run(ctx)
	return s, nil
}

// Ready is closed when both files are there.
func (s *ServiceAccount) Ready() <-chan struct{} { return s.ready }

// Kubeconfig is the path of the kubeconfig.
func (s *ServiceAccount) Kubeconfig() string { return s.kubeconfig }

// Token is the path of the file that holds the token.
func (s *ServiceAccount) Token() string { return s.token }

func (s *ServiceAccount) run(ctx context.Context) {
	uids := make(chan types.UID)
	go s.watch(ctx, uids)

	var uid types.UID // of the ServiceAccount that exists now; empty while there is none
	var renew <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case seen := <-uids:
			if seen == uid {
				continue
			}
			if uid = seen; uid == "" {
				renew = nil
				continue
			}
		case <-renew:
		}
		wait, err := s.write(ctx)
		if err != nil && ctx.Err() == nil {
			_, _ = fmt.Fprintf(s.log, "token of ServiceAccount %s/%s: %v\n", s.namespace, s.name, err)
			wait = retryAfter
		}
		renew = time.After(wait)
	}
}

// watch sends the UID of the ServiceAccount whenever it is created, and an empty one when it is
// deleted.
func (s *ServiceAccount) watch(ctx context.Context, uids chan<- types.UID) {
	send := func(uid types.UID) {
		select {
		case uids <- uid:
		case <-ctx.Done():
		}
	}
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, s.name)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(s.client.CoreV1().RESTClient(), "serviceaccounts", s.namespace, only),
		ObjectType:    &corev1.ServiceAccount{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { send(o.(*corev1.ServiceAccount).UID) },
			UpdateFunc: func(_, o any) { send(o.(*corev1.ServiceAccount).UID) },
			DeleteFunc: func(any) { send("") },
		},
	})
	informer.RunWithContext(ctx)
}

// write asks for a token, puts it into its file, and returns how long it is to stay there.
func (s *ServiceAccount) write(ctx context.Context) (time.Duration, error) {
	seconds := int64(lifetime / time.Second)
	answer, err := s.client.CoreV1().ServiceAccounts(s.namespace).CreateToken(ctx, s.name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	if err := replaceFile(s.token, []byte(answer.Status.Token)); err != nil {
		return 0, err
	}
	select {
	case <-s.ready:
	default:
		reader := rest.CopyConfig(s.server)
		reader.BearerTokenFile = s.token
		if err := WriteKubeconfig(s.kubeconfig, reader, s.namespace); err != nil {
			return 0, err
		}
		close(s.ready)
	}
	return s.renewAfter(answer.Status.ExpirationTimestamp.Time), nil
}
