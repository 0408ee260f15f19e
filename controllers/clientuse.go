package controllers

import (
	"context"
	"reflect"
	"slices"
	"strings"
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

// countClients counts the accepted clients of a server. It reads the cache without copying, since
// there may be ten thousand.
func (r *serverReconciler) countClients(ctx context.Context, server *v1alpha1.AuthorizationServer) (clientUse, error) {
	var list v1alpha1.OAuthClientList
	err := r.List(ctx, &list, client.MatchingFields{indexServer: client.ObjectKeyFromObject(server).String()}, client.UnsafeDisableDeepCopy)
	var use clientUse
	for i := range list.Items {
		if c := &list.Items[i]; isAccepted(c) {
			use.add(c)
		}
	}
	slices.SortFunc(use.authMethods, func(a, b v1alpha1.AuthMethodUse) int { return strings.Compare(a.Method, b.Method) })
	slices.SortFunc(use.legacyGrants, func(a, b v1alpha1.LegacyGrantUse) int { return strings.Compare(a.GrantType, b.GrantType) })
	return use, err
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
	return isAccepted(before) != isAccepted(after) || !equality.Semantic.DeepEqual(before.Status.Authentication, after.Status.Authentication) ||
		!before.Status.LegacyUntil.Equal(after.Status.LegacyUntil) || !reflect.DeepEqual(compile.LegacyGrants(before), compile.LegacyGrants(after))
}

// limitUseChanges returns what the status says of the clients: what was counted, or what it says
// already if that was changed less than countInterval ago.
func (r *serverReconciler) limitUseChanges(s *serverPass, counted clientUse) clientUse {
	name, now := client.ObjectKeyFromObject(s.server), r.now()
	before := useIn(&s.server.Status)
	if counted.equals(before) {
		return before
	}
	if last, ok := r.countWritten.Load(name); ok {
		if due := last.(time.Time).Add(r.countInterval); now.Before(due) {
			s.requeueAt = earliest(s.requeueAt, due)
			return before
		}
	}
	r.countWritten.Store(name, now)
	return counted
}
