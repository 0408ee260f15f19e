package postgres

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
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
	conn.ConnectTimeout = min(conn.ConnectTimeout, timeout)
	if conn.ConnectTimeout <= 0 {
		conn.ConnectTimeout = timeout
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "oauth-operator"
	}
	if conn.ValidateConnect == nil {
		// A standby may lag behind the primary.
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// newDatabase returns a database without a pool.
func newDatabase(dsn string, found fingerprint, c *pgconn.Config) *database {
	db := &database{fingerprint: found, address: c.Host, user: c.User, name: c.Database, secrets: []string{dsn}}
	if !strings.HasPrefix(c.Host, "/") { // not a Unix socket
		db.address = net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	}
	if c.Password != "" {
		db.secrets = append(db.secrets, c.Password, url.QueryEscape(c.Password), url.PathEscape(c.Password))
	}
	return db
}
