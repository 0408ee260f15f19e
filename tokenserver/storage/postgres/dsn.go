package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Limits on the connections of one replica. The DSN may set others (pool_max_conns,
// pool_max_conn_lifetime, ...).
const (
	maxConns = 10
	// maxConnLifetime moves connections to a new database behind an old name.
	maxConnLifetime       = 30 * time.Minute
	maxConnLifetimeJitter = 5 * time.Minute
	maxConnIdleTime       = 5 * time.Minute
	// pingTimeout is how long an idle connection may take to answer before it is used again.
	pingTimeout = time.Second
)

// maxDSNSize is the largest size of a DSN, in bytes.
const maxDSNSize = 16 << 10

// fingerprint is the hash of a DSN and of the version of the volume that the DSN file is in:
// certificates that the DSN names may be in that volume.
type fingerprint [sha256.Size]byte

// readDSN reads the DSN file.
func readDSN(file string) (string, fingerprint, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fingerprint{}, err
	}
	if len(content) > maxDSNSize {
		return "", fingerprint{}, fmt.Errorf("%s is longer than %d bytes", file, maxDSNSize)
	}
	volume, err := os.Readlink(filepath.Join(filepath.Dir(file), "..data"))
	if err != nil {
		volume = "" // not a projected volume
	}
	return strings.TrimSpace(string(content)), sha256.Sum256([]byte(volume + "\x00" + string(content))), nil
}

// errInvalidDSN says what a DSN must look like. It does not quote the DSN, which may contain a
// password anywhere.
var errInvalidDSN = errors.New("the DSN cannot be read: write postgres://user:password@host:5432/database?sslmode=verify-full, with characters such as " +
	"@ : / ? # % of the password percent-encoded, or host=... port=... user=... password=... dbname=... sslmode=verify-full")

// parseDSN returns the configuration of a connection pool. Its errors quote nothing of the DSN but
// the path of a certificate.
func parseDSN(dsn string, timeout time.Duration) (*pgxpool.Config, error) {
	if dsn == "" {
		return nil, errors.New("the DSN is empty")
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) && filepath.IsAbs(path.Path) {
			return nil, fmt.Errorf("a file that the DSN names cannot be read: %w", path)
		}
		return nil, errInvalidDSN
	}
	sets := func(parameter string) bool { return strings.Contains(dsn, parameter) }
	if !sets("pool_max_conns") {
		config.MaxConns = maxConns
	}
	if !sets("pool_max_conn_lifetime") {
		config.MaxConnLifetime, config.MaxConnLifetimeJitter = maxConnLifetime, maxConnLifetimeJitter
	}
	if !sets("pool_max_conn_idle_time") {
		config.MaxConnIdleTime = maxConnIdleTime
	}
	if !sets("pool_ping_timeout") {
		config.PingTimeout = min(pingTimeout, timeout)
	}
	conn := config.ConnConfig
	if conn.ConnectTimeout <= 0 || conn.ConnectTimeout > timeout {
		conn.ConnectTimeout = timeout
	}
	conn.DialFunc = newDialer().DialContext
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "oauth-operator"
	}
	// A standby may lag behind the primary.
	if standby := standbyWanted.FindStringSubmatch(dsn); standby != nil {
		return nil, fmt.Errorf("target_session_attrs=%s of the DSN asks for a standby, which may not know of a revocation yet: write read-write, or leave it out", standby[1])
	}
	conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	return config, nil
}

// standbyWanted matches a DSN that asks for servers that are not, or need not be, the primary.
var standbyWanted = regexp.MustCompile(`target_session_attrs\s*=\s*'?(read-only|standby|prefer-standby)`)

// newDatabase returns a database without a pool.
func newDatabase(dsn string, found fingerprint, config *pgxpool.Config) *database {
	c := &config.ConnConfig.Config
	db := &database{
		fingerprint: found, places: newPlaces(int(config.MaxConns)), address: strings.Join(addressesOf(c), ", "), user: c.User, name: c.Database, secrets: []string{dsn},
	}
	db.retired, db.retire = context.WithCancel(context.Background())
	if c.Password != "" {
		db.secrets = append(db.secrets, c.Password, url.QueryEscape(c.Password), url.PathEscape(c.Password))
	}
	return db
}

// addressesOf returns the addresses that the DSN names, each once.
func addressesOf(c *pgconn.Config) []string {
	var addresses []string
	add := func(host string, port uint16) {
		address := host
		if !strings.HasPrefix(host, "/") { // not a Unix socket
			address = net.JoinHostPort(host, strconv.Itoa(int(port)))
		}
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	add(c.Host, c.Port)
	for _, fallback := range c.Fallbacks { // further hosts, and each host without TLS
		add(fallback.Host, fallback.Port)
	}
	return addresses
}
