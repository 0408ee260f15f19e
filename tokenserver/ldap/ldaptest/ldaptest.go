// Package ldaptest runs directories for tests: OpenLDAP's slapd, with TLS, password policy, groups,
// and entries with odd names. Each has a directory of files and free ports of the loopback address of
// its own, and is removed after the test. The package needs slapd (on Debian the package of that
// name), and no running server.
//
//	ldaptest.go  Server: starting, stopping and changing one, and what it was asked
//	config.go    its configuration, certificate and entries
package ldaptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// host is the address that servers listen on, but for replicas.
const host = "127.0.0.1"

const startTimeout = time.Minute

// Server is a directory.
type Server struct {
	// CABundle is the certificate to trust, in PEM.
	CABundle string

	dir                string
	host               string
	plainPort, tlsPort int
	log                *os.File // what the server writes, which says what it is asked

	mu      sync.Mutex
	process *process.Process
}

// Start starts a directory and stops it after the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// New starts a directory. It runs until Stop, and not longer than this process.
func New() (*Server, error) {
	s, err := newServer(host)
	if err != nil {
		return nil, err
	}
	if err := s.initialize(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// StartReplica starts a directory with the entries, the certificate and the ports of this one at
// another loopback address, such as 127.0.0.2, and stops it after the test. What is changed later in
// one of them does not come to the other.
func (s *Server) StartReplica(t testing.TB, address string) *Server {
	t.Helper()
	replica, err := newServer(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(replica.Stop)
	replica.plainPort, replica.tlsPort, replica.CABundle = s.plainPort, s.tlsPort, s.CABundle
	if err := replica.copyProgram(); err != nil {
		t.Fatal(err)
	}
	if err := replica.copyConfiguration(s); err != nil {
		t.Fatal(err)
	}
	if err := replica.Start(); err != nil {
		t.Fatal(err)
	}
	return replica
}

func newServer(host string) (*Server, error) {
	s := &Server{host: host}
	var err error
	if s.dir, err = os.MkdirTemp("", "ldaptest-"); err != nil {
		return nil, err
	}
	s.log, err = os.Create(filepath.Join(s.dir, "log"))
	return s, err
}

func (s *Server) initialize() error {
	if err := s.copyProgram(); err != nil {
		return err
	}
	if err := s.configure(); err != nil {
		return err
	}
	for range 3 {
		var err error
		if s.plainPort, err = loopback.FreePort(host); err != nil {
			return err
		}
		if s.tlsPort, err = loopback.FreePort(host); err != nil {
			return err
		}
		if err = s.Start(); err == nil || !strings.Contains(s.output(), "Address already in use") {
			return err
		}
	}
	return errors.New("no ports were free for slapd")
}

// copyProgram copies slapd: the profile that AppArmor has for the original confines it to the
// directories of the system.
func (s *Server) copyProgram() error {
	program, err := os.ReadFile("/usr/sbin/slapd")
	if err != nil {
		return fmt.Errorf("install the package slapd: %w", err)
	}
	return os.WriteFile(s.program(), program, 0o700)
}

func (s *Server) program() string { return filepath.Join(s.dir, "slapd") }

// Start starts the server again, with the same data and ports. It returns when the server answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const stats = "256"
	p, err := process.Start(process.Command{
		Path: s.program(), Args: []string{"-f", s.configFile(), "-h", s.PlainURL() + " " + s.URL(), "-d", stats}, Dir: s.dir, Output: s.log,
	})
	if err != nil {
		return err
	}
	s.process = p
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		// Both ports are served from the same moment on.
		if conn, err := net.Dial("tcp", net.JoinHostPort(s.host, strconv.Itoa(s.tlsPort))); err == nil {
			return conn.Close()
		}
		select {
		case <-p.Done():
			return fmt.Errorf("slapd has exited: %s\n%s", p.State(), s.output())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("slapd does not answer\n%s", s.output())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kill kills the server (SIGKILL). It can be started again.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Kill()
		<-s.process.Done()
	}
}

// Stop stops the server and removes its files.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Stop(5 * time.Second)
	}
	_ = s.log.Close()
	_ = os.RemoveAll(s.dir) // the system cleans up its directory for temporary files
}

// output returns what the server has written. It writes to the file itself, so all is there that it
// has written before it answered.
func (s *Server) output() string {
	content, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// URL is where the server has TLS, and PlainURL where it has StartTLS or none.
func (s *Server) URL() string {
	return "ldaps://" + net.JoinHostPort(s.host, strconv.Itoa(s.tlsPort))
}

// Name is a host name that the certificate is for.
const Name = "ldap.acme.example"

// NamedURL is URL with Name as its host.
func (s *Server) NamedURL() string {
	return "ldaps://" + net.JoinHostPort(Name, strconv.Itoa(s.tlsPort))
}

// PlainURL is described at URL.
func (s *Server) PlainURL() string {
	return "ldap://" + net.JoinHostPort(s.host, strconv.Itoa(s.plainPort))
}

// Change changes the directory as its administrator.
func (s *Server) Change(t testing.TB, change func(conn *ldap.Conn) error) {
	t.Helper()
	conn, err := ldap.DialURL(s.PlainURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // what counts has been answered
	if err := conn.Bind(adminDN, adminPassword); err != nil {
		t.Fatal(err)
	}
	if err := change(conn); err != nil {
		t.Fatal(err)
	}
}

// Set replaces the values of an attribute of an entry; without values it removes them.
func (s *Server) Set(t testing.TB, dn, attribute string, values ...string) {
	t.Helper()
	s.Change(t, func(conn *ldap.Conn) error {
		request := ldap.NewModifyRequest(dn, nil)
		request.Replace(attribute, values)
		return conn.Modify(request)
	})
}

// Add adds an entry. Attributes are names and values, alternately.
func (s *Server) Add(t testing.TB, dn string, attributes ...string) {
	t.Helper()
	s.Change(t, func(conn *ldap.Conn) error {
		request := ldap.NewAddRequest(dn, nil)
		for i := 0; i < len(attributes); i += 2 {
			request.Attribute(attributes[i], []string{attributes[i+1]})
		}
		return conn.Add(request)
	})
}

// Delete deletes an entry.
func (s *Server) Delete(t testing.TB, dn string) {
	t.Helper()
	s.Change(t, func(conn *ldap.Conn) error { return conn.Del(ldap.NewDelRequest(dn, nil)) })
}

// Binds returns the DNs that simple binds were asked for so far, in lower case and in their order. A
// bind is there before its answer is.
func (s *Server) Binds() []string {
	var dns []string
	for _, match := range bindLine.FindAllStringSubmatch(s.output(), -1) {
		dns = append(dns, strings.ToLower(match[1]))
	}
	return dns
}

// CountBinds returns how many simple binds as a DN there were.
func (s *Server) CountBinds(dn string) int {
	n := 0
	for _, bound := range s.Binds() {
		if bound == strings.ToLower(dn) {
			n++
		}
	}
	return n
}

// CountSearches returns how many searches there were.
func (s *Server) CountSearches() int { return strings.Count(s.output(), " SRCH base=") }

// CountOpen returns how many connections the server has.
func (s *Server) CountOpen() int {
	output := s.output()
	return strings.Count(output, " ACCEPT from ") - strings.Count(output, " closed")
}

var bindLine = regexp.MustCompile(`BIND dn="(.*)" method=128`)
