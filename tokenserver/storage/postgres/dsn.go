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

// Limits of the connections of one replica, unless the DSN has others (pool_max_conns, pool_max_conn_lifetime, ...).
const (
	maxConns = 10
	// maxAge makes connections move on to a database that is new behind an old name.
	maxAge       = 30 * time.Minute
	maxAgeJitter = 5 * time.Minute
	maxIdle      = 5 * time.Minute
	// pingTimeout is how long an idle connection may take to prove that it still works.
	pingTimeout = time.Second
)

// maxDSN is how long a DSN may be, in bytes.
const maxDSN = 16 << 10

// stamp tells one version of the DSN's file, and of the volume that it is in, from another.
type stamp [sha256.Size]byte

// readDSN reads the file. The volume counts as well: certificates that the DSN names may be in it.
func readDSN(file string) (string, stamp, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", stamp{}, err
	}
	if len(content) > maxDSN {
		return "", stamp{}, fmt.Errorf("%s is longer than %d bytes", file, maxDSN)
	}
	volume, err := os.Readlink(filepath.Join(filepath.Dir(file), "..data"))
	if err != nil {
		volume = "" // no projected volume
	}
	return strings.TrimSpace(string(content)), sha256.Sum256([]byte(volume + "\x00" + string(content))), nil
}

// errNotADSN says what a DSN looks like, and never what was there instead.
var errNotADSN = errors.New("the DSN cannot be read: write postgres://user:password@host:5432/database?sslmode=verify-full, with characters such as " +
	"@ : / ? # % of the password percent-encoded, or host=... port=... user=... password=... dbname=... sslmode=verify-full")

// parse makes the configuration of a pool from a DSN. An error quotes nothing of it but the path of a certificate.
func parse(dsn string, timeout time.Duration) (*pgxpool.Config, error) {
	if dsn == "" {
		return nil, errors.New("the DSN is empty")
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) && filepath.IsAbs(path.Path) {
			return nil, fmt.Errorf("a file that the DSN names cannot be read: %w", path)
		}
		return nil, errNotADSN
	}
	has := func(name string) bool { return strings.Contains(dsn, name) }
	if !has("pool_max_conns") {
		config.MaxConns = maxConns
	}
	if !has("pool_max_conn_lifetime") {
		config.MaxConnLifetime, config.MaxConnLifetimeJitter = maxAge, maxAgeJitter
	}
	if !has("pool_max_conn_idle_time") {
		config.MaxConnIdleTime = maxIdle
	}
	if !has("pool_ping_timeout") {
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
		// A standby would answer from the past.
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// describe fills in what may be said of a DSN, and what may not.
func (db *database) describe(dsn string, c *pgconn.Config) {
	db.address, db.user, db.name = c.Host, c.User, c.Database
	if !strings.HasPrefix(c.Host, "/") {
		db.address = net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	}
	db.secrets = []string{dsn}
	if c.Password != "" {
		db.secrets = append(db.secrets, c.Password, url.QueryEscape(c.Password), url.PathEscape(c.Password))
	}
}
