package controlplane

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/hack/local/identity"
)

// AdminConfig is a configuration that may do everything (group system:masters). The caller may
// change it.
func (cp *ControlPlane) AdminConfig() *rest.Config { return rest.CopyConfig(cp.admin) }

// WriteKubeconfig writes the administrator's kubeconfig.
func (cp *ControlPlane) WriteKubeconfig(path string) error {
	return identity.WriteKubeconfig(path, cp.admin, "")
}

// ConfigForUser is the configuration of a user with any name and groups; what it may do is for RBAC
// to say.
func (cp *ControlPlane) ConfigForUser(name string, groups ...string) (*rest.Config, error) {
	certPEM, keyPEM, err := cp.clusterCA.issue(name, groups...)
	if err != nil {
		return nil, err
	}
	config := cp.anonymous()
	config.CertData, config.KeyData = certPEM, keyPEM
	return config, nil
}

// ConfigFor is the configuration of a ServiceAccount, which must exist, by a token that lasts a
// day.
func (cp *ControlPlane) ConfigFor(ctx context.Context, namespace, name string) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(cp.admin)
	if err != nil {
		return nil, err
	}
	seconds := int64(24 * time.Hour / time.Second)
	answer, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	config := cp.anonymous()
	config.BearerToken = answer.Status.Token
	return config, nil
}

// WriteServiceAccountKubeconfig writes a kubeconfig of a ServiceAccount, which must exist, into the
// directory and returns its path. The token lies beside it and is renewed before it expires, until
// the control plane stops.
func (cp *ControlPlane) WriteServiceAccountKubeconfig(ctx context.Context, namespace, name, dir string) (string, error) {
	if _, err := cp.ConfigFor(ctx, namespace, name); err != nil { // fail at once if it does not exist
		return "", err
	}
	kept, err := identity.MaintainToken(cp.background, cp.admin, namespace, name, dir, cp.options.Log)
	if err != nil {
		return "", err
	}
	select {
	case <-kept.Ready():
		return kept.Kubeconfig(), nil
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for a token of ServiceAccount %s/%s: %w", namespace, name, ctx.Err())
	case <-cp.background.Done():
		return "", cp.background.Err()
	}
}

// anonymous is a configuration without credentials. It sets no limit on requests: client-go's
// default of 5 a second would be the slowest part of everything.
func (cp *ControlPlane) anonymous() *rest.Config {
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, strconv.Itoa(cp.apiPort)),
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.clusterCA.pem},
		QPS:             -1,
	}
}
