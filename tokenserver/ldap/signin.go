package ldap

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

// Form is what a user has typed, and where.
type Form struct {
	Username, Password string
	// Source is the network address that the form came from.
	Source string
	// Browser is the browser, if any user has signed in with it before. DeviceID returns its id if the
	// user with a subject has, otherwise "".
	Browser  throttle.Browser
	DeviceID func(subject []byte) string
	// Admit is called with what the directory says of the user whose password was right. It returns
	// ErrDenied for a user who may not sign in, who is answered and throttled as for a wrong password.
	Admit func(ctx context.Context, e Entry) error
}

// SignIn returns nil if the password is right and Admit has returned nil. Other errors are ErrWrong,
// ErrBusy, a *throttle.RefusedError, an *Error, or that of Admit. None of them comes sooner than a
// second after the call.
func (d *Directory) SignIn(ctx context.Context, f Form) (err error) {
	httpserver.Wait(ctx, func(ctx context.Context) {
		begun := d.directories.Now()
		err = d.signIn(ctx, f)
		d.directories.Metrics.count(d.document.Name, err)
		if err != nil {
			d.sleep(ctx, minFailure-d.directories.Now().Sub(begun))
		}
	})
	return err
}

func (d *Directory) sleep(ctx context.Context, duration time.Duration) {
	sleep := d.directories.Sleep
	if sleep == nil {
		sleep = clock.Sleep
	}
	sleep(ctx, duration)
}

func (d *Directory) signIn(ctx context.Context, f Form) error {
	name, isName := typedName(f.Username)
	if !isName || !maySend(f.Password) {
		return ErrWrong
	}
	attempt := d.guesses.NewAttempt(countedName(name), f.Source, d.directories.Replicas(d.document.LDAP.ThrottleWindow.Duration()))
	if err := attempt.CheckTyped(); err != nil && f.Browser == (throttle.Browser{}) {
		return err
	}
	leave, err := d.signIns.Enter(ctx, attempt.Places(f.Browser)...)
	if err != nil {
		return err
	}
	defer leave()
	filter, err := d.settings.Users.Fill(map[string]string{ldapfilter.Username: name})
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := d.findTyped(asking, ldapfilter.And(filter, d.settings.Account))
	if err != nil {
		return d.note(ctx, err)
	}
	if found != nil {
		attempt.Found(string(found.subject), f.DeviceID(found.subject))
	}
	if err := d.tryPassword(asking, attempt, found, f.Password); err != nil {
		if found == nil && errors.Is(err, ErrWrong) {
			return err // it says nothing of a directory in which no user is found
		}
		return d.note(ctx, err)
	}
	entry, err := d.readEntry(asking, found.Entry)
	if err == nil {
		_ = d.note(ctx, nil)
		err = f.Admit(ctx, entry)
	}
	attempt.End(!errors.Is(err, ErrWrong))
	return d.note(ctx, err)
}

// readEntry returns what the directory says of a user whose password was right.
func (d *Directory) readEntry(ctx context.Context, found *goldap.Entry) (Entry, error) {
	entry, err := d.newEntry(found)
	if err != nil || d.settings.Groups == nil {
		return entry, err
	}
	return entry, d.asReader(ctx, func(conn *connection) error { return d.addGroups(conn, found, entry) })
}

// foundUser is the entry of a user.
type foundUser struct {
	*goldap.Entry
	subject []byte
}

// findTyped returns the entry of the user who typed a username; nil if there is not exactly one.
func (d *Directory) findTyped(ctx context.Context, filter string) (*foundUser, error) {
	var entry *goldap.Entry
	err := d.asReader(ctx, func(conn *connection) (err error) {
		entry, err = d.findUser(conn, filter)
		return err
	})
	if err == nil {
		var subject []byte
		if subject, err = d.subjectOf(entry); err == nil {
			return &foundUser{entry, subject}, nil
		}
	}
	var failed *Error
	if errors.As(err, &failed) {
		return nil, err
	}
	// The page says nothing of it: this is where an administrator sees that a filter or the subject
	// attribute is mistyped.
	d.directories.Log.InfoContext(ctx, "a user is not found in a directory", "provider", d.document.Name, "error", err.Error())
	return nil, nil
}

// tryPassword returns nil if the password of the user is right, and otherwise ErrWrong or why that is
// not known; the attempt has ended then. Without a user, and for one with too many wrong passwords,
// it asks about a name that there is not, so that the answer takes as long.
func (d *Directory) tryPassword(ctx context.Context, attempt *throttle.DirectoryAttempt, found *foundUser, secret string) error {
	dn, err := d.randomDN()
	if err != nil {
		return err
	}
	conn, err := d.open(ctx, maxBytesOfBind, netip.Addr{}, nil)
	if err != nil {
		return err
	}
	defer conn.close()
	mayBind, err := attempt.Begin()
	if err != nil {
		return err
	}
	isUser := found != nil && mayBind
	if isUser {
		dn = found.DN
	}
	err = conn.Bind(dn, secret)
	if err == nil && isUser {
		return nil
	}
	attempt.End(false) // also without an answer: the directory may count the password all the same
	code, answered := resultCode(err)
	switch {
	case err != nil && !answered:
		d.host.Failed(ctx, conn.address)
		return conn.failed(err)
	case answered && isUnavailable(code):
		return away(err)
	case isUser:
		d.directories.Log.InfoContext(ctx, "a directory refuses a user", "provider", d.document.Name, "result", describe(code))
	}
	return ErrWrong
}

// randomDN returns a name that no entry has.
func (d *Directory) randomDN() (string, error) {
	random := make([]byte, 16)
	if _, err := io.ReadFull(d.directories.Random, random); err != nil {
		return "", fmt.Errorf("reading randomness for a name: %w", err)
	}
	return "cn=" + hex.EncodeToString(random) + "," + d.document.LDAP.Users.BaseDN, nil
}
