package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// gatherer reads what explain has to know, and no more: a caller who may read less is told of the rights
// that would have mattered.
type gatherer struct {
	cluster  *cluster.Cluster
	manifest manifest
	now      time.Time
	missing  []cluster.MissingRight
}

// foundClient is a client to explain.
type foundClient struct {
	client    *v1alpha1.OAuthClient
	applied   bool
	unchecked string // explain.Objects
}

// clients returns the clients of the manifest, or the one of the cluster if there is no manifest.
// With a name it is that one alone.
func (g *gatherer) clients(ctx context.Context, namespace, name string) ([]foundClient, error) {
	if !g.manifest.given {
		c := &v1alpha1.OAuthClient{}
		if err := g.cluster.Get(ctx, c, namespace, name); err != nil {
			return nil, err
		}
		return []foundClient{{client: c, applied: true}}, nil
	}
	var found []foundClient
	for _, c := range g.manifest.clients {
		if name != "" && c.Name != name {
			continue
		}
		unchecked, err := g.checkManifest(ctx, c)
		if err != nil {
			return nil, err
		}
		found = append(found, foundClient{client: c, unchecked: unchecked})
	}
	if len(found) == 0 {
		return nil, errors.New("the manifest has no such OAuthClient")
	}
	return found, nil
}

// checkManifest has the API server say whether it would admit the client, without storing it.
// Unchecked is why it could not; a right that the caller does not have is noted.
func (g *gatherer) checkManifest(ctx context.Context, c *v1alpha1.OAuthClient) (unchecked string, err error) {
	err = g.cluster.DryRun(ctx, c)
	switch {
	case g.note(err):
		return "you may not apply it", nil
	case errors.Is(err, cluster.ErrNotFound):
		return fmt.Sprintf("there is no namespace %q yet", c.Namespace), nil
	}
	return "", err
}

// note notes a missing right, and reports whether the error is one.
func (g *gatherer) note(err error) bool {
	var missing *cluster.MissingRight
	if !errors.As(err, &missing) {
		return false
	}
	if !slices.Contains(g.missing, *missing) {
		g.missing = append(g.missing, *missing)
	}
	return true
}

// takeMissing returns what was noted since the last call.
func (g *gatherer) takeMissing() []cluster.MissingRight {
	missing := g.missing
	g.missing = nil
	return missing
}

// gather reads what decides about a client.
func (g *gatherer) gather(ctx context.Context, found foundClient, query explain.Query) (explain.Objects, error) {
	o := explain.Objects{
		Client: found.client, Applied: found.applied, Unchecked: found.unchecked, Now: g.now,
		Namespaces: map[string]map[string]string{},
	}
	if err := g.readServer(ctx, &o); err != nil {
		return o, err
	}
	if now, err := g.cluster.Now(); err == nil {
		o.Now = now // the caller's clock decides only where the API server has told no time
	}
	if !found.applied {
		if err := g.readClientIDOwner(ctx, &o); err != nil {
			return o, err
		}
		if err := g.readNamed(ctx, &o); err != nil {
			return o, err
		}
	}
	if err := g.readResourceServers(ctx, &o, query); err != nil {
		return o, err
	}
	if err := g.readIdentityProviders(ctx, &o); err != nil {
		return o, err
	}
	return o, g.readNamespaces(ctx, &o)
}

// readIdentityProviders reads those of the client's server, if users sign in to the client.
func (g *gatherer) readIdentityProviders(ctx context.Context, o *explain.Objects) error {
	if o.Server == nil || !explain.SignsUsersIn(o.Client) {
		return nil
	}
	var list v1alpha1.IdentityProviderList
	err := g.cluster.List(ctx, &list, o.Server.Namespace)
	if err != nil && !g.note(err) {
		return err
	}
	o.AllIdentityProviders = err == nil
	for _, p := range overlay(list.Items, g.manifest.providers) {
		if p.Namespace == o.Server.Namespace && p.Spec.ServerRef.Name == o.Server.Name {
			o.IdentityProviders = append(o.IdentityProviders, p)
		}
	}
	return nil
}

func (g *gatherer) readServer(ctx context.Context, o *explain.Objects) error {
	ref := o.Client.Spec.ServerRef
	if ref.Namespace == "" {
		ref.Namespace = o.Client.Namespace
	}
	for _, server := range g.manifest.servers {
		if server.Namespace == ref.Namespace && server.Name == ref.Name {
			o.Server = server
			return nil
		}
	}
	server := &v1alpha1.AuthorizationServer{}
	err := g.cluster.Get(ctx, server, ref.Namespace, ref.Name)
	switch {
	case err == nil:
		o.Server = server
	case errors.Is(err, cluster.ErrNotFound):
		o.ServerMissing = true
	case !g.note(err):
		return err
	}
	return nil
}

// readClientIDOwner looks for another client of the server that has the client id. Without the right
// to list all, it looks in the client's namespace: ids that begin with its name and a dot are rarely
// elsewhere.
func (g *gatherer) readClientIDOwner(ctx context.Context, o *explain.Objects) error {
	var list v1alpha1.OAuthClientList
	err := g.cluster.List(ctx, &list, "")
	if errors.As(err, new(*cluster.MissingRight)) {
		if !strings.HasPrefix(compile.ClientID(o.Client), o.Client.Namespace+".") {
			g.note(err)
		}
		err = g.cluster.List(ctx, &list, o.Client.Namespace)
	}
	if err != nil && !errors.As(err, new(*cluster.MissingRight)) {
		return err
	}
	for i := range list.Items {
		other := &list.Items[i]
		same := other.Namespace == o.Client.Namespace && other.Name == o.Client.Name
		if !same && serverKey(other) == serverKey(o.Client) && other.Status.ClientID == compile.ClientID(o.Client) {
			o.ClientIDTakenBy = "OAuthClient " + other.Namespace + "/" + other.Name
		}
	}
	return nil
}

// readResourceServers reads the ResourceServers of the client's server, if one of its scopes is
// theirs. Without the right to list all, it lists those of the namespaces in which they are most
// likely.
func (g *gatherer) readResourceServers(ctx context.Context, o *explain.Objects, query explain.Query) error {
	o.AllResourceServers = true
	scopes := slices.DeleteFunc(append(slices.Clone(o.Client.Spec.Scopes), query.Scopes...), oauth.IsBuiltInScope)
	if len(scopes) == 0 {
		return nil
	}
	items, err := g.listResourceServers(ctx, "")
	if missing := (*cluster.MissingRight)(nil); errors.As(err, &missing) {
		o.AllResourceServers = false
		for _, namespace := range slices.Compact([]string{o.Client.Namespace, serverKey(o.Client).Namespace}) {
			more, err := g.listResourceServers(ctx, namespace)
			if err != nil && !errors.As(err, new(*cluster.MissingRight)) {
				return err
			}
			items = append(items, more...)
		}
		if !declareAll(items, scopes) {
			g.note(err)
		}
	} else if err != nil {
		return err
	}
	for _, rs := range overlay(items, g.manifest.resourceServers) {
		if serverOfAPI(&rs) == serverKey(o.Client) {
			o.ResourceServers = append(o.ResourceServers, rs)
		}
	}
	return nil
}

func (g *gatherer) listResourceServers(ctx context.Context, namespace string) ([]v1alpha1.ResourceServer, error) {
	var list v1alpha1.ResourceServerList
	err := g.cluster.List(ctx, &list, namespace)
	return list.Items, err
}

// declareAll reports whether ResourceServers declare all of the scopes.
func declareAll(items []v1alpha1.ResourceServer, scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(scope string) bool {
		return !slices.ContainsFunc(items, func(rs v1alpha1.ResourceServer) bool {
			return slices.ContainsFunc(rs.Spec.Scopes, func(s v1alpha1.ResourceScope) bool { return s.Name == scope })
		})
	})
}

// readNamespaces reads the labels of the namespaces that rules look at.
func (g *gatherer) readNamespaces(ctx context.Context, o *explain.Objects) error {
	wanted := map[string]bool{}
	for i := range o.ResourceServers {
		rs := &o.ResourceServers[i]
		wanted[o.Client.Namespace] = wanted[o.Client.Namespace] || slices.ContainsFunc(rs.Spec.AllowedClients,
			func(r v1alpha1.ResourceClientRule) bool { return selects(r.Namespaces) })
	}
	if o.Server != nil {
		wanted[o.Client.Namespace] = wanted[o.Client.Namespace] || slices.ContainsFunc(o.Server.Spec.AllowedClients,
			func(r v1alpha1.ClientRule) bool { return selects(r.Namespaces) })
		isSelecting := func(r v1alpha1.ResourceServerRule) bool { return selects(r.Namespaces) }
		if slices.ContainsFunc(o.Server.Spec.AllowedResourceServers, isSelecting) {
			for i := range o.ResourceServers {
				wanted[o.ResourceServers[i].Namespace] = true
			}
		}
	}
	for name, isWanted := range wanted {
		if !isWanted {
			continue
		}
		if labels, ok := g.manifest.namespaces[name]; ok {
			o.Namespaces[name] = labels
			continue
		}
		var namespace corev1.Namespace
		err := g.cluster.Get(ctx, &namespace, "", name)
		switch {
		case err == nil:
			o.Namespaces[name] = namespace.Labels
		case errors.Is(err, cluster.ErrNotFound):
			return fmt.Errorf("%w: create it, or have it in the manifest", err)
		case !g.note(err):
			return err
		}
	}
	return nil
}

func selects(n *v1alpha1.RuleNamespaces) bool {
	return n != nil && n.From == v1alpha1.NamespacesSelector
}

func serverKey(c *v1alpha1.OAuthClient) client.ObjectKey { return keyOf(c.Spec.ServerRef, c.Namespace) }

func serverOfAPI(rs *v1alpha1.ResourceServer) client.ObjectKey {
	return keyOf(rs.Spec.ServerRef, rs.Namespace)
}

func keyOf(ref v1alpha1.ServerReference, own string) client.ObjectKey {
	if ref.Namespace != "" {
		own = ref.Namespace
	}
	return client.ObjectKey{Namespace: own, Name: ref.Name}
}
