package httpserver

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/oauth-operator/oauth-operator/tokenserver/mountedfiles"
)

// certificate is the TLS certificate in a directory with tls.crt and tls.key.
type certificate struct {
	dir     string
	current atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	digest [sha256.Size]byte // of the files that were read last
	err    error             // of the last attempt to load them
	logged string            // the last error that was logged
}

// ReloadCertificate reads the certificate again if its files have changed. While they cannot be
// read, the server keeps the certificate that it has. Without TLS it does nothing.
func (s *Server) ReloadCertificate() {
	c := s.certificate
	if c == nil {
		return
	}
	changed, err := c.load()
	if changed {
		s.config.Log.Info("loaded the TLS certificate")
	}
	message := ""
	if err != nil && c.current.Load() != nil { // without any, Problem says why
		message = err.Error()
	}
	c.mu.Lock()
	isNew := message != "" && message != c.logged
	c.logged = message
	c.mu.Unlock()
	if isNew {
		s.config.Log.Warn("the TLS certificate that was loaded before stays", "error", message)
	}
}

// load reads the files if they have changed, and reports whether there is a new certificate.
func (c *certificate) load() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir := mountedfiles.Current(c.dir)
	chain, err1 := os.ReadFile(filepath.Join(dir, "tls.crt"))
	key, err2 := os.ReadFile(filepath.Join(dir, "tls.key"))
	if err := errors.Join(err1, err2); err != nil {
		c.err = errors.New("tls.crt and tls.key cannot be read")
		return false, c.err
	}
	digest := sha256.Sum256(append(append([]byte(fmt.Sprintf("%d ", len(chain))), chain...), key...))
	if digest == c.digest {
		return false, c.err
	}
	c.digest = digest
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		c.err = errors.New("tls.crt and tls.key are not a certificate and its key")
		return false, c.err
	}
	c.err = nil
	c.current.Store(&pair)
	return true, nil
}

// missing returns why there is no certificate; nil if there is one.
func (c *certificate) missing() error {
	if c.current.Load() != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return errors.New("there is no TLS certificate")
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errors.New("there is no TLS certificate")
}
