package registry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry/registrytest"
)

func oidcProvider(name string, change ...func(*documents.IdentityProvider)) documents.IdentityProvider {
	p := documents.IdentityProvider{
		UID: "uid-" + name, Namespace: "identity", Name: name, DisplayName: strings.ToUpper(name), Type: documents.ProviderOIDC,
		Realm: "https://" + name + ".example", SubjectAttribute: "sub",
		OIDC:  &documents.OIDCProvider{Issuer: "https://" + name + ".example", ClientID: "oauth-operator", MaxAge: 3600},
		Allow: `upstream.hd == "acme.example"`, Claims: map[string]string{"email": `upstream.email`}, MaxIdentities: 10,
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func TestAProviderIsServedWithItsMapping(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, server(), oidcProvider("globex"), oidcProvider("acme"))
	p, ok := r.IdentityProvider("acme")
	if !ok || p.NotAccepted || p.DisplayName != "ACME" {
		t.Fatalf("got %+v, %t", p, ok)
	}
	result, err := p.Mapping.Evaluate(map[string]any{"hd": "acme.example", "email": "a@acme.example"})
	if err != nil || result.Claims["email"] != "a@acme.example" {
		t.Errorf("got %v, %v", result, err)
	}
	if q, ok := r.IdentityProviderByUID("uid-acme"); !ok || q != p {
		t.Errorf("by UID: got %+v, %t", q, ok)
	}
	if all := r.IdentityProviders(); len(all) != 2 || all[0].Name != "acme" || all[1].Name != "globex" {
		t.Errorf("all: got %+v", all)
	}
	for name := range registrytest.Entries(t, oidcProvider("acme")) {
		r.Remove(name)
	}
	if _, ok := r.IdentityProvider("acme"); ok {
		t.Error("a provider is served after its entries were removed")
	}
	if _, ok := r.IdentityProviderByUID("uid-acme"); ok {
		t.Error("a provider is served by its UID after its entries were removed")
	}
}

func TestAProviderWithoutItsRealmIsNotAccepted(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, server(), oidcProvider("acme"))
	// The entry of a realm has the name of the realm, so the second takes it from the first.
	registrytest.Fill(t, r, oidcProvider("thief", func(p *documents.IdentityProvider) { p.Realm = "https://acme.example" }))
	if p, ok := r.IdentityProvider("acme"); !ok || !p.NotAccepted || p.Mapping != nil || p.OIDC != nil {
		t.Errorf("a provider that does not own its realm: got %+v, %t", p, ok)
	}
	if p, ok := r.IdentityProvider("thief"); !ok || p.NotAccepted {
		t.Errorf("the owner of the realm: got %+v, %t", p, ok)
	}
	r.Remove(registrytest.Name(registry.SpaceRealm, "https://acme.example"))
	if p, ok := r.IdentityProviderByUID("uid-thief"); !ok || !p.NotAccepted {
		t.Errorf("a provider whose realm was removed: got %+v, %t", p, ok)
	}
}

func TestASuspendedProviderAndOneWithAMistakeAreServedAsSuch(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, server(),
		oidcProvider("acme", func(p *documents.IdentityProvider) { p.Suspended = true }),
		documents.IdentityProvider{UID: "uid-globex", Namespace: "identity", Name: "globex", DisplayName: "Globex", NotAccepted: true})
	if p, ok := r.IdentityProvider("acme"); !ok || !p.Suspended || p.NotAccepted {
		t.Errorf("suspended: got %+v, %t", p, ok)
	}
	if p, ok := r.IdentityProviderByUID("uid-globex"); !ok || !p.NotAccepted || p.Mapping != nil {
		t.Errorf("with a mistake: got %+v, %t", p, ok)
	}
}

func TestAProviderThatIsCreatedAgainHasOnlyItsNewUID(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, server(), oidcProvider("acme"))
	registrytest.Fill(t, r, oidcProvider("acme", func(p *documents.IdentityProvider) { p.UID = "uid-2" }))
	if p, ok := r.IdentityProviderByUID("uid-acme"); ok {
		t.Errorf("by the old UID: got %+v", p)
	}
	if p, ok := r.IdentityProvider("acme"); !ok || p.UID != "uid-2" || p.NotAccepted {
		t.Errorf("by name: got %+v, %t", p, ok)
	}
}

func TestAProviderDocumentThatCannotBeKeptToIsRejected(t *testing.T) {
	const mapping = "an expression of allow or claims cannot be compiled"
	for _, test := range []struct {
		want   string
		change func(*documents.IdentityProvider)
	}{
		{mapping, func(p *documents.IdentityProvider) { p.Allow = "hd" }},
		{mapping, func(p *documents.IdentityProvider) { p.Claims = map[string]string{"sub": `"x"`} }},
		{mapping, func(p *documents.IdentityProvider) { p.Allow = "" }},
		{"no identity provider is named local", func(p *documents.IdentityProvider) { p.Name = "local" }},
		{"the provider has no realm", func(p *documents.IdentityProvider) { p.Realm = "" }},
		{"or not the settings of its type", func(p *documents.IdentityProvider) { p.Type = documents.ProviderLDAP }},
		{"no subject attribute", func(p *documents.IdentityProvider) { p.SubjectAttribute = "" }},
	} {
		r := registry.New(time.Now)
		registrytest.Fill(t, r, server(), oidcProvider("acme"))
		p := oidcProvider("acme", test.change)
		e := registrytest.Entries(t, p)[registrytest.Name(registry.SpaceIdentityProvider, p.Name)]
		err := r.Apply(registrytest.Name(registry.SpaceIdentityProvider, "acme"), e)
		if !errors.Is(err, registry.ErrRejected) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
		if _, ok := r.IdentityProvider("acme"); ok {
			t.Errorf("%s: the document before it is in force", test.want)
		}
		if rejected := registrytest.Replace(r, map[string]registry.Entry{"x": e}); !errors.Is(rejected["x"], registry.ErrRejected) {
			t.Errorf("%s: Replace returns %v", test.want, rejected)
		}
	}
	r := registry.New(time.Now)
	e := registrytest.Entries(t, oidcProvider("acme"))[registrytest.Name(registry.SpaceIdentityProvider, "acme")]
	e.Space = registry.SpaceIdentity
	if err := r.Apply("x", e); !errors.Is(err, registry.ErrRejected) {
		t.Errorf("in another space: got %v", err)
	}
}

func TestWhatTheOwnerSaysAboutAUserFromElsewhereIsServed(t *testing.T) {
	r := registry.New(func() time.Time { return time.Unix(1000, 0) })
	spec := documents.Identity{UID: "uid-1", Subject: "~abc", Suspended: true, TokensNotBefore: 900}
	registrytest.Fill(t, r, server(), spec)
	if got, ok := r.Identity("~abc"); !ok || got != spec {
		t.Errorf("got %+v, %t", got, ok)
	}
	if got := r.NotBefore().Users["~abc"]; got != 900 {
		t.Errorf("tokensNotBefore is %d, want 900", got)
	}
	r.Remove(registrytest.Name(registry.SpaceIdentitySpec, "~abc"))
	if got, ok := r.Identity("~abc"); ok || r.NotBefore().Users["~abc"] != 0 {
		t.Errorf("after its removal: got %+v", got)
	}
	other := documents.Identity{UID: "uid-1", Subject: "abc"}
	for name, e := range registrytest.Entries(t, other) {
		if err := r.Apply(name, e); !errors.Is(err, registry.ErrRejected) {
			t.Errorf("a subject without ~: got %v", err)
		}
	}
}

func TestTheTokensNotBeforeOfAProviderIsThatOfItsDocument(t *testing.T) {
	r := registry.New(func() time.Time { return time.Unix(1000, 0) })
	for _, at := range []int64{900, 0, 950} {
		registrytest.Fill(t, r, oidcProvider("acme", func(p *documents.IdentityProvider) { p.TokensNotBefore = at }))
		if got := r.NotBeforeOf("", "~abc", "uid-acme").Login; got != at {
			t.Errorf("it is %d, want %d", got, at)
		}
	}
	r.Remove(registrytest.Name(registry.SpaceIdentityProvider, "acme"))
	if got := r.NotBeforeOf("", "~abc", "uid-acme").Login; got != 0 {
		t.Errorf("after its removal it is %d", got)
	}
}

func TestAChangeOfAProviderDoesNotEvaluateTheClientsAgain(t *testing.T) {
	r := registry.New(time.Now)
	registrytest.Fill(t, r, server())
	before := r.RulesRevision()
	registrytest.Fill(t, r, oidcProvider("acme"), documents.Identity{UID: "uid-1", Subject: "~abc"})
	if r.RulesRevision() != before {
		t.Error("the revision has changed")
	}
}
