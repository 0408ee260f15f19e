package ldap

import (
	"context"
	"errors"

	"github.com/oauth-operator/oauth-operator/tokenserver/clock"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// retryInterval is how often Run tries the directories that are away.
const retryInterval = refusedFor / 5

// Problems returns the directories that are away of those that are served, and forgets all others.
// Directories are asked when a user signs in, so one that was never asked is not away.
func (d *Directories) Problems(served []documents.IdentityProvider) []fetch.Problem {
	byUID := make(map[string]*Directory, len(served))
	var problems []fetch.Problem
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, document := range served {
		directory := d.byUID[document.UID]
		if directory == nil {
			continue
		}
		byUID[document.UID] = directory
		// What was found out by other settings, or by other rules of fetching, may not be so any more.
		digest, err := document.Digest()
		directory.mu.Lock()
		if directory.problem != nil && err == nil && digest == directory.digest && directory.revision == d.Client.Revision() {
			problems = append(problems, newProblem(document.UID, directory.problem))
		}
		directory.mu.Unlock()
	}
	for uid, directory := range d.byUID {
		if byUID[uid] == nil {
			directory.readers.close()
		}
	}
	d.byUID = byUID
	return problems
}

func newProblem(uid string, err error) fetch.Problem {
	var failed *Error
	if errors.As(err, &failed) && failed.Reason != Away {
		return fetch.NewProblem(uid, err, string(failed.Reason))
	}
	return fetch.NewProblem(uid, err, "")
}

// note keeps whether the directory can be asked, and returns err. What is about one user or about this
// process says nothing about the directory, nor does a browser that does not wait for the answer.
func (d *Directory) note(ctx context.Context, err error) error {
	var failed *Error
	var problem error
	if errors.As(err, &failed) {
		if failed.Reason == NoCredential || failed.Reason == Incomplete {
			return err
		}
		problem = err
	} else if errors.Is(err, ErrBusy) {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	d.mu.Lock()
	changed := (problem == nil) != (d.problem == nil) || problem != nil && newProblem("", problem) != newProblem("", d.problem)
	d.problem, d.revision = problem, d.directories.Client.Revision()
	d.mu.Unlock()
	if changed && d.directories.OnChange != nil {
		d.directories.OnChange()
	}
	return err
}

// Run tries the directories that are away again, until ctx ends.
func (d *Directories) Run(ctx context.Context) {
	for clock.Sleep(ctx, retryInterval) {
		for _, directory := range d.away() {
			directory.try(ctx)
		}
	}
}

func (d *Directories) away() (away []*Directory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, directory := range d.byUID {
		directory.mu.Lock()
		if directory.problem != nil {
			away = append(away, directory)
		}
		directory.mu.Unlock()
	}
	return away
}

// try asks the directory for any user.
func (d *Directory) try(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = d.note(ctx, d.asReader(ctx, d.seesUsers)) // it is kept
}
