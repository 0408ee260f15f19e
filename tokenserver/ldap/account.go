package ldap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// refusedFor is how long a bind account that was refused is not tried again with the same password. A
// directory may lock it after some wrong ones, and it would be tried at every sign-in.
const refusedFor = 5 * time.Minute

// account is the bind account of a directory, as far as it is known.
type account struct {
	mu          sync.Mutex // held while a bind is under way: of several, one is refused
	refusedFile string     // the file with the password that was refused
	refusedAt   time.Time
	refusal     error
}

// openAsReader returns a connection that is bound as the bind account.
func (d *Directory) openAsReader(ctx context.Context) (*connection, error) {
	file, password, err := d.credential()
	if err != nil {
		return nil, err
	}
	var refused error
	conn, err := d.open(ctx, func(c *connection) error {
		var failed error
		refused, failed = d.account.bind(c, d.document.LDAP.BindDN, file, password, d.directories.Now)
		return failed
	})
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		conn.close()
		return nil, &Error{BindRefused, refused}
	}
	return conn, nil
}

// credential returns the password of the bind account and the file that it is from: the present one,
// or the one before, if this process has not read the present one yet.
func (d *Directory) credential() (file, password string, err error) {
	for _, file := range d.document.Credentials {
		if password, ok := d.directories.Password(file); ok && password != "" {
			return file, password, nil
		}
	}
	return "", "", &Error{NoCredential, errors.New("this process has not read the bind password yet")}
}

// bind binds as the bind account, unless its password was refused lately. If it is refused, no other
// address is asked; failed is for an address that does not answer.
func (a *account) bind(c *connection, dn, file, password string, now func() time.Time) (refused, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refusal != nil && a.refusedFile == file && now().Sub(a.refusedAt) < refusedFor {
		return a.refusal, nil
	}
	err := c.Bind(dn, password)
	code, answered := resultCode(err)
	switch {
	case err == nil:
		a.refusal = nil
		return nil, nil
	case !answered, isUnavailable(code):
		return nil, err
	}
	a.refusal = fmt.Errorf("the bind account is answered with %s", describe(code))
	a.refusedFile, a.refusedAt = file, now()
	return a.refusal, nil
}

// isUnavailable reports whether a result means that the directory cannot answer now.
func isUnavailable(code uint16) bool {
	return code == goldap.LDAPResultBusy || code == goldap.LDAPResultUnavailable
}
