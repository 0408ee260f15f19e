// Package identity gives programs an identity at the API server: it writes kubeconfig files,
// and for a ServiceAccount it does what a kubelet does for a Pod, which is to ask the TokenRequest
// API for a token, keep it in a file, and renew it before it expires.
package identity

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a kubeconfig of one context for the configuration. A token file is
// referred to, all else is embedded. A reader sees the old file or the new one, whole, and only its
// owner may read it.
func WriteKubeconfig(path string, c *rest.Config, namespace string) error {
	const name = "local"
	content, err := clientcmd.Write(api.Config{
		CurrentContext: name,
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name, Namespace: namespace}},
		Clusters:       map[string]*api.Cluster{name: {Server: c.Host, CertificateAuthorityData: c.CAData, CertificateAuthority: c.CAFile}},
		AuthInfos: map[string]*api.AuthInfo{name: {
			ClientCertificateData: c.CertData, ClientCertificate: c.CertFile,
			ClientKeyData: c.KeyData, ClientKey: c.KeyFile,
			Token: c.BearerToken, TokenFile: c.BearerTokenFile,
		}},
	})
	if err != nil {
		return fmt.Errorf("encoding the kubeconfig %s: %w", path, err)
	}
	return replaceFile(path, content)
}

func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // readable by its owner alone
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what matters is why it could not be written
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
