package controllers

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// clientUse is what a server's status says of the clients that it accepts: how many there are, and
// how many authenticate by which method and list which legacy grant.
type clientUse struct {
	clients      int32
	authMethods  []v1alpha1.AuthMethodUse
	legacyGrants []v1alpha1.LegacyGrantUse
}

// useIn returns the clientUse that a status says.
func useIn(status *v1alpha1.AuthorizationServerStatus) clientUse {
	return clientUse{clients: status.Clients, authMethods: status.AuthMethods, legacyGrants: status.LegacyGrants}
}

func (u clientUse) equals(other clientUse) bool {
	return u.clients == other.clients && equality.Semantic.DeepEqual(u.authMethods, other.authMethods) &&
		equality.Semantic.DeepEqual(u.legacyGrants, other.legacyGrants)
}

// countedUse is what was counted last, and whether a client has changed since so that another count
// may differ: a list of a hundred thousand clients takes a hundred megabytes.
type countedUse struct {
	mu      sync.Mutex
	byName  map[client.ObjectKey]clientUse
	changed map[client.ObjectKey]bool
}

func newCountedUse() *countedUse {
	return &countedUse{byName: map[client.ObjectKey]clientUse{}, changed: map[client.ObjectKey]bool{}}
}

// change says that a client of a server has changed.
func (c *countedUse) change(server client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed[server] = true
}

// current returns what was counted last, if no client has changed since. Else the caller counts, and
// what changes from now on is another change.
func (c *countedUse) current(server client.ObjectKey) (use clientUse, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	use, ok = c.byName[server]
	ok = ok && !c.changed[server]
	delete(c.changed, server)
	return use, ok
}

func (c *countedUse) set(server client.ObjectKey, use clientUse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byName[server] = use
}

func (c *countedUse) forget(server client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, server)
	delete(c.changed, server)
}

// countClients counts the accepted clients of a server, unless none has changed since it did so last.
func (r *serverReconciler) countClients(ctx context.Context, server *v1alpha1.AuthorizationServer) (use clientUse, err error) {
	name := client.ObjectKeyFromObject(server)
	if use, ok := r.counted.current(name); ok {
		return use, nil
	}
	var list v1alpha1.OAuthClientList
	if err := r.List(ctx, &list, client.MatchingFields{indexServer: name.String()}, client.UnsafeDisableDeepCopy); err != nil {
		r.counted.change(name)
		return use, err
	}
	for i := range list.Items {
		if c := &list.Items[i]; isAccepted(c) {
			use.add(c)
		}
	}
	slices.SortFunc(use.authMethods, func(a, b v1alpha1.AuthMethodUse) int { return strings.Compare(a.Method, b.Method) })
	slices.SortFunc(use.legacyGrants, func(a, b v1alpha1.LegacyGrantUse) int { return strings.Compare(a.GrantType, b.GrantType) })
	r.counted.set(name, use)
	return use, nil
}

// add counts a client.
func (u *clientUse) add(c *v1alpha1.OAuthClient) {
	u.clients++
	method, since := authMethodOf(c)
	i := slices.IndexFunc(u.authMethods, func(use v1alpha1.AuthMethodUse) bool { return use.Method == method })
	if i < 0 {
		i, u.authMethods = len(u.authMethods), append(u.authMethods, v1alpha1.AuthMethodUse{Method: method})
	}
	use := &u.authMethods[i]
	use.Clients++
	if use.Since == nil || since.Before(use.Since) {
		use.Since = &since
	}
	for _, grant := range compile.LegacyGrants(c) {
		i := slices.IndexFunc(u.legacyGrants, func(use v1alpha1.LegacyGrantUse) bool { return use.GrantType == grant })
		if i < 0 {
			u.legacyGrants = append(u.legacyGrants, v1alpha1.LegacyGrantUse{GrantType: grant, Clients: 1, Until: c.Status.LegacyUntil.DeepCopy()})
			continue
		}
		use := &u.legacyGrants[i]
		use.Clients++
		switch until := c.Status.LegacyUntil; {
		case until == nil || use.Until == nil: // it does not end for all
			use.Until = nil
		case use.Until.Before(until):
			use.Until = until.DeepCopy()
		}
	}
}

// authMethodOf returns how a client authenticates, and since when.
func authMethodOf(c *v1alpha1.OAuthClient) (method string, since metav1.Time) {
	if known := c.Status.Authentication; known != nil {
		return known.Method, known.Since
	}
	return string(c.Spec.TokenEndpointAuthMethod), c.CreationTimestamp
}

// differInUse reports whether a server counts a client otherwise than before.
func differInUse(before, after *v1alpha1.OAuthClient) bool {
	if !isAccepted(before) && !isAccepted(after) {
		return false
	}
	return isAccepted(before) != isAccepted(after) ||
		before.Spec.TokenEndpointAuthMethod != after.Spec.TokenEndpointAuthMethod ||
		!equality.Semantic.DeepEqual(before.Status.Authentication, after.Status.Authentication) ||
		!before.Status.LegacyUntil.Equal(after.Status.LegacyUntil) || !reflect.DeepEqual(compile.LegacyGrants(before), compile.LegacyGrants(after))
}

// updateUse counts the clients for the status, unless what that says of them was changed less than
// countInterval ago.
func (r *serverReconciler) updateUse(ctx context.Context, s *serverPass) error {
	name, now := client.ObjectKeyFromObject(s.server), r.now()
	if last, ok := r.countWritten.Load(name); ok {
		if due := last.(time.Time).Add(r.countInterval); now.Before(due) {
			s.requeueAt = earliest(s.requeueAt, due)
			return nil
		}
	}
	counted, err := r.countClients(ctx, s.server)
	if err == nil && !counted.equals(s.use) {
		s.use = counted
		r.countWritten.Store(name, now)
	}
	return err
}
