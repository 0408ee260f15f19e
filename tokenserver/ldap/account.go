package ldap

import (
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
	// binding has a value while a connection is made and bound: of several, one is refused.
	binding chan struct{}

	mu          sync.Mutex
	refusedFile string // the file with the password that was refused
	refusedAt   time.Time
	refused     error
}

func newAccount() *account { return &account{binding: make(chan struct{}, 1)} }

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

// refusal returns the Error for the password of a file that was refused lately; otherwise nil.
func (a *account) refusal(file string, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused != nil && a.refusedFile == file && now.Sub(a.refusedAt) < refusedFor {
		return &Error{BindRefused, a.refused}
	}
	return nil
}

// bind binds as the bind account. If that is refused, it returns nil, and refusal says so: no other
// address is asked then. The caller holds binding.
func (a *account) bind(c *connection, dn, file, password string, now func() time.Time) error {
	err := c.Bind(dn, password)
	code, answered := resultCode(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.refused = nil
	case !answered, isUnavailable(code):
		return c.failed(err)
	default:
		a.refused, a.refusedFile, a.refusedAt = fmt.Errorf("the bind account is answered with %s", describe(code)), file, now()
	}
	return nil
}

// isUnavailable reports whether a result means that the directory cannot answer now.
func isUnavailable(code uint16) bool {
	return code == goldap.LDAPResultBusy || code == goldap.LDAPResultUnavailable
}
