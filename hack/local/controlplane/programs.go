package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/hack/local/identity"
	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

const (
	host         = "127.0.0.1"
	startTimeout = 2 * time.Minute // generous: tests may run many control planes at a time on few cores
	portAttempts = 5
)

func (cp *ControlPlane) startEtcd(ctx context.Context) error {
	certFile, keyFile, err := cp.etcdCA.issueFiles(cp.pki(), "etcd")
	if err != nil {
		return err
	}
	client, err := cp.etcdCA.client("etcd-probe")
	if err != nil {
		return err
	}
	ca := filepath.Join(cp.pki(), "etcd-ca.crt")
	peer := "https://" + net.JoinHostPort(host, "2380") // only a name: the cluster has one member
	return cp.startOnFreePort(&cp.etcdPort, func() (err error) {
		url := "https://" + net.JoinHostPort(host, strconv.Itoa(cp.etcdPort))
		args := []string{
			"--data-dir=" + filepath.Join(cp.dataDir, "etcd"),
			"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
			"--client-cert-auth", "--trusted-ca-file=" + ca, "--cert-file=" + certFile, "--key-file=" + keyFile,
			"--listen-peer-urls=https://" + net.JoinHostPort(host, "0"),
			"--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + ca, "--peer-cert-file=" + certFile, "--peer-key-file=" + keyFile,
			"--log-level=warn",
		}
		if cp.options.NoFsync {
			args = append(args, "--unsafe-no-fsync")
		}
		cp.etcd, err = cp.startProgram(ctx, cp.binaries.Etcd, args, func(ctx context.Context) error { return get(ctx, client, url+"/health") })
		return err
	}, func() { go cp.reportUnexpectedExit(cp.etcd, func() *process.Process { return cp.etcd }) })
}

func (cp *ControlPlane) startAPIServer(ctx context.Context) error {
	pki := cp.pki()
	etcdCert, etcdKey, err := cp.etcdCA.issueFiles(pki, "etcd-client")
	if err != nil {
		return err
	}
	certFile, keyFile, err := cp.clusterCA.issueFiles(pki, "kube-apiserver")
	if err != nil {
		return err
	}
	accountKeys, err := serviceAccountKeys(pki)
	if err != nil {
		return err
	}
	args := []string{
		"--etcd-servers=https://" + net.JoinHostPort(host, strconv.Itoa(cp.etcdPort)),
		"--etcd-cafile=" + filepath.Join(pki, "etcd-ca.crt"), "--etcd-certfile=" + etcdCert, "--etcd-keyfile=" + etcdKey,
		"--bind-address=" + host,
		"--tls-cert-file=" + certFile, "--tls-private-key-file=" + keyFile,
		"--client-ca-file=" + filepath.Join(pki, "cluster-ca.crt"),
		"--anonymous-auth=false", "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + accountKeys[len(accountKeys)-1],
		"--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", // it would only complain that a loopback address is no endpoint
	}
	for _, file := range accountKeys {
		args = append(args, "--service-account-key-file="+file)
	}
	if cp.options.AuditLog != "" {
		policy := filepath.Join(cp.dataDir, "audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(cp.options.AuditPolicy), 0o600); err != nil {
			return err
		}
		args = append(args, "--audit-policy-file="+policy, "--audit-log-path="+cp.options.AuditLog, "--audit-log-mode=blocking-strict")
	}
	return cp.startOnFreePort(&cp.apiPort, func() (err error) {
		if cp.admin == nil || cp.admin.Host != cp.anonymous().Host { // else leave it alone: others may be reading it
			if cp.admin, err = cp.ConfigForUser("administrator", "system:masters"); err != nil {
				return err
			}
		}
		client, err := rest.HTTPClientFor(cp.admin)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		flags := append(append(args, "--secure-port="+strconv.Itoa(cp.apiPort)), cp.options.APIServerArgs...)
		cp.apiServer, err = cp.startProgram(ctx, cp.binaries.KubeAPIServer, flags, func(ctx context.Context) error {
			if err := get(ctx, client, cp.admin.Host+"/readyz"); err != nil {
				return err
			}
			return get(ctx, client, cp.admin.Host+"/api/v1/namespaces/default") // made after readiness
		})
		return err
	}, func() { go cp.reportUnexpectedExit(cp.apiServer, func() *process.Process { return cp.apiServer }) })
}

// startController starts the two controllers. Nothing waits for them: what they do they do later
// anyway.
func (cp *ControlPlane) startController() (err error) {
	kubeconfig := filepath.Join(cp.pki(), "kube-controller-manager.kubeconfig")
	config, err := cp.ConfigForUser("system:kube-controller-manager", "system:masters")
	if err != nil {
		return err
	}
	if err := identity.WriteKubeconfig(kubeconfig, config, ""); err != nil {
		return err
	}
	cp.controller, err = cp.startProgram(context.Background(), cp.binaries.KubeControllerManager, []string{
		"--kubeconfig=" + kubeconfig,
		"--controllers=garbage-collector-controller,namespace-controller",
		"--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}, nil)
	if err == nil {
		go cp.reportUnexpectedExit(cp.controller, func() *process.Process { return cp.controller })
	}
	return err
}

// reportUnexpectedExit waits until the program ends, and reports that unless it was stopped or
// replaced.
func (cp *ControlPlane) reportUnexpectedExit(p *process.Process, current func() *process.Process) {
	<-p.Done()
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped || current() != p {
		return
	}
	select {
	case cp.failed <- fmt.Errorf("%s has ended (%s); its output is in %s", p.Name(), p.State(), cp.logs()):
	default: // one failure is enough to know
	}
}

// startOnFreePort tries ports until the program can listen on one. Once chosen, the port stays: an
// API server that is started again has the same address.
func (cp *ControlPlane) startOnFreePort(port *int, start func() error, started func()) error {
	choose := *port == 0
	for attempt := 1; ; attempt++ {
		if choose {
			free, err := loopback.FreePort(host)
			if err != nil {
				return err
			}
			*port = free
		}
		err := start()
		if err == nil {
			started()
			return nil
		}
		if !choose || attempt == portAttempts || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

var errPortTaken = errors.New("another program has taken the port")

// startProgram starts a program, its output in a log file, and waits until the probe succeeds. It
// leaves nothing running when it fails.
func (cp *ControlPlane) startProgram(ctx context.Context, path string, args []string, probe func(context.Context) error) (*process.Process, error) {
	logFile := filepath.Join(cp.logs(), filepath.Base(path)+".log")
	out, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	p, err := process.Start(process.Command{Path: path, Args: args, Output: out})
	_ = out.Close() // the program has its own handle
	if err != nil || probe == nil {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer context.AfterFunc(cp.background, cancel)()
	if err := waitFor(ctx, p, probe); err != nil {
		p.Kill()
		return nil, wrapWithLog(p, err, logFile)
	}
	return p, nil
}

func waitFor(ctx context.Context, p *process.Process, probe func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return fmt.Errorf("it ended: %s", p.State())
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w", errors.Join(ctx.Err(), probe(context.WithoutCancel(ctx))))
		case <-tick.C:
			if probe(ctx) == nil {
				return nil
			}
		}
	}
}

// wrapWithLog adds the end of the program's log to the error of a program that did not start.
func wrapWithLog(p *process.Process, err error, logFile string) error {
	const enough = 2 << 10
	output, readErr := os.ReadFile(logFile)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if bytes.Contains(output, []byte("address already in use")) {
		err = fmt.Errorf("%w: %w", errPortTaken, err)
	}
	if len(output) > enough {
		output = output[len(output)-enough:]
	}
	return fmt.Errorf("starting %s: %w; the end of %s:\n%s", p.Name(), err, logFile, output)
}

// client returns an HTTP client that trusts the authority and has a certificate of it.
func (a *authority) client(name string) (*http.Client, error) {
	certPEM, keyPEM, err := a.issue(name)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}, nil
}

// get succeeds when the URL answers 200 within two seconds.
func get(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return nil
}
