package controlplane

import (
	"net"
	"net/http"
	"strconv"
)

// Etcd returns the URL of etcd, and a client that may read and write everything in it. It is for
// measurements that need more objects than the API server would write in their time.
func (cp *ControlPlane) Etcd() (url string, client *http.Client, err error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if client, err = cp.etcdCA.client("etcd-client"); err != nil {
		return "", nil, err
	}
	client.Transport.(*http.Transport).DisableKeepAlives = false // which is for probes
	return "https://" + net.JoinHostPort(host, strconv.Itoa(cp.etcdPort)), client, nil
}
