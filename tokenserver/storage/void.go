package storage

import (
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/notbefore"
)

// VoidGrants implements Store.SetNotBefore for stores that embed it, and tells them which grants
// count against a bound. With the zero value no grant is void.
type VoidGrants struct {
	source atomic.Pointer[func() notbefore.Times]
}

// SetNotBefore implements Store.
func (v *VoidGrants) SetNotBefore(times func() notbefore.Times) { v.source.Store(&times) }

// NotBefore returns the present times.
func (v *VoidGrants) NotBefore() notbefore.Times {
	source := v.source.Load()
	if source == nil {
		return notbefore.Times{}
	}
	return (*source)()
}

// Counts reports whether a grant counts against the bounds at now: it is live and not void.
func (v *VoidGrants) Counts(g Grant, now time.Time) bool {
	return g.IsLive(now) && !v.NotBefore().At(now, g.ClientUID, g.UserUID, g.ProviderUID).VoidsAuthorization(g.SignInTime(), g.CreatedAt)
}
