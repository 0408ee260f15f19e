package ldap

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxReaders is how many connections are kept: as many as there are calls that may ask at once.
	maxReaders = maxSigningIn + maxConfirming
	// maxIdle is how long a connection is kept without a use. Directories, and what is on the way to
	// them, drop idle ones after a minute or more, some without a word.
	maxIdle = 30 * time.Second
	// maxAge is how long a connection is kept at all. It is bound as long, whatever becomes of the
	// account meanwhile.
	maxAge = 5 * time.Minute
)

// reader is a connection that is bound as the account that searches.
type reader struct {
	*connection
	file     string // with the password
	revision int    // of the rules of fetching
	bound    time.Time
	expiry   *time.Timer // closes it while it is kept
}

// readers are the connections of a directory that are kept for the next search.
type readers struct {
	mu     sync.Mutex // held while closed is set, and while one is put into idle
	closed bool
	idle   chan *reader
}

func newReaders() *readers { return &readers{idle: make(chan *reader, maxReaders)} }

// asReader calls ask with a connection that is bound as the account that searches. The directory may
// have closed one that was kept; then ask is called a second time.
func (d *Directory) asReader(ctx context.Context, ask func(*connection) error) error {
	for isLast := false; ; isLast = true {
		r, isKept, err := d.takeReader(ctx)
		if err != nil {
			return err
		}
		err = ask(r.connection)
		isBroken := r.isBroken && isAway(err)
		d.putReader(r)
		if !isBroken {
			return err
		}
		d.host.Failed(ctx, r.address)
		if !isKept || isLast || ctx.Err() != nil || r.limits.problem() != nil {
			return err
		}
		d.readers.drain() // they are from the same time
	}
}

// takeReader returns a connection that was kept or is new.
func (d *Directory) takeReader(ctx context.Context) (r *reader, isKept bool, err error) {
	for {
		file, _, err := d.credential()
		if err != nil {
			return nil, false, err
		}
		if err := d.account.refusal(file, d.directories.Now()); err != nil {
			return nil, false, err
		}
		select {
		case r := <-d.readers.idle:
			if d.wake(ctx, r, file) {
				return r, true, nil
			}
			continue
		default:
		}
		select {
		case r := <-d.readers.idle:
			if d.wake(ctx, r, file) {
				return r, true, nil
			}
		case d.account.binding <- struct{}{}:
			if len(d.readers.idle) == 0 {
				r, err := d.openReader(ctx, d.account, netip.Addr{})
				<-d.account.binding
				return r, false, err
			}
			<-d.account.binding
		case <-ctx.Done():
			return nil, false, away(ctx.Err())
		}
	}
}

// wake begins a use of a connection that was kept. It closes one that is not to be used any more.
func (d *Directory) wake(ctx context.Context, r *reader, file string) bool {
	isGood := r.expiry.Stop() && !r.IsClosing() && r.file == file && r.revision == d.directories.Client.Revision() &&
		d.directories.Now().Sub(r.bound).Abs() < maxAge
	if isGood && r.use(ctx, maxBytes) == nil {
		return true
	}
	r.close()
	return false
}

// putReader keeps a connection, if it is good for another use.
func (d *Directory) putReader(r *reader) {
	if !r.rest() || !d.readers.keep(r) {
		r.close()
	}
}

func (rs *readers) keep(r *reader) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return false
	}
	r.expiry = time.AfterFunc(maxIdle, r.close)
	select {
	case rs.idle <- r:
		return true
	default:
		r.expiry.Stop()
		return false
	}
}

// drain closes the connections that are kept.
func (rs *readers) drain() {
	for {
		select {
		case r := <-rs.idle:
			r.expiry.Stop()
			r.close()
		default:
			return
		}
	}
}

// close closes the connections that are kept, and has those that are in use closed after it.
func (rs *readers) close() {
	rs.mu.Lock()
	rs.closed = true
	rs.mu.Unlock()
	rs.drain()
}

// openReader returns a new connection, to another address than except, if that is valid. The caller
// holds binding of the account.
func (d *Directory) openReader(ctx context.Context, account *account, except netip.Addr) (*reader, error) {
	file, password, err := d.credential()
	if err != nil {
		return nil, err
	}
	if err := account.refusal(file, d.directories.Now()); err != nil {
		return nil, err
	}
	revision := d.directories.Client.Revision()
	conn, err := d.open(ctx, maxBytes, except, func(c *connection) error {
		return account.bind(c, d.document.LDAP.BindDN, file, password, d.directories.Now)
	})
	if err != nil {
		return nil, err
	}
	if err := account.refusal(file, d.directories.Now()); err != nil {
		conn.close()
		return nil, err
	}
	return &reader{connection: conn, file: file, revision: revision, bound: d.directories.Now()}, nil
}
