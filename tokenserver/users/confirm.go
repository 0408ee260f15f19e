package users

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver"
	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

var (
	// ErrGone is returned by Directories for a user whom the directory does not have any more, under
	// the filters of the provider.
	ErrGone = errors.New("the directory does not have the user any more")
	// ErrUnconfirmed is returned if it is not known what a directory says of a user. Nothing has ended.
	ErrUnconfirmed = errors.New("the directory of the user cannot be asked")
)

// Directories asks the directories where users sign in with their password.
type Directories interface {
	// Confirm returns what the directory of a provider says now of the user with a subject there. It
	// returns ErrGone if there is no such user any more; after any other error that is not known.
	Confirm(ctx context.Context, provider *registry.IdentityProvider, subject []byte) (Answer, error)
}

// Answer is what a directory says of a user.
type Answer struct {
	// Upstream is what the mapping of the provider reads.
	Upstream map[string]any
	// PasswordChanged is a hash of when the password was changed, also if the directory does not say
	// of this user; empty if the provider has no attribute for it.
	PasswordChanged string
}

const (
	// confirmInterval is how long what a directory has said of a user is good enough to issue tokens.
	confirmInterval = 5 * time.Minute
	// askTimeout bounds the question to a directory, and the write of what it answers.
	askTimeout = 15 * time.Second
)

// Confirm is like ByUID, for a user who is about to get tokens that rest on an earlier sign-in, in which
// the user had the epoch. If the directory where the user signs in was not asked within five minutes, it
// is asked now, once for all requests that wait for it. If it does not have the user any more, if allow
// denies the user, or if the password was changed, all that was issued to the user ends. After
// ErrUnconfirmed nothing has.
//
// A user whose allow was changed since is asked about at once.
func (u *Users) Confirm(ctx context.Context, uid, epoch string) (*registry.User, bool, error) {
	if !strings.HasPrefix(uid, oauth.IdentityPrefix) {
		return u.ByUID(ctx, u.Store, uid, epoch)
	}
	i, err := u.findIdentity(ctx, u.Store, uid)
	if err != nil || i == nil {
		return nil, false, err
	}
	if i.provider.Type == documents.ProviderLDAP && i.epoch() == epoch && (!i.hasPassed() || !u.isConfirmed(i)) {
		if i, err = u.askOnce(ctx, i); err != nil {
			return nil, false, err
		}
	}
	if i == nil || !i.hasPassed() {
		return nil, false, nil
	}
	return i.user(), true, nil
}

func (u *Users) isConfirmed(i *identity) bool {
	last := u.confirmations.get(i.Subject)
	if i.ClaimsAt.After(last) {
		last = i.ClaimsAt
	}
	// It may be in the future, by the clock of another replica.
	return u.Now().Sub(last).Abs() < confirmInterval
}

// askOnce is ask, once for all requests that need it at a time.
func (u *Users) askOnce(ctx context.Context, i *identity) (asked *identity, err error) {
	asking := u.asking.DoChan(i.Subject, func() (any, error) { return u.ask(ctx, i) })
	httpserver.Wait(ctx, func(ctx context.Context) {
		select {
		case answer := <-asking:
			asked, _ = answer.Val.(*identity)
			err = answer.Err
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ErrUnconfirmed, ctx.Err())
		}
	})
	return asked, err
}

// ask asks the directory about a user, and returns what it has recorded of that; nil if the directory
// cannot be asked before the next sign-in. Others wait for it, so it does not end with the request.
func (u *Users) ask(ctx context.Context, i *identity) (*identity, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	subject, err := u.Keys.Open(keys.PurposeUpstreamSubject, i.SealedSubject)
	if err != nil {
		u.Log.WarnContext(ctx, "a user has to sign in again: the key is gone that the subject at the directory is sealed with", "provider", i.ProviderName, "sub", i.Subject)
		return nil, nil
	}
	if u.Directories == nil {
		return nil, fmt.Errorf("%w: this server asks no directories", ErrUnconfirmed)
	}
	asked := u.Now()
	answer, err := u.Directories.Confirm(ctx, i.provider, subject)
	switch {
	case errors.Is(err, ErrGone):
		return u.end(ctx, i, asked, "the directory does not have the user any more")
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	}
	claims, err := u.mapClaims(ctx, i.provider, i.Subject, answer.Upstream)
	if err != nil {
		return u.end(ctx, i, asked, "allow of the identity provider denies the user")
	}
	sealed, err := u.sealSubject(i.provider, subject)
	if err != nil {
		return nil, err
	}
	recorded, err := u.change(ctx, i, asked, func(known storage.Identity) (storage.Identity, error) {
		found := known
		found.Claims, found.ClaimsAt, found.ProviderName = claims, asked, i.provider.Name
		found.AllowHash, found.PasswordChanged, found.SealedSubject = i.provider.Mapping.AllowHash(), answer.PasswordChanged, sealed
		return u.update(ctx, known, found)
	})
	if err == nil {
		u.confirmations.add(i.Subject, asked)
	}
	return recorded, err
}

// end ends all that was issued to a user. The user has not passed allow until the next sign-in.
func (u *Users) end(ctx context.Context, i *identity, asked time.Time, reason string) (*identity, error) {
	return u.change(ctx, i, asked, func(known storage.Identity) (storage.Identity, error) {
		ended := known
		ended.AllowHash = ""
		ended.Endings++
		if asked.After(known.ClaimsAt) {
			ended.ClaimsAt = asked
		}
		updated, err := u.Store.UpdateIdentity(ctx, ended)
		if err == nil {
			u.Log.InfoContext(ctx, "all that was issued to a user has ended: "+reason, "provider", known.ProviderName, "sub", known.Subject)
		}
		return updated, err
	})
}

// change changes the record of a user about whom the directory was asked. It leaves one of which more is
// known since, or that has ended. It returns the record as it is then, nil if there is none.
func (u *Users) change(
	ctx context.Context, i *identity, asked time.Time, write func(known storage.Identity) (storage.Identity, error),
) (*identity, error) {
	for range maxTries {
		known, err := u.Store.GetIdentity(ctx, i.Subject)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("reading the identity of a user: %w", err)
		}
		current := &identity{known, i.provider}
		switch {
		case known.ProviderUID != i.ProviderUID: // what was asked is not about what is issued now
			return nil, nil
		case current.epoch() != i.epoch(), isLater(known.ClaimsAt, asked):
			return current, nil
		}
		written, err := write(known)
		switch {
		case err == nil:
			return &identity{written, i.provider}, nil
		case !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound):
			return nil, fmt.Errorf("recording what the directory says of a user: %w", err)
		}
	}
	return nil, fmt.Errorf("recording what the directory says of a user: %w", storage.ErrConflict)
}

// sealSubject returns the subject of a user at a directory as the record has it; empty for a provider
// that is no directory.
func (u *Users) sealSubject(p *registry.IdentityProvider, subject []byte) (string, error) {
	if p.Type != documents.ProviderLDAP {
		return "", nil
	}
	sealed, err := u.Keys.Seal(keys.PurposeUpstreamSubject, subject)
	if err != nil {
		return "", fmt.Errorf("sealing the subject of a user at the directory: %w", err)
	}
	return sealed, nil
}

// confirmations are when directories were asked about users. The zero value is ready to use. What is
// older than confirmInterval is of no use, and removed.
type confirmations struct {
	mu      sync.Mutex
	at      map[string]time.Time // by subject
	cleaned time.Time
}

func (c *confirmations) add(subject string, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil || asked.Sub(c.cleaned).Abs() >= confirmInterval {
		kept := map[string]time.Time{}
		for other, at := range c.at {
			if asked.Sub(at) < confirmInterval {
				kept[other] = at
			}
		}
		c.at, c.cleaned = kept, asked
	}
	c.at[subject] = asked
}

func (c *confirmations) get(subject string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[subject]
}
