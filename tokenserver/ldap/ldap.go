// Package ldap signs users in with their password at a directory (RFC 4511), and asks the directory
// about them again while they are signed in.
//
//	ldap.go        Directories and Directory: one for each identity provider of type LDAP
//	signin.go      SignIn: searching a user, and binding with the password
//	typed.go       which passwords and usernames are never sent
//	confirm.go     Confirm: asking again
//	search.go      searching users and groups
//	entry.go       what an entry says, as an identity provider's mapping reads it
//	connection.go  connections, with TLS
//	limits.go      how much may come over one
//	account.go     the account that searches
//	readers.go     the connections that are bound as it, which are kept
//	queue.go       how many ask a directory at once
//	away.go        which directories are away, and why
//	errors.go      why a sign-in failed
//	metrics.go     how many sign-ins succeed and fail
//
// A password is right if a bind as the entry that was found has result 0, and for no other reason.
// Referrals are not followed and aliases not dereferenced (RFC 4511 sections 4.1.10 and 4.5.1.3), so
// that no other server or entry answers for a user. All connections go through package fetch, under
// its rules about addresses. Errors quote nothing that a user typed or a directory answered.
package ldap

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldapfilter"
	"github.com/oauth-operator/oauth-operator/tokenserver/places"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

const (
	// timeout bounds what a directory does for one sign-in, from the resolution of its name on.
	timeout = 5 * time.Second
	// minFailure is how long a sign-in that fails takes at least. Without it the time would tell
	// whether there is such a user.
	minFailure = time.Second
)

// Directories are the directories of a server. All fields but Metrics, Sleep and OnChange are
// required. Safe for concurrent use.
type Directories struct {
	Client *fetch.Client
	// Password returns the password of the bind account in a file; false if this process has not read
	// that file.
	Password func(file string) (string, bool)
	Throttle *throttle.Throttle
	// Replicas returns how many replicas served at most within a time. The failures of ThrottleFailures
	// are divided among those of the window: one that is left over does not have those of the others.
	Replicas func(within time.Duration) int
	Now      func() time.Time
	Random   io.Reader
	Log      *slog.Logger
	Metrics  *Metrics
	// Sleep waits for a time or the end of the context. Default: clock.Sleep.
	Sleep func(context.Context, time.Duration) bool
	// OnChange is called when a directory is away, or is there again.
	OnChange func()

	mu    sync.Mutex
	byUID map[string]*Directory
}

// Directory is one directory, as the document of its identity provider describes it.
type Directory struct {
	directories *Directories
	document    documents.IdentityProvider
	digest      string // of the document
	settings    *ldapfilter.Provider
	anyUser     string // the filter that finds all users
	host        *fetch.Host
	account     *account
	elsewhere   *account // as it is known to the addresses that are asked second
	readers     *readers
	guesses     *throttle.Directory

	signIns, confirmations *places.Queue

	mu       sync.Mutex
	problem  error
	revision int // of the rules of fetching when the problem was found
}

// Of returns the directory with a document, whose Type must be LDAP. As long as the document stays
// the same, so does the directory; what counts wrong passwords outlives a changed document, and so
// does the memory of a bind account that was refused, if the document still names it.
func (d *Directories) Of(document documents.IdentityProvider) (*Directory, error) {
	if document.LDAP == nil {
		return nil, errors.New("the provider " + document.Name + " is no directory")
	}
	digest, err := document.Digest()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.byUID[document.UID]
	if before != nil && before.digest == digest {
		return before, nil
	}
	directory := &Directory{directories: d, document: document, digest: digest, account: newAccount(), elsewhere: newAccount(), readers: newReaders()}
	if directory.settings, err = ldapfilter.NewProvider(*document.LDAP, document.SubjectAttribute); err != nil {
		return nil, fmt.Errorf("reading the settings of the provider %s: %w", document.Name, err)
	}
	others, err := directory.settings.Users.WithoutUsername().Fill(nil)
	if err != nil {
		return nil, fmt.Errorf("reading the settings of the provider %s: %w", document.Name, err)
	}
	directory.anyUser = ldapfilter.And(others, directory.settings.Account)
	directory.host = &fetch.Host{Client: d.Client, Name: directory.settings.Host, Port: directory.settings.Port}
	if document.CABundle != "" {
		directory.host.Roots = x509.NewCertPool()
		if !directory.host.Roots.AppendCertsFromPEM([]byte(document.CABundle)) {
			return nil, errors.New("the caBundle of the provider " + document.Name + " has no certificate")
		}
	}
	limits := throttle.DirectoryLimits{Failures: document.LDAP.ThrottleFailures, Window: document.LDAP.ThrottleWindow.Duration()}
	if before != nil {
		directory.signIns, directory.confirmations = before.signIns, before.confirmations
		if before.document.LDAP.URL == document.LDAP.URL && before.document.LDAP.BindDN == document.LDAP.BindDN {
			directory.account, directory.elsewhere = before.account, before.elsewhere
		}
		directory.guesses = before.guesses.WithLimits(limits)
		before.readers.close()
	} else {
		directory.guesses = d.Throttle.NewDirectory(limits)
		directory.signIns, directory.confirmations = newSignInQueue(), newConfirmationQueue()
	}
	if d.byUID == nil {
		d.byUID = map[string]*Directory{}
	}
	d.byUID[document.UID] = directory
	return directory, nil
}
