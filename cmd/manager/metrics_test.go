package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/operator"
)

func TestMetricsAreForWhomTheAPIServerLetsGetThem(t *testing.T) {
	cp := installed(t)
	config, err := cp.ConfigFor(t.Context(), operator.Namespace, operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	serverOptions, err := metricsOptions{address: address, secure: true}.server()
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := manager.New(config, manager.Options{Metrics: serverOptions})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	clients, err := kubernetes.NewForConfig(cp.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	token := func(name string) string {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := clients.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		config, err := cp.ConfigFor(t.Context(), "default", name)
		if err != nil {
			t.Fatal(err)
		}
		return config.BearerToken
	}
	scraper, stranger := token("scraper"), token("stranger")
	_, err = clients.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "scraper"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	// The certificate is self-signed, as scrapers are told to expect.
	scrapes := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}
	get := func(authorization string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		response, err := scrapes.Do(request)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	deadline := time.Now().Add(30 * time.Second)
	for status, _ := get(""); status == 0; status, _ = get("") {
		if time.Now().After(deadline) {
			t.Fatal("the metrics are not served")
		}
		time.Sleep(20 * time.Millisecond)
	}
	for status, body := get("Bearer " + scraper); status != http.StatusOK || !strings.Contains(body, "go_goroutines"); status, body = get("Bearer " + scraper) {
		if time.Now().After(deadline) { // the API server needs a moment to know of the binding
			t.Fatalf("a scraper is answered %d %.100s", status, body)
		}
		time.Sleep(20 * time.Millisecond)
	}
	for authorization, wanted := range map[string]int{
		"": http.StatusUnauthorized, "Bearer": http.StatusUnauthorized, "Bearer x": http.StatusUnauthorized, "Basic " + scraper: http.StatusUnauthorized,
		"Bearer " + scraper[:len(scraper)-4] + "AAAA": http.StatusUnauthorized, "Bearer " + stranger: http.StatusForbidden,
	} {
		if status, body := get(authorization); status != wanted || strings.Contains(body, "go_goroutines") {
			t.Errorf("%.12q is answered %d %.100s, not %d", authorization, status, body, wanted)
		}
	}
	if answer, err := http.Get("http://" + address + "/metrics"); err == nil {
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP is answered %d", answer.StatusCode)
		}
	}
}

func TestADirectoryForTheCertificateOfMetricsMustHaveOne(t *testing.T) {
	dir := t.TempDir()
	options := metricsOptions{address: "127.0.0.1:0", secure: true, certDir: dir}
	if _, err := options.server(); err == nil || !strings.Contains(err.Error(), "tls.crt") {
		t.Errorf("an empty directory: %v", err)
	}
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := options.server(); err != nil || got.CertDir != dir || !got.SecureServing {
		t.Errorf("%+v, %v", got, err)
	}
}
