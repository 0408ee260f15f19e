//go:build peers && postgres

package bench

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/loopback"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage/postgres/postgrestest"
)

// startPatience is how long a server may take until it answers.
const startPatience = 3 * time.Minute

// peerDir is the directory of a server below test/peers. The benchmarks run in test/bench.
func peerDir(name string) string {
	path, err := filepath.Abs(filepath.Join("..", "peers", name))
	if err != nil {
		panic(err) // there is a working directory
	}
	return path
}

// copyPeer copies the directory of a server to bin/peers, where its packages are installed.
func copyPeer(name string) (dir string, err error) {
	if dir, err = filepath.Abs(filepath.Join("..", "..", "bin", "peers", name)); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	_, err = output(peerDir(name), "cp", "-R", ".", dir)
	return dir, err
}

// buildGoPeer builds a server in Go, which has a module below test/peers, and returns the program.
func buildGoPeer(name, importPath string) (program string, err error) {
	if program, err = filepath.Abs(filepath.Join("..", "..", "bin", "peers", name)); err != nil {
		return "", err
	}
	_, err = output(peerDir(name), "env", "CGO_ENABLED=0", "go", "build", "-buildvcs=false", "-o", program, importPath)
	return program, err
}

// moduleVersion is the version of a module that a server's own module requires.
func moduleVersion(name, module string) string {
	version, err := output(peerDir(name), "go", "list", "-m", "-f", "{{.Version}}", module)
	if err != nil {
		return "unknown version"
	}
	return version
}

// findJava finds the newest Java there is: that of JAVA_HOME, or one where Debian installs them.
func findJava() (home, version string, err error) {
	const least = 21 // of Keycloak
	homes, err := filepath.Glob("/usr/lib/jvm/*")
	if err != nil {
		return "", "", err
	}
	if chosen := os.Getenv("JAVA_HOME"); chosen != "" {
		homes = []string{chosen}
	}
	newest := 0
	for _, dir := range homes {
		found := javaVersion(dir)
		number, _, _ := strings.Cut(found, ".")
		if major, err := strconv.Atoi(number); err == nil && major > newest {
			newest, home, version = major, dir, "Java "+found
		}
	}
	if newest < least {
		return "", "", fmt.Errorf("there is no Java %d or newer: install one and set JAVA_HOME (the newest here is %d)", least, newest)
	}
	return home, version, nil
}

// javaVersion is the version of the Java in a directory, or "".
func javaVersion(home string) string {
	f, err := os.Open(filepath.Join(home, "release"))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if version, found := strings.CutPrefix(lines.Text(), "JAVA_VERSION="); found {
			return strings.Trim(version, `"`)
		}
	}
	return ""
}

// freeAddress is one of this machine that no process listens at.
func freeAddress(b *testing.B) string {
	b.Helper()
	port, err := loopback.FreePort("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err) // freeAddress made it
	}
	return port
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	return errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o644))
}

// peerDatabase is a database of PostgreSQL in which a server keeps its records.
type peerDatabase struct {
	server *postgrestest.Server
	name   string
}

// startPeerDatabase starts a PostgreSQL server for one server, set up as for ours: a transaction
// waits for the disk.
func startPeerDatabase(b *testing.B, s *runningPeer) peerDatabase {
	b.Helper()
	server := postgrestest.Start(b, "fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=128MB")
	d := peerDatabase{server, server.NewDatabase(b)}
	content, err := os.ReadFile(filepath.Join(server.Dir(), "data", "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	if s.database, err = strconv.Atoi(first); err != nil {
		b.Fatal(err)
	}
	s.size = func(b *testing.B) float64 {
		return float64(postgrestest.QueryValue[int64](b, server, d.name, "SELECT pg_database_size(current_database())"))
	}
	return d
}

// DSN is its address with the user and the password.
func (d peerDatabase) DSN() string { return d.server.DSN(d.name) }

// JDBC is its address for Java, without them.
func (d peerDatabase) JDBC() string {
	return (&url.URL{Scheme: "jdbc:postgresql", Host: d.server.Address(), Path: d.name}).String()
}
