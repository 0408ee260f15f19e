package httpserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTheCertificatesExpiryIsThatOfTheFirstInTheChainToExpire(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	issue := func(expiry time.Time) []byte {
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: expiry},
			&x509.Certificate{SerialNumber: big.NewInt(2)}, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))

	c := &certificate{dir: dir}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCertificateExpiry(c))
	expiry := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if len(families) == 0 {
			return 0
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	if expiry() != 0 {
		t.Error("there is a metric without a certificate")
	}
	for _, chain := range [][2]time.Time{{now.Add(time.Hour), now.Add(2 * time.Hour)}, {now.Add(4 * time.Hour), now.Add(3 * time.Hour)}} {
		write("tls.crt", append(issue(chain[0]), issue(chain[1])...))
		if changed, err := c.load(); !changed || err != nil {
			t.Fatal(changed, err)
		}
		want := min(chain[0].Unix(), chain[1].Unix())
		if got := expiry(); got != float64(want) {
			t.Errorf("expiry is %v, want %d", got, want)
		}
	}
}
