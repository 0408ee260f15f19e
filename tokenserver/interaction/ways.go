package interaction

import (
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
)

// Way is a way for a user to sign in.
type Way struct {
	// Provider is the identity provider; nil for the OAuthUsers, who have passwords here.
	Provider *registry.IdentityProvider
}

// UID returns the UID of the identity provider, or documents.LocalProvider, which is none.
func (w Way) UID() string {
	if w.Provider == nil {
		return documents.LocalProvider
	}
	return w.Provider.UID
}

// Name returns the name of the identity provider, or documents.LocalProvider, which is none.
func (w Way) Name() string {
	if w.Provider == nil {
		return documents.LocalProvider
	}
	return w.Provider.Name
}

// Departs reports whether the browser has to go to the identity provider. Otherwise the user types a
// password here.
func (w Way) Departs() bool { return w.Provider != nil && w.Provider.Type == documents.ProviderOIDC }

// Ways are the ways for users to sign in to a client.
type Ways []Way

// Ways returns the ways to sign in to the client of a flow: the identity providers by their names,
// then the OAuthUsers. A provider that is suspended or has a mistake is no way.
func (s *Flows) Ways(f *ResolvedFlow) Ways {
	var ways Ways
	for _, p := range s.Registry.IdentityProviders() {
		if p.IsInService() && f.Client.AllowsProvider(p.Name, p.AllClients) {
			ways = append(ways, Way{p})
		}
	}
	if f.Client.AllowsProvider(documents.LocalProvider, false) {
		ways = append(ways, Way{})
	}
	return ways
}

// Fitting returns the ways that the flow is not too large for.
func (ways Ways) Fitting(s *Flows, f *ResolvedFlow) Ways {
	if s.FitsInDeparture(f.Flow) {
		return ways
	}
	return slices.DeleteFunc(slices.Clone(ways), Way.Departs)
}

// ByName returns the way with a name; false if there is none.
func (ways Ways) ByName(name string) (Way, bool) {
	return ways.find(func(w Way) bool { return w.Name() == name })
}

// ByUID returns the way with a UID; false if there is none.
func (ways Ways) ByUID(uid string) (Way, bool) {
	return ways.find(func(w Way) bool { return w.UID() == uid })
}

func (ways Ways) find(is func(Way) bool) (Way, bool) {
	if i := slices.IndexFunc(ways, is); i >= 0 {
		return ways[i], true
	}
	return Way{}, false
}
