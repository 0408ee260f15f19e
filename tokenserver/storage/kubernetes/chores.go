package kubernetes

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

const (
	// tidyAfter is how soon a chore that failed is done again.
	tidyAfter = time.Second
	// deference is how long a replica that does not sweep waits before it does a chore: the one that sweeps has mostly done it then.
	deference = 300 * time.Millisecond
)

// chores is what is left to do after a deletion by hand. Every replica sees the deletion and does what follows from it, so that none of them
// is needed; doing it twice does no harm.
type chores struct {
	mu   sync.Mutex
	ends map[string]sentence  // by id of the grant
	dead map[string]time.Time // names of grants to be marked as dead, and until when
	wake chan struct{}
}

// sentence is why a grant is to end.
type sentence struct {
	pair pair
	// consent is the UID of the one that the grant rests on.
	consent string
	// certain: the consent was seen to be deleted. Otherwise it is looked for first.
	certain bool
}

func newChores() *chores {
	return &chores{ends: map[string]sentence{}, dead: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

// bury a grant that was deleted early: replicas that start later know by a mark that it was there.
func (c *chores) bury(name string, until time.Time) {
	c.mu.Lock()
	c.dead[name] = until
	c.mu.Unlock()
	c.rouse()
}

func (c *chores) end(id string, s sentence) {
	c.mu.Lock()
	s.certain = s.certain || c.ends[id].certain
	c.ends[id] = s
	c.mu.Unlock()
	c.rouse()
}

func (c *chores) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take all there is to do.
func (c *chores) take() (ends map[string]sentence, dead map[string]time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ends, dead = c.ends, c.dead
	c.ends, c.dead = map[string]sentence{}, map[string]time.Time{}
	return ends, dead
}

// withdrawn ends all grants of a pair but those that rest on another consent, because the one with
// this UID was deleted.
func (s *Store) withdrawn(p pair, uid types.UID) {
	for _, g := range s.grants.liveOf(p, s.config.Now(), "") {
		if g.ConsentUID == "" || g.ConsentUID == string(uid) {
			s.chores.end(g.ID, sentence{p, g.ConsentUID, true})
		}
	}
}

// checkConsent has a grant looked at that rests on a consent which is not there. The consent may be on its way; or it was deleted, perhaps while
// no token server ran.
func (s *Store) checkConsent(g storage.Grant) {
	p := pair{g.UserUID, g.ClientUID}
	if g.Consented && !g.IsEnded() && s.synced() && !s.consents.has(p, types.UID(g.ConsentUID)) {
		s.chores.end(g.ID, sentence{p, g.ConsentUID, false})
	}
}

// checkConsents does so for all grants.
func (s *Store) checkConsents() {
	if !s.synced() {
		return
	}
	for _, g := range s.grants.consented() {
		s.checkConsent(g)
	}
}

// doChores until ctx ends.
func (s *Store) doChores(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.chores.wake:
		}
		if !s.leads.Load() && !pause(ctx, deference) {
			return
		}
		ends, dead := s.chores.take()
		failed := s.endUnconsented(ctx, ends)
		for name, until := range dead {
			if err := s.SetMark(ctx, storage.Mark{Kind: markGrant, ID: name, ExpiresAt: until}); err != nil {
				failed = err
				s.chores.bury(name, until)
			}
		}
		if failed != nil {
			s.config.Log.WarnContext(ctx, "cannot do yet what follows from a deletion", "error", failed.Error())
			if !pause(ctx, tidyAfter) {
				return
			}
		}
	}
}

// endUnconsented ends grants, and puts back those that it cannot end now.
func (s *Store) endUnconsented(ctx context.Context, ends map[string]sentence) (failed error) {
	found := map[pair]string{}
	for id, why := range ends {
		if g, ok := s.grants.get(s.grantName(id)); ok && g.IsEnded() {
			continue
		}
		err := s.endOne(ctx, id, why, found)
		if err != nil {
			failed = err
			s.chores.end(id, why)
		}
	}
	return failed
}

// endOne ends a grant, unless its consent stands after all. The UIDs of the consents that were read
// go into found, empty for none.
func (s *Store) endOne(ctx context.Context, id string, why sentence, found map[pair]string) error {
	if !why.certain && why.consent != "" {
		uid, known := found[why.pair]
		if !known {
			consent, err := s.GetConsent(ctx, why.pair.user, why.pair.client)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			uid = consent.UID
			found[why.pair] = uid
		}
		if uid == why.consent {
			return nil
		}
	}
	return s.end(ctx, id, storage.EndConsentWithdrawn)
}
