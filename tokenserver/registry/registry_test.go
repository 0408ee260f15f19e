package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

const issuer = "https://auth.example.com"

func server() documents.Server {
	return documents.Server{
		UID: "server", Namespace: "identity", Name: "main", Issuer: issuer, AccessTokenLifetime: 300, Algorithms: []string{"ES256", "RS256"},
		AllowedClients: []documents.ClientRule{{
			Name:       "shop",
			Namespaces: documents.Namespaces{Selector: &documents.Selector{MatchLabels: map[string]string{"team": "shop"}}},
			GrantTypes: []string{"authorization_code", "client_credentials"}, Scopes: []string{"*"}, RedirectHosts: []string{"*"}, Consent: []string{"Required"},
		}},
		AllowedResourceServers: []documents.ResourceServerRule{{
			Name: "all", Namespaces: documents.Namespaces{All: true}, Identifiers: []string{"https://*.example.com"}, Scopes: []string{"*"},
		}},
	}
}

func namespace(name string, labels ...string) documents.Namespace {
	n := documents.Namespace{Name: name}
	if len(labels) == 2 {
		n.Labels = map[string]string{labels[0]: labels[1]}
	}
	return n
}

func client() documents.Client {
	return documents.Client{
		UID: "web", Namespace: "shop", Name: "web", ID: "shop.web", GrantTypes: []string{"authorization_code"}, AuthMethod: "client_secret_basic",
		RedirectURIs: []string{"https://shop.example.com/cb"}, PKCE: "Required", Consent: "Required", IDTokenAlg: "RS256",
		Scopes: []string{"openid", "email", "orders:read", "orders:write", "stock:read", "unknown:scope", "offline_access"},
	}
}

func orders() documents.ResourceServer {
	return documents.ResourceServer{
		UID: "orders", Namespace: "orders", Name: "api", Identifier: "https://orders.example.com",
		Scopes:               []documents.Scope{{Name: "orders:read", Description: "See your orders"}, {Name: "orders:write", Description: "Change your orders"}},
		AllowedClients:       []documents.ResourceClientRule{{Name: "readers", Namespaces: documents.Namespaces{All: true}, Scopes: []string{"orders:read"}}},
		IntrospectionClients: []documents.ClientName{{Namespace: "orders", Name: "gateway"}},
	}
}

func stock() documents.ResourceServer {
	return documents.ResourceServer{
		UID: "stock", Namespace: "stock", Name: "api", Identifier: "https://stock.example.com", Scopes: []documents.Scope{{Name: "stock:read"}},
		AllowedClients: []documents.ResourceClientRule{{Name: "shop", Namespaces: documents.Namespaces{Names: []string{"shop"}}, Scopes: []string{"*"}}},
	}
}

func user() documents.User {
	return documents.User{UID: "user-1", Subject: "248289761001", Username: "alice", PasswordHash: "x", Epoch: "e1"}
}

// newShop returns a registry with all of these.
func newShop(t testing.TB) *registry.Registry {
	t.Helper()
	r := registry.New(time.Now)
	registrytest.Fill(t, r, server(), namespace("shop", "team", "shop"), namespace("orders"), namespace("stock"), orders(), stock(), client(), user())
	return r
}

func mustClient(t testing.TB, r *registry.Registry) *registry.Client {
	t.Helper()
	c, ok := r.Client("shop.web")
	if !ok {
		t.Fatal("the client is not served")
	}
	return c
}

// onlyEntry returns the entry of a document that has only one.
func onlyEntry(t testing.TB, doc any) (string, registry.Entry) {
	t.Helper()
	for name, e := range registrytest.Entries(t, doc) {
		if e.Format != "" {
			return name, e
		}
	}
	t.Fatal("no document")
	return "", registry.Entry{}
}

func TestAnAcceptedClientIsServedByIDAndByUID(t *testing.T) {
	r := newShop(t)
	c := mustClient(t, r)
	if c.Rule != "shop" || c.AccessTokenLifetime != 5*time.Minute || c.IsPublic() || !c.HasGrantType("authorization_code") || c.HasGrantType("password") {
		t.Errorf("%+v", c)
	}
	if byUID, ok := r.ClientByUID("web"); !ok || byUID != c {
		t.Errorf("ClientByUID = %p, %v, want %p", byUID, ok, c)
	}
	for _, id := range []string{"", "shop.web2", "SHOP.WEB", "https://orders.example.com", "248289761001", issuer} {
		if _, ok := r.Client(id); ok {
			t.Errorf("client %q is served", id)
		}
	}
}

func TestASuspendedUnacceptedOrDeletedClientIsUnknown(t *testing.T) {
	for name, change := range map[string]func(r *registry.Registry){
		"suspended": func(r *registry.Registry) {
			c := client()
			c.Suspended = true
			registrytest.Fill(t, r, c)
		},
		"deleted": func(r *registry.Registry) { name, _ := onlyEntry(t, client()); r.Remove(name) },
		"not allowed what it asks": func(r *registry.Registry) {
			c := client()
			c.GrantTypes = []string{"password"}
			registrytest.Fill(t, r, c)
		},
		"a rule tightened": func(r *registry.Registry) {
			s := server()
			s.AllowedClients[0].RedirectHosts = []string{"other.example"}
			registrytest.Fill(t, r, s)
		},
		"a label removed":     func(r *registry.Registry) { registrytest.Fill(t, r, namespace("shop")) },
		"a label changed":     func(r *registry.Registry) { registrytest.Fill(t, r, namespace("shop", "team", "other")) },
		"a namespace unknown": func(r *registry.Registry) { name, _ := onlyEntry(t, namespace("shop")); r.Remove(name) },
		"a server unknown":    func(r *registry.Registry) { name, _ := onlyEntry(t, server()); r.Remove(name) },
	} {
		r := newShop(t)
		mustClient(t, r) // decided before the change, so that what was decided must be decided again
		change(r)
		if c, ok := r.Client("shop.web"); ok || c != nil {
			t.Errorf("%s: served by id: %+v", name, c)
		}
		if c, ok := r.ClientByUID("web"); ok || c != nil {
			t.Errorf("%s: served by UID: %+v", name, c)
		}
	}
}

func TestAValueThatTheDocumentRevokesIsNoCredential(t *testing.T) {
	r := newShop(t)
	c := client()
	for _, hash := range []string{"aa", "bb", "cc"} {
		c.Credentials = append(c.Credentials, documents.Credential{ID: "c-" + hash, SHA256: hash, State: documents.CredentialActive})
	}
	c.RevokedCredentials = []documents.RevokedCredential{{ID: "c-bb", SHA256: "bb"}, {ID: "c-former", SHA256: "CC"}}
	registrytest.Fill(t, r, c)
	if served := mustClient(t, r).Credentials; len(served) != 1 || served[0].SHA256 != "aa" {
		t.Errorf("%+v", served)
	}
}

func TestLoweringALifetimeActsOnRunningClients(t *testing.T) {
	r := newShop(t)
	mustClient(t, r)
	s := server()
	s.AccessTokenLifetime = 60
	registrytest.Fill(t, r, s)
	if c := mustClient(t, r); c.AccessTokenLifetime != time.Minute {
		t.Errorf("AccessTokenLifetime = %s", c.AccessTokenLifetime)
	}
}

func TestAClientHasTheScopesThatAreBuiltInOrThatTheirOwnerAllowsIt(t *testing.T) {
	r := newShop(t)
	want := []string{"openid", "email", "orders:read", "stock:read", "offline_access"}
	if got := mustClient(t, r).Scopes(); !slices.Equal(got, want) {
		t.Errorf("Scopes = %v, want %v", got, want)
	}
	tight := orders()
	tight.AllowedClients[0].Namespaces = documents.Namespaces{Names: []string{"orders"}}
	registrytest.Fill(t, r, tight)
	if c := mustClient(t, r); c.MayHaveScope("orders:read") || !c.MayHaveScope("stock:read") {
		t.Errorf("after its owner allows it no more: %v", c.Scopes())
	}
	r.Remove(registrytest.Name(registry.SpaceScope, "stock:read"))
	if c := mustClient(t, r); c.MayHaveScope("stock:read") {
		t.Errorf("after its owner lost the name: %v", c.Scopes())
	}
}

func TestAScopeIsItsOwnersAlone(t *testing.T) {
	r := newShop(t)
	rival := stock()
	rival.Scopes = append(rival.Scopes, documents.Scope{Name: "orders:write", Description: "Not its own"}, documents.Scope{Name: "email", Description: "Not its own"})
	name, e := onlyEntry(t, rival)
	if err := r.Apply(name, e); err != nil {
		t.Fatal(err)
	}
	if c := mustClient(t, r); c.MayHaveScope("orders:write") {
		t.Error("a scope that another declares too is granted by the other's rules")
	}
	if description := r.ScopeDescription("orders:write"); description != "Change your orders" {
		t.Errorf("ScopeDescription = %q", description)
	}
	if description := r.ScopeDescription("email"); description != "" {
		t.Errorf("a built-in scope has the description %q", description)
	}
	if err := r.Apply("thief", registry.Entry{Space: registry.SpaceScope, Value: "orders:write", OwnerUID: "stock"}); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("a second entry for a scope: %v", err)
	}
}

func TestAudienceIsTheOwnersOfTheScopesOrTheResourcesAsked(t *testing.T) {
	c := mustClient(t, newShop(t))
	const orders, stock = "https://orders.example.com", "https://stock.example.com"
	for _, q := range []struct {
		scopes, resources, aud, remaining []string
	}{
		{nil, nil, []string{issuer}, nil},
		{[]string{"email"}, nil, []string{issuer}, []string{"email"}},
		{[]string{"orders:read"}, nil, []string{orders}, []string{"orders:read"}},
		{[]string{"stock:read", "orders:read"}, nil, []string{stock, orders}, []string{"stock:read", "orders:read"}},
		{[]string{"openid", "orders:read"}, nil, []string{orders, issuer}, []string{"openid", "orders:read"}},
		{[]string{"email", "orders:read"}, nil, []string{orders}, []string{"email", "orders:read"}},
		{[]string{"orders:write"}, nil, []string{issuer}, nil},
		{[]string{"openid", "orders:read", "stock:read"}, []string{orders}, []string{orders}, []string{"openid", "orders:read"}},
		{[]string{"orders:read"}, []string{stock, orders, stock}, []string{stock, orders}, []string{"orders:read"}},
		{[]string{"openid", "orders:read"}, []string{issuer}, []string{issuer}, []string{"openid"}},
		{nil, []string{orders}, []string{orders}, nil},
	} {
		aud, remaining, err := c.ResolveAudience(q.scopes, q.resources)
		if err != nil || !slices.Equal(aud, q.aud) || !slices.Equal(remaining, q.remaining) {
			t.Errorf("Audience(%v, %v) = %v, %v, %v, want %v, %v", q.scopes, q.resources, aud, remaining, err, q.aud, q.remaining)
		}
	}
}

func TestAResourceThatIsUnknownOrDoesNotAllowTheClientIsAnInvalidTarget(t *testing.T) {
	r := newShop(t)
	c := mustClient(t, r)
	for _, resource := range []string{"", "orders", "https://orders.example.com//", "https://orders.example.com/x", "https://orders.example.com#x", "shop.web", "https://other.example"} {
		if _, _, err := c.ResolveAudience(nil, []string{resource}); !errors.Is(err, registry.ErrInvalidTarget) {
			t.Errorf("Audience of resource %q: %v", resource, err)
		}
	}
	tight := orders()
	tight.AllowedClients = nil
	registrytest.Fill(t, r, tight)
	if _, _, err := c.ResolveAudience(nil, []string{tight.Identifier}); !errors.Is(err, registry.ErrInvalidTarget) {
		t.Errorf("a resource that allows no client, asked of a client from before: %v", err)
	}
	s := server()
	s.AllowedResourceServers = nil
	registrytest.Fill(t, r, s)
	if _, _, err := c.ResolveAudience(nil, []string{"https://stock.example.com"}); !errors.Is(err, registry.ErrInvalidTarget) {
		t.Errorf("a resource server that no rule allows: %v", err)
	}
}

// RFC 3986 section 6.2.3: an empty path and "/" are one resource, and an API compares the audience
// with what it registered.
func TestAResourceIsFoundInEitherSpellingAndTheAudienceIsAsRegistered(t *testing.T) {
	r := newShop(t)
	with := stock()
	with.Identifier += "/"
	registrytest.Fill(t, r, with)
	c := mustClient(t, r)
	for registered, asked := range map[string][]string{
		"https://orders.example.com": {"https://orders.example.com/", "https://orders.example.com"},
		"https://stock.example.com/": {"https://stock.example.com", "https://stock.example.com/"},
		issuer:                       {issuer + "/", issuer},
	} {
		aud, _, err := c.ResolveAudience(nil, asked)
		if err != nil || !slices.Equal(aud, []string{registered}) {
			t.Errorf("resource %v: audience %v, %v", asked, aud, err)
		}
	}
	aud, scopes, err := c.ResolveAudience([]string{"orders:read", "stock:read"}, []string{"https://orders.example.com/"})
	if err != nil || !slices.Equal(aud, []string{"https://orders.example.com"}) || !slices.Equal(scopes, []string{"orders:read"}) {
		t.Errorf("audience %v with scopes %v, %v", aud, scopes, err)
	}
	if !r.MayIntrospect("orders", "gateway", "https://orders.example.com/") {
		t.Error("the API's client may not introspect under the other spelling")
	}
	// Both spellings are one name: the second is rejected.
	second := with
	second.UID, second.Identifier, second.Scopes = "second", "https://stock.example.com", nil
	name, e := onlyEntry(t, second)
	if err := r.Apply(name+"-second", e); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("both spellings are served: %v", err)
	}
}

func TestScopesAreResolvedStrictlyOrLeniently(t *testing.T) {
	c := mustClient(t, newShop(t))
	granted, err := c.ResolveScopes(nil, false)
	if want := []string{"email", "orders:read", "stock:read"}; err != nil || !slices.Equal(granted, want) {
		t.Errorf("none asked: %v, %v, want %v", granted, err, want)
	}
	granted, err = c.ResolveScopes([]string{"openid", "orders:write", "orders:read"}, true)
	if err != nil || !slices.Equal(granted, []string{"openid", "orders:read"}) {
		t.Errorf("leniently: %v, %v", granted, err)
	}
	for _, scope := range []string{"orders:write", "undeclared:scope", "x"} {
		if granted, err := c.ResolveScopes([]string{"openid", scope}, false); !errors.Is(err, registry.ErrInvalidScope) || granted != nil {
			t.Errorf("strictly %q: %v, %v", scope, granted, err)
		}
	}
}

func TestABuiltInScopeThatCannotBeHadIsDroppedAndWhatIsLeftIsNeverTheDefault(t *testing.T) {
	c := mustClient(t, newShop(t))
	for asked, want := range map[string][]string{
		"profile openid orders:read": {"openid", "orders:read"}, "profile": nil, "phone groups": nil, "email": nil, "openid email": {"openid"},
	} {
		if granted, err := c.ResolveScopes(strings.Fields(asked), false, "email"); err != nil || !slices.Equal(granted, want) {
			t.Errorf("%s: %v, %v, want %v", asked, granted, err, want)
		}
	}
	if granted, err := c.ResolveScopes(nil, false, "email"); err != nil || !slices.Equal(granted, []string{"orders:read", "stock:read"}) {
		t.Errorf("none asked: %v, %v", granted, err)
	}
}

func TestAUserIsServedByItsUsernameAndByItsUID(t *testing.T) {
	r := newShop(t)
	if u, ok := r.UserByUID("user-1"); !ok || u.Username != "alice" {
		t.Errorf("by UID: %+v, %v", u, ok)
	}
	if u, ok := userByName(r, "alice"); !ok || u.UID != "user-1" {
		t.Errorf("by name: %+v, %v", u, ok)
	}
	for _, other := range []string{"", "248289761001", "shop.web", "https://orders.example.com"} {
		if u, ok := userByName(r, other); ok {
			t.Errorf("by name %q: %+v", other, u)
		}
		if u, ok := r.UserByUID(other); ok {
			t.Errorf("by UID %q: %+v", other, u)
		}
	}
}

func userByName(r *registry.Registry, name string) (*registry.User, bool) {
	_, user, _ := r.LookUpLogin(name)
	return user, user != nil
}

func TestAUserWithoutBothNamesIsNotServed(t *testing.T) {
	gone := func(r *registry.Registry) bool {
		_, byName := userByName(r, "alice")
		_, byUID := r.UserByUID("user-1")
		return !byName && !byUID
	}
	r := newShop(t)
	r.Remove(registrytest.Name(registry.SpaceUsername, "alice"))
	if !gone(r) {
		t.Error("served without its username")
	}
	if err := r.Apply("other", registry.Entry{Space: registry.SpaceUsername, Value: "alice", OwnerUID: "user-2"}); err != nil {
		t.Fatal(err)
	}
	if !gone(r) {
		t.Error("served under a username that is another's")
	}
	r = newShop(t)
	r.Remove(registrytest.Name(registry.SpaceIdentity, "248289761001"))
	if !gone(r) {
		t.Error("served without its subject")
	}
}

func TestAnEntryThatCannotBeServedIsRejectedAndHurtsNoOther(t *testing.T) {
	name, good := onlyEntry(t, client())
	for what, change := range map[string]func(*registry.Entry){
		"an unknown format":            func(e *registry.Entry) { e.Format = "client/v9" },
		"bad JSON":                     func(e *registry.Entry) { e.Document = "{" },
		"another document behind it":   func(e *registry.Entry) { e.Document += "{}" },
		"null":                         func(e *registry.Entry) { e.Document = "null" },
		"another owner than it says":   func(e *registry.Entry) { e.OwnerUID = "mallory" },
		"no owner":                     func(e *registry.Entry) { e.OwnerUID = "" },
		"another space":                func(e *registry.Entry) { e.Space = registry.SpaceUsername },
		"an unknown space":             func(e *registry.Entry) { e.Space, e.Format = "other", "" },
		"the format of another kind":   func(e *registry.Entry) { e.Format = documents.FormatUser },
		"another name than it says":    func(e *registry.Entry) { e.Value = "shop.other" },
		"a name that is another's":     func(e *registry.Entry) { e.Value = issuer },
		"a document of a second owner": func(e *registry.Entry) { e.Document = strings.Replace(e.Document, `"uid":"web"`, `"uid":"orders"`, 1) },
	} {
		r := newShop(t)
		bad := good
		change(&bad)
		if err := r.Apply(name, bad); !errors.Is(err, registry.ErrRejected) {
			t.Errorf("%s: %v", what, err)
		}
		if _, ok := r.Client("shop.web"); ok {
			t.Errorf("%s: what the entry said before is still in force", what)
		}
		if _, ok := userByName(r, "alice"); !ok {
			t.Errorf("%s: another user is not served", what)
		}
		if err := r.Apply(name, good); err != nil {
			t.Errorf("%s: repaired: %v", what, err)
		}
		mustClient(t, r)
	}
}

func TestASecondEntryForANameOrAnOwnerIsRejected(t *testing.T) {
	r := newShop(t)
	_, e := onlyEntry(t, client())
	if err := r.Apply("other-name", e); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("a second entry for a client id: %v", err)
	}
	c := client()
	c.ID = "shop.web2"
	name, e := onlyEntry(t, c)
	if err := r.Apply(name, e); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("a second client id for a client: %v", err)
	}
	s := server()
	s.Issuer = "https://other.example"
	name, e = onlyEntry(t, s)
	if err := r.Apply(name, e); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("a second server: %v", err)
	}
	mustClient(t, r)
	if got, ok := r.Server(); !ok || got.Issuer != issuer {
		t.Errorf("Server = %q, %v", got.Issuer, ok)
	}
}

func TestAClientThatIsCreatedAgainInheritsNothing(t *testing.T) {
	r := newShop(t)
	name, _ := onlyEntry(t, client())
	r.Remove(name)
	again := client()
	again.UID = "web-2"
	registrytest.Fill(t, r, again)
	if _, ok := r.ClientByUID("web"); ok {
		t.Error("the old UID is served")
	}
	if c, ok := r.ClientByUID("web-2"); !ok || c.ID != "shop.web" {
		t.Errorf("the new UID: %+v, %v", c, ok)
	}
}

func TestReplaceLeavesExactlyWhatItWasGiven(t *testing.T) {
	r := newShop(t)
	before := mustClient(t, r)
	entries := map[string]registry.Entry{}
	add := func(doc any) {
		for name, e := range registrytest.Entries(t, doc) {
			entries[name] = e
		}
	}
	bob := user()
	bob.UID, bob.Subject, bob.Username = "user-2", "2", "bob"
	for _, doc := range []any{server(), namespace("shop", "team", "shop"), client(), bob} {
		add(doc)
	}
	entries["bad"] = registry.Entry{Space: registry.SpaceIdentity, Value: "bad", OwnerUID: "bad", Format: "client/v1", Document: "{"}
	rejected := registrytest.Replace(r, entries)
	if len(rejected) != 1 || !errors.Is(rejected["bad"], registry.ErrRejected) {
		t.Errorf("rejected %v", rejected)
	}
	if _, ok := userByName(r, "alice"); ok {
		t.Error("alice is still there")
	}
	if _, ok := userByName(r, "bob"); !ok {
		t.Error("bob is not")
	}
	if _, ok := r.ResourceServer("https://orders.example.com"); ok {
		t.Error("the resource server is still there")
	}
	if c := mustClient(t, r); c == before || c.MayHaveScope("orders:read") {
		t.Errorf("the client was not decided again: %v", c.Scopes())
	}
	r.Replace(nil)
	if _, ok := r.Server(); ok || r.Count().Clients != 0 {
		t.Error("something is left after everything was replaced by nothing")
	}
}

func TestANameCanMoveBetweenEntriesInOneReplace(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Replace(r, map[string]registry.Entry{"a": {Space: "scope", Value: "x", OwnerUID: "1"}, "b": {Space: "scope", Value: "y", OwnerUID: "2"}})
	rejected := registrytest.Replace(r, map[string]registry.Entry{"a": {Space: "scope", Value: "y", OwnerUID: "1"}, "b": {Space: "scope", Value: "x", OwnerUID: "2"}})
	if len(rejected) != 0 {
		t.Errorf("rejected %v", rejected)
	}
}

func TestWhatFollowsFromNothingNewIsNotDecidedAgain(t *testing.T) {
	r := newShop(t)
	before := mustClient(t, r)
	bob := user()
	bob.UID, bob.Subject, bob.Username = "user-2", "2", "bob"
	other := client()
	other.UID, other.ID = "other", "shop.other"
	registrytest.Fill(t, r, server(), client(), bob, other)
	if mustClient(t, r) != before {
		t.Error("another client, a user and entries that did not change cost every client a decision")
	}
	registrytest.Fill(t, r, namespace("other"))
	if mustClient(t, r) == before {
		t.Error("a namespace changed and the client was not decided again")
	}
}

func TestAResourceServerListsWhoMayIntrospectItsTokens(t *testing.T) {
	r := newShop(t)
	for _, c := range []struct {
		namespace, name, identifier string
		want                        bool
	}{
		{"orders", "gateway", "https://orders.example.com", true}, {"orders", "gateway", "https://stock.example.com", false},
		{"shop", "gateway", "https://orders.example.com", false}, {"orders", "web", "https://orders.example.com", false}, {"orders", "gateway", issuer, false},
	} {
		if got := r.MayIntrospect(c.namespace, c.name, c.identifier); got != c.want {
			t.Errorf("MayIntrospect(%q, %q, %q) = %v", c.namespace, c.name, c.identifier, got)
		}
	}
	s := server()
	s.AllowedResourceServers = nil
	registrytest.Fill(t, r, s)
	if r.MayIntrospect("orders", "gateway", "https://orders.example.com") {
		t.Error("a resource server that no rule allows has its tokens introspected")
	}
}

func TestScopesAreTheBuiltInOnesAndThoseWithAnOwner(t *testing.T) {
	r := newShop(t)
	want := []string{"openid", "profile", "email", "address", "phone", "groups", "offline_access", "orders:read", "orders:write", "stock:read"}
	if got := r.Scopes(); !slices.Equal(got, want) {
		t.Errorf("Scopes = %v, want %v", got, want)
	}
	if got := r.ScopeDescription("orders:read"); got != "See your orders" {
		t.Errorf("ScopeDescription = %q", got)
	}
	if r.ScopeDescription("openid") != "" || r.ScopeDescription("unknown:scope") != "" {
		t.Error("a scope without an owner has a description")
	}
}

func TestSyncedStaysTrue(t *testing.T) {
	r := registry.New(time.Now)
	if r.HasSynced() {
		t.Error("an empty registry is synced")
	}
	r.SetSynced()
	r.Replace(nil)
	if !r.HasSynced() {
		t.Error("it is not synced any more")
	}
}

// To be run with -race. Readers see a client as it was or as it is, never one that both rules
// refuse.
func TestReadersAndWritersDoNotMeet(t *testing.T) {
	r := newShop(t)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if c, ok := r.Client("shop.web"); ok {
					if c.AccessTokenLifetime != 5*time.Minute && c.AccessTokenLifetime != time.Minute {
						t.Errorf("AccessTokenLifetime = %s", c.AccessTokenLifetime)
					}
					_, _, _ = c.ResolveAudience(c.Scopes(), []string{"https://orders.example.com"})
				}
				userByName(r, "alice")
				r.Scopes()
				r.Server()
			}
		})
	}
	short := server()
	short.AccessTokenLifetime = 60
	for i := range 200 {
		registrytest.Fill(t, r, short, namespace("shop", "team", fmt.Sprint(i)), orders(), client())
		registrytest.Fill(t, r, server(), namespace("shop", "team", "shop"), user())
	}
	close(done)
	readers.Wait()
	mustClient(t, r)
}

func BenchmarkAClientIsFoundAmongTenThousand(b *testing.B) {
	r := newShop(b)
	for i := range 10_000 {
		c := client()
		c.UID, c.ID = fmt.Sprint("c", i), fmt.Sprint("shop.c", i)
		registrytest.Fill(b, r, c)
	}
	for b.Loop() {
		if _, ok := r.Client("shop.web"); !ok {
			b.Fatal("not served")
		}
	}
}

func TestNoOAuthUserIsServedWhoseSubjectBeginsAsThoseOfUsersFromElsewhere(t *testing.T) {
	r := registry.New(time.Now)
	user := documents.User{UID: "user-1", Subject: "~alice", Username: "alice", Epoch: "e"}
	for name, e := range registrytest.Entries(t, user) {
		if err := r.Apply(name, e); e.Format != "" && !errors.Is(err, registry.ErrRejected) {
			t.Errorf("the user's entry %s: %v, want ErrRejected", name, err)
		}
	}
	if _, ok := r.UserByUID("user-1"); ok {
		t.Error("the user is served")
	}
}
