package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

var now = time.Unix(1_800_000_000, 0)

// server with one rule, which allows what client asks for and little else.
func server(change func(*documents.Server, *documents.ClientRule)) documents.Server {
	s := documents.Server{
		Issuer: "https://auth.example.com", AccessTokenLifetime: 300, Algorithms: []string{"ES256", "RS256"},
		AllowedClients: []documents.ClientRule{{
			Name: "shop", Namespaces: documents.Namespaces{Names: []string{"shop"}},
			GrantTypes: []string{"authorization_code", "refresh_token"}, ClientIDs: []string{"shop-*", "exact"},
			Scopes: []string{"openid", "orders:*"}, RedirectHosts: []string{"*.shop.example.com", "one.example"},
			RedirectSchemes: []string{"com.shop.app"}, Consent: []string{"Required"},
		}},
	}
	if change != nil {
		change(&s, &s.AllowedClients[0])
	}
	return s
}

func client(change func(*documents.Client)) documents.Client {
	c := documents.Client{
		UID: "u", Namespace: "shop", Name: "web", ID: "shop.web", GrantTypes: []string{"authorization_code"}, AuthMethod: "client_secret_basic",
		RedirectURIs: []string{"https://a.shop.example.com/cb"}, Scopes: []string{"openid", "orders:read"}, PKCE: "Required", Consent: "Required",
		IDTokenAlg: "RS256",
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestAClientIsAcceptedThatARuleAllowsInEverything(t *testing.T) {
	for name, change := range map[string]func(*documents.Client){
		"as it is":     nil,
		"both grants":  func(c *documents.Client) { c.GrantTypes = []string{"refresh_token", "authorization_code"} },
		"own id":       func(c *documents.Client) { c.ID = "shop.anything" },
		"id by prefix": func(c *documents.Client) { c.ID = "shop-web" },
		"id by name":   func(c *documents.Client) { c.ID = "exact" },
		"no scopes":    func(c *documents.Client) { c.Scopes = nil },
		"host by name": func(c *documents.Client) { c.RedirectURIs = []string{"https://one.example/cb"} },
		"loopback": func(c *documents.Client) {
			c.RedirectURIs = []string{"http://127.0.0.1/cb", "http://localhost:1/cb"}
		},
		"loopback https":     func(c *documents.Client) { c.RedirectURIs = []string{"https://[::1]/cb"} },
		"private-use scheme": func(c *documents.Client) { c.RedirectURIs = []string{"com.shop.app:/cb"} },
		"after logout": func(c *documents.Client) {
			c.PostLogoutRedirectURIs = []string{"https://one.example/", "http://127.0.0.1/out", "com.shop.app:/out"}
		},
		"shorter lifetime": func(c *documents.Client) { c.AccessTokenLifetime = 60 },
		"other algorithm":  func(c *documents.Client) { c.IDTokenAlg = "ES256" },
	} {
		d := EvaluateClient(server(nil), nil, client(change), now)
		if !d.Accepted || d.Rule != "shop" || len(d.Denials) != 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestAClientIsRefusedForEachThingThatItsRuleDoesNotAllow(t *testing.T) {
	for field, changes := range map[string][]func(*documents.Client){
		"grantTypes": {func(c *documents.Client) { c.GrantTypes = []string{"authorization_code", "password"} }},
		"clientID": {
			func(c *documents.Client) { c.ID = "other.web" }, func(c *documents.Client) { c.ID = "shopper" },
			func(c *documents.Client) { c.ID = "exact2" }, func(c *documents.Client) { c.ID = "SHOP-web" },
		},
		"scopes": {
			func(c *documents.Client) { c.Scopes = []string{"email"} }, func(c *documents.Client) { c.Scopes = []string{"openid2"} },
			func(c *documents.Client) { c.Scopes = []string{"openid", "orders"} },
		},
		"idTokenClaims": {
			func(c *documents.Client) { c.IDTokenClaims = []string{"email"} },
			func(c *documents.Client) { c.IDTokenClaims = []string{"name", "phone_number#de"} },
			func(c *documents.Client) { c.IDTokenClaims = []string{"department"} },
		},
		"redirectURIs": {
			func(c *documents.Client) { c.RedirectURIs = []string{"https://shop.example.com/cb"} },
			func(c *documents.Client) { c.RedirectURIs = []string{"https://a.b.shop.example.com/cb"} },
			func(c *documents.Client) { c.RedirectURIs = []string{"https://ashop.example.com/cb"} },
			func(c *documents.Client) { c.RedirectURIs = []string{"https://a.shop.example.com.evil.example/cb"} },
			func(c *documents.Client) {
				c.RedirectURIs = []string{"https://a.shop.example.com/cb", "https://evil.example/cb"}
			},
			func(c *documents.Client) { c.RedirectURIs = []string{"http://a.shop.example.com/cb"} },
			func(c *documents.Client) {
				c.RedirectURIs = []string{"https://evil.example\\@a.shop.example.com/cb"}
			},
			func(c *documents.Client) { c.RedirectURIs = []string{"com.other.app:/cb"} },
			func(c *documents.Client) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		},
		"postLogoutRedirectURIs": {
			func(c *documents.Client) { c.PostLogoutRedirectURIs = []string{"https://evil.example/"} },
			func(c *documents.Client) { c.PostLogoutRedirectURIs = []string{"com.other.app:/out"} },
			func(c *documents.Client) { c.PostLogoutRedirectURIs = []string{"javascript:alert(1)"} },
			func(c *documents.Client) { c.PostLogoutRedirectURIs = []string{"http://a.shop.example.com/"} },
			func(c *documents.Client) {
				c.PostLogoutRedirectURIs = []string{"https://a.shop.example.com/", "https://evil.example/"}
			},
		},
		"consent":                  {func(c *documents.Client) { c.Consent = "Skip" }},
		"accessTokenLifetime":      {func(c *documents.Client) { c.AccessTokenLifetime = 301 }},
		"idTokenSignedResponseAlg": {func(c *documents.Client) { c.IDTokenAlg = "PS256" }},
	} {
		for i, change := range changes {
			d := EvaluateClient(server(nil), nil, client(change), now)
			if d.Accepted || len(d.Denials) != 1 || !strings.HasPrefix(d.Denials[0].Message, field+":") {
				t.Errorf("%s, case %d: %+v", field, i, d)
			}
		}
	}
}

func TestTheClaimsThatAClientIsToldWhateverTheScopeAreThoseOfScopesThatTheRuleAllows(t *testing.T) {
	s := server(func(_ *documents.Server, r *documents.ClientRule) {
		r.Scopes = []string{"openid", "profile", "groups"}
	})
	c := client(func(c *documents.Client) {
		c.Scopes, c.IDTokenClaims = []string{"openid"}, []string{"groups", "name", "department", "name#de"}
	})
	if d := EvaluateClient(s, nil, c, now); !d.Accepted {
		t.Errorf("claims of scopes that the rule allows: %+v", d)
	}
	c.IDTokenClaims = append(c.IDTokenClaims, "email")
	if d := EvaluateClient(s, nil, c, now); d.Accepted || !strings.Contains(d.Denials[0].Message, `"email"`) {
		t.Errorf("a claim of a scope that the rule does not allow: %+v", d)
	}
}

func TestOneRuleMustAllowEverything(t *testing.T) {
	s := server(func(s *documents.Server, r *documents.ClientRule) {
		other := *r
		other.Name, other.GrantTypes, other.Consent = "batch", []string{"client_credentials"}, []string{"Skip"}
		s.AllowedClients = append(s.AllowedClients, other)
	})
	split := client(func(c *documents.Client) { c.GrantTypes = []string{"authorization_code", "client_credentials"} })
	d := EvaluateClient(s, nil, split, now)
	if d.Accepted || len(d.Denials) != 2 || d.Denials[0].Rule != "shop" || d.Denials[1].Rule != "batch" {
		t.Errorf("two rules that allow half each: %+v", d)
	}
	second := client(func(c *documents.Client) { c.GrantTypes, c.Consent = []string{"client_credentials"}, "Skip" })
	if d := EvaluateClient(s, nil, second, now); !d.Accepted || d.Rule != "batch" || len(d.Denials) != 0 {
		t.Errorf("what the second rule allows: %+v", d)
	}
}

func TestARuleIsForTheNamespacesItAdmits(t *testing.T) {
	selector := func(s documents.Selector) documents.Namespaces { return documents.Namespaces{Selector: &s} }
	require := func(op string, values ...string) documents.Namespaces {
		return selector(documents.Selector{MatchExpressions: []documents.Requirement{{Key: "team", Operator: op, Values: values}}})
	}
	team := map[string]string{"team": "shop"}
	for _, c := range []struct {
		name       string
		namespaces documents.Namespaces
		labels     map[string]string
		want       bool
	}{
		{"none", documents.Namespaces{}, team, false},
		{"all", documents.Namespaces{All: true}, nil, true},
		{"names", documents.Namespaces{Names: []string{"a", "shop"}}, nil, true},
		{"other names", documents.Namespaces{Names: []string{"a", "shop2"}}, team, false},
		{"label", selector(documents.Selector{MatchLabels: map[string]string{"team": "shop"}}), team, true},
		{"label of another value", selector(documents.Selector{MatchLabels: map[string]string{"team": "x"}}), team, false},
		{"one of two labels", selector(documents.Selector{MatchLabels: map[string]string{"team": "shop", "env": "p"}}), team, false},
		{"empty label that is missing", selector(documents.Selector{MatchLabels: map[string]string{"env": ""}}), team, false},
		{"empty selector", selector(documents.Selector{}), team, true},
		{"In", require("In", "shop", "x"), team, true},
		{"In others", require("In", "x"), team, false},
		{"In without the label", require("In", ""), map[string]string{}, false},
		{"NotIn", require("NotIn", "shop"), team, false},
		{"NotIn others", require("NotIn", "x"), team, true},
		{"NotIn without the label", require("NotIn", "shop"), map[string]string{}, true},
		{"Exists", require("Exists"), team, true},
		{"Exists without the label", require("Exists"), map[string]string{}, false},
		{"DoesNotExist", require("DoesNotExist"), team, false},
		{"DoesNotExist without the label", require("DoesNotExist"), map[string]string{}, true},
		{"unknown operator", require("Gt", "1"), team, false},
		{"unknown namespace, empty selector", selector(documents.Selector{}), nil, false},
		{"unknown namespace, NotIn", require("NotIn", "shop"), nil, false},
		{"unknown namespace, DoesNotExist", require("DoesNotExist"), nil, false},
	} {
		s := server(func(_ *documents.Server, r *documents.ClientRule) { r.Namespaces = c.namespaces })
		d := EvaluateClient(s, c.labels, client(nil), now)
		if d.Accepted != c.want {
			t.Errorf("%s: %+v", c.name, d)
		}
		if !c.want && (len(d.Denials) != 1 || d.Denials[0].Rule != "" || !strings.Contains(d.Denials[0].Message, `"shop"`)) {
			t.Errorf("%s: denials %+v", c.name, d.Denials)
		}
	}
}

func TestAnAccessTokenLivesAsLongAsTheRuleAllows(t *testing.T) {
	for _, c := range []struct{ server, rule, client, want documents.Seconds }{
		{300, 0, 0, 300}, {300, 0, 60, 60}, {300, 900, 0, 300}, {300, 900, 900, 900}, {300, 60, 0, 60}, {300, 60, 30, 30},
	} {
		s := server(func(s *documents.Server, r *documents.ClientRule) {
			s.AccessTokenLifetime, r.MaxAccessTokenLifetime = c.server, c.rule
		})
		d := EvaluateClient(s, nil, client(func(x *documents.Client) { x.AccessTokenLifetime = c.client }), now)
		if !d.Accepted || d.AccessTokenLifetime != c.want {
			t.Errorf("server %d, rule %d, client %d: %+v, want %d", c.server, c.rule, c.client, d, c.want)
		}
	}
	tooLong := client(func(x *documents.Client) { x.AccessTokenLifetime = 901 })
	s := server(func(_ *documents.Server, r *documents.ClientRule) { r.MaxAccessTokenLifetime = 900 })
	if d := EvaluateClient(s, nil, tooLong, now); d.Accepted {
		t.Errorf("longer than the rule allows: %+v", d)
	}
}

func TestAnEmptyListOfARuleAllowsNothing(t *testing.T) {
	s := server(func(_ *documents.Server, r *documents.ClientRule) {
		*r = documents.ClientRule{Name: "empty", Namespaces: documents.Namespaces{All: true}}
	})
	if d := EvaluateClient(s, nil, client(nil), now); d.Accepted {
		t.Errorf("%+v", d)
	}
	if d := EvaluateClient(documents.Server{Algorithms: []string{"RS256"}}, nil, client(nil), now); d.Accepted {
		t.Errorf("a server without rules: %+v", d)
	}
}

func TestAResourceServerIsAcceptedThatOneRuleAllows(t *testing.T) {
	s := documents.Server{AllowedResourceServers: []documents.ResourceServerRule{
		{Name: "orders", Namespaces: documents.Namespaces{Names: []string{"orders"}}, Identifiers: []string{"https://orders.example.com"}, Scopes: []string{"orders:*"}},
		{Name: "any", Namespaces: documents.Namespaces{Names: []string{"infra"}}, Identifiers: []string{"*"}, Scopes: []string{"*"}},
	}}
	rs := func(namespace, identifier string, scopes ...string) documents.ResourceServer {
		r := documents.ResourceServer{Namespace: namespace, Identifier: identifier}
		for _, s := range scopes {
			r.Scopes = append(r.Scopes, documents.Scope{Name: s})
		}
		return r
	}
	for _, c := range []struct {
		rs   documents.ResourceServer
		rule string
	}{
		{rs("orders", "https://orders.example.com", "orders:read"), "orders"},
		{rs("orders", "https://orders.example.com/x", "orders:read"), ""},
		{rs("orders", "https://orders.example.com", "orders:read", "admin"), ""},
		{rs("infra", "urn:x", "admin"), "any"},
		{rs("else", "https://orders.example.com"), ""},
	} {
		if d := EvaluateResourceServer(s, nil, c.rs); d.Accepted != (c.rule != "") || d.Rule != c.rule || d.Accepted == (len(d.Denials) > 0) {
			t.Errorf("%+v: %+v, want rule %q", c.rs, d, c.rule)
		}
	}
}

func TestAResourceServerAllowsClientsByNamespaceAndScope(t *testing.T) {
	rs := documents.ResourceServer{AllowedClients: []documents.ResourceClientRule{
		{Name: "own", Namespaces: documents.Namespaces{Names: []string{"orders"}}, Scopes: []string{"*"}},
		{Name: "shop", Namespaces: documents.Namespaces{Selector: &documents.Selector{MatchLabels: map[string]string{"team": "shop"}}}, Scopes: []string{"orders:read"}},
	}}
	shop := map[string]string{"team": "shop"}
	for _, c := range []struct {
		namespace, scope string
		labels           map[string]string
		want             bool
	}{
		{"orders", "orders:write", nil, true}, {"orders", "", nil, true},
		{"web", "orders:read", shop, true}, {"web", "", shop, true}, {"web", "orders:write", shop, false},
		{"web", "orders:read", map[string]string{}, false}, {"web", "", nil, false},
	} {
		got := AllowsResource(rs, c.namespace, c.labels)
		if c.scope != "" {
			got = AllowsScope(rs, c.namespace, c.labels, c.scope)
		}
		if got != c.want {
			t.Errorf("%q with labels %v, scope %q: %v", c.namespace, c.labels, c.scope, got)
		}
	}
}

// An id that begins like those of a namespace belongs to it, also before it exists.
func TestOnlyAPatternThatNamesANamespaceGivesAnotherOneItsIDs(t *testing.T) {
	for _, c := range []struct {
		pattern, id string
		want        bool
	}{
		{"*", "shop.web", false}, {"shop*", "shop.web", false}, {"sho*", "shop.web", false}, {"*", "Shop.web", false}, {"*", "SHOP.", false},
		{"S*", "Shop.web", false}, {"Shop*", "Shop.web", false}, {"*", "apps.web", true}, {"*", "Apps.web", false}, {"*", "0-x.web", false},
		{"*", strings.Repeat("a", 63) + ".web", false},
		{"shop.*", "shop.web", true}, {"shop.web", "shop.web", true}, {"shop.w*", "shop.web", true}, {"Shop.*", "Shop.web", true},
		{"shop.*", "Shop.web", false}, {"shop.*", "shop2.web", false},
		// No namespace can have these beginnings.
		{"*", "shop", true}, {"*", "shop_web", true}, {"*", "shop_1.web", true}, {"*", "-shop.web", true}, {"*", "shop-.web", true},
		{"*", ".web", true}, {"*", "-.web", true}, {"*", strings.Repeat("a", 64) + ".web", true}, {"shop*", "shop-web", true},
	} {
		s := server(func(_ *documents.Server, r *documents.ClientRule) {
			r.Namespaces, r.ClientIDs = documents.Namespaces{All: true}, []string{"none", c.pattern}
		})
		d := EvaluateClient(s, nil, client(func(x *documents.Client) { x.Namespace, x.ID = "apps", c.id }), now)
		if d.Accepted != c.want {
			t.Errorf("pattern %q, id %q of namespace apps: %+v", c.pattern, c.id, d)
		}
		label, _, _ := strings.Cut(c.id, ".")
		if matches := matchesPattern([]string{c.pattern}, c.id); !c.want && matches && !strings.Contains(d.Denials[0].Message, "begin with \""+label+".\"") {
			t.Errorf("pattern %q, id %q: the message does not say what pattern it takes: %s", c.pattern, c.id, d.Denials[0].Message)
		}
	}
}

func TestASchemeIsAllowedByNameOrWithADotByAStar(t *testing.T) {
	native := func(uri string, change func(*documents.Client)) documents.Client {
		return client(func(c *documents.Client) {
			c.AuthMethod, c.RedirectURIs = "none", []string{uri}
			if change != nil {
				change(c)
			}
		})
	}
	for _, c := range []struct {
		name    string
		schemes []string
		client  documents.Client
		want    bool
	}{
		{"with a dot, by name", []string{"com.shop.app"}, native("com.shop.app:/cb", nil), true},
		{"with a dot, by *", []string{"*"}, native("com.shop.app:/cb", nil), true},
		{"with a dot, confidential", []string{"*"}, client(func(c *documents.Client) { c.RedirectURIs = []string{"com.shop.app:/cb"} }), true},
		{"another", []string{"com.shop.app"}, native("com.shop.app2:/cb", nil), false},
		{"no list", nil, native("com.shop.app:/cb", nil), false},
		{"without a dot, by *", []string{"*"}, native("cursor://cb", nil), false},
		{"without a dot, by name", []string{"*", "cursor"}, native("cursor://cb", nil), true},
		{"without a dot, confidential", []string{"cursor"}, native("cursor://cb", func(c *documents.Client) { c.AuthMethod = "client_secret_basic" }), false},
		{"without a dot, implicit", []string{"cursor"}, native("cursor://cb", func(c *documents.Client) { c.GrantTypes = []string{"implicit"} }), false},
		{"without a dot, hybrid", []string{"cursor"}, native("cursor://cb", func(c *documents.Client) {
			c.GrantTypes = []string{"authorization_code", "implicit"}
		}), false},
		{"without a dot, no PKCE", []string{"cursor"}, native("cursor://cb", func(c *documents.Client) { c.PKCE = "WhenSent" }), false},
		{"without a dot, no consent", []string{"cursor"}, native("cursor://cb", func(c *documents.Client) { c.Consent = "Skip" }), false},
		{"after logout", []string{"cursor"}, native("https://one.example/cb", func(c *documents.Client) {
			c.PostLogoutRedirectURIs, c.Consent = []string{"cursor:out"}, "Skip"
		}), false},
		{"intent by name", []string{"*", "intent"}, native("intent://cb", nil), false},
		{"ms-msdt by name", []string{"*", "ms-msdt"}, native("ms-msdt:/cb", nil), false},
		{"JavaScript by name", []string{"*", "JavaScript", "javascript"}, native("JavaScript:alert(1)", nil), false},
		{"a registered one with a dot", []string{"*", "iris.beep"}, native("iris.beep://cb", nil), false},
		{"https by name", []string{"*", "https"}, native("https://evil.example/cb", nil), false},
	} {
		s := server(func(_ *documents.Server, r *documents.ClientRule) {
			r.RedirectSchemes, r.Consent, r.GrantTypes = c.schemes, []string{"Required", "Skip"}, []string{"authorization_code", "implicit"}
		})
		if d := EvaluateClient(s, nil, c.client, now); d.Accepted != c.want {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestWhereNoRuleIsForANamespaceTheMessageSaysByWhichLabelsRulesSelect(t *testing.T) {
	selector := documents.Selector{
		MatchLabels: map[string]string{"team": "shop", "env": "test"},
		MatchExpressions: []documents.Requirement{
			{Key: "tier", Operator: "In", Values: []string{"a", "b"}}, {Key: "old", Operator: "DoesNotExist"}, {Key: "x", Operator: "Exists"},
			{Key: "y", Operator: "NotIn", Values: []string{"c"}},
		},
	}
	namespaces := documents.Namespaces{Selector: &selector}
	const labels = `rule "shop" selects namespaces by the labels env=test,team=shop,tier in (a,b),!old,x,y notin (c)`
	s := server(func(s *documents.Server, r *documents.ClientRule) {
		r.Namespaces = namespaces
		s.AllowedResourceServers = []documents.ResourceServerRule{{Name: "shop", Namespaces: namespaces}}
	})
	for _, d := range []Decision{
		EvaluateClient(s, map[string]string{}, client(nil), now), EvaluateResourceServer(s, map[string]string{}, documents.ResourceServer{Namespace: "shop"}),
	} {
		if len(d.Denials) != 1 || !strings.Contains(d.Denials[0].Message, `from namespace "shop": `+labels) {
			t.Errorf("%+v", d)
		}
	}
	if d := EvaluateClient(server(nil), nil, client(func(c *documents.Client) { c.Namespace = "other" }), now); strings.Contains(d.Denials[0].Message, "label") {
		t.Errorf("a rule that selects by no label: %+v", d)
	}
}

func TestAnIdentifierMatchesALiteralAHostLabelOrAll(t *testing.T) {
	for _, c := range []struct {
		pattern, identifier string
		want                bool
	}{
		{"*", "urn:x", true}, {"https://h", "https://h", true}, {"https://h", "https://h/", true}, {"https://h/", "https://h", true},
		{"https://h", "https://h/x", false}, {"https://h", "https://h.evil.example", false},
		{"https://*.example.com", "https://orders.example.com", true}, {"https://*.example.com/", "https://orders.example.com", true},
		{"https://*.example.com", "https://orders.example.com/", true}, {"https://*.example.com/v1", "https://orders.example.com/v1", true},
		{"https://*.example.com", "https://a.b.example.com", false}, {"https://*.example.com", "https://.example.com", false},
		{"https://*.example.com", "https://example.com", false}, {"https://*.example.com", "http://orders.example.com", false},
		{"https://*.example.com", "https://orders.example.com.evil", false}, {"https://*.example.com", "https://evil.org/orders.example.com", false},
		{"https://*.example.com", "https://u@orders.example.com", false}, {"https://*.example.com", "https://orders.example.com/v1", false},
		{"https://h*", "https://hx", false}, {"https://*", "https://h", false},
	} {
		if got := matchesIdentifier([]string{"none", c.pattern}, c.identifier); got != c.want {
			t.Errorf("pattern %q, identifier %q: %v", c.pattern, c.identifier, got)
		}
	}
}

func TestAPatternIsALiteralAPrefixOrAHostLabel(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "a", true}, {"a*", "ab", true}, {"a*", "b", false}, {"*", "anything", true},
		{"", "", true}, {"", "a", false}, {"a*b", "axb", false},
	} {
		if got := matchesPattern([]string{"none", c.pattern}, c.value); got != c.want {
			t.Errorf("prefix %q, %q: %v", c.pattern, c.value, got)
		}
	}
	hosts := []string{"*.shop.example", "one.example", "[2001:db8::1]"}
	for host, want := range map[string]bool{
		"a.shop.example": true, "one.example": true, "2001:db8::1": true, "shop.example": false, ".shop.example": false,
		"a.b.shop.example": false, "xshop.example": false, "two.one.example": false, "example": false,
	} {
		if got := matchesHost(hosts, host); got != want {
			t.Errorf("host %q: %v", host, got)
		}
	}
	if !matchesHost([]string{"*"}, "any.example") {
		t.Error("* does not stand for any host")
	}
}

func TestARuleThatListsAuthMethodsAllowsNoOther(t *testing.T) {
	s := server(func(_ *documents.Server, r *documents.ClientRule) {
		r.TokenEndpointAuthMethods = []string{"WorkloadIdentity", "none"}
	})
	if d := EvaluateClient(s, nil, client(func(c *documents.Client) { c.AuthMethod = "none" }), now); !d.Accepted {
		t.Errorf("%+v", d)
	}
	for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt", ""} {
		d := EvaluateClient(s, nil, client(func(c *documents.Client) { c.AuthMethod = method }), now)
		if d.Accepted || d.Denials[0].Rule != "shop" || !strings.Contains(d.Denials[0].Message, "tokenEndpointAuthMethod") {
			t.Errorf("%s: %+v", method, d)
		}
	}
}

func TestARuleThatHasEndedLegacyGrantsLeavesThemToAnother(t *testing.T) {
	legacy := client(func(c *documents.Client) { c.GrantTypes = []string{"authorization_code", "password"} })
	s := server(func(_ *documents.Server, r *documents.ClientRule) {
		r.GrantTypes, r.LegacyUntil = append(r.GrantTypes, "password"), now.Unix()
	})
	before := EvaluateClient(s, nil, legacy, now.Add(-time.Second))
	if !before.Accepted || len(before.EndedGrants) != 0 || before.LegacyUntil != now.Unix() {
		t.Errorf("a second before: %+v", before)
	}
	if d := EvaluateClient(s, nil, legacy, now); !d.Accepted || d.Rule != "shop" || len(d.EndedGrants) != 1 || d.EndedGrants[0] != "password" {
		t.Errorf("then: %+v", d)
	}
	if d := EvaluateClient(s, nil, client(nil), now); !d.Accepted || len(d.EndedGrants) != 0 || d.LegacyUntil != 0 {
		t.Errorf("a client without such a grant: %+v", d)
	}
	if AllowsGrantTypes(s, now, "password") || !AllowsGrantTypes(s, now.Add(-time.Second), "password") || !AllowsGrantTypes(s, now, "authorization_code") {
		t.Error("the metadata would say otherwise")
	}
	other := s.AllowedClients[0]
	other.Name, other.LegacyUntil = "other", 0
	s.AllowedClients = append(s.AllowedClients, other)
	if d := EvaluateClient(s, nil, legacy, now); d.Rule != "other" || len(d.EndedGrants) != 0 {
		t.Errorf("another rule allows it: %+v", d)
	}
	if d := EvaluateClient(s, nil, legacy, now.Add(-time.Second)); d.Rule != "shop" {
		t.Errorf("before, the first rule does: %+v", d)
	}
}

func TestARuleThatTakesAClientOverIsToldBeforeAndAfter(t *testing.T) {
	legacy := client(func(c *documents.Client) { c.GrantTypes = []string{"authorization_code", "password"} })
	until := now.Unix()
	changes := func(at time.Time, change func(first, second *documents.ClientRule)) (last, next RuleChange) {
		s := server(func(s *documents.Server, r *documents.ClientRule) {
			r.GrantTypes, r.LegacyUntil, r.Groups = append(r.GrantTypes, "password"), until, []string{"ops"}
			second := *r
			second.Name, second.LegacyUntil = "second", 0
			change(r, &second)
			s.AllowedClients = []documents.ClientRule{*r, second}
		})
		return RuleChanges(s, nil, legacy, EvaluateClient(s, nil, legacy, at))
	}
	same := RuleChange{From: "shop", To: "second", At: until}
	wide := same
	wide.Widens = true
	for name, test := range map[string]struct {
		change func(first, second *documents.ClientRule)
		want   RuleChange
	}{
		"the same users": {func(_, _ *documents.ClientRule) {}, same},
		"any group":      {func(_, second *documents.ClientRule) { second.Groups = nil }, wide},
		"another group":  {func(_, second *documents.ClientRule) { second.Groups = []string{"ops", "dev"} }, wide},
		"fewer groups":   {func(first, _ *documents.ClientRule) { first.Groups = nil }, same},
		"another provider": {func(first, second *documents.ClientRule) {
			first.IdentityProviders, second.IdentityProviders = []string{"local"}, []string{"local", "acme"}
		}, wide},
		"all providers": {func(first, _ *documents.ClientRule) { first.IdentityProviders = []string{"acme"} }, wide},
		"fewer providers": {func(first, second *documents.ClientRule) {
			first.IdentityProviders, second.IdentityProviders = []string{"local", "acme"}, []string{"acme"}
		}, same},
		"OAuthUsers alone": {func(_, second *documents.ClientRule) { second.IdentityProviders = []string{"local"} }, same},
		"the rule goes on": {func(_, second *documents.ClientRule) { second.GrantTypes = []string{"password"} }, RuleChange{}},
		"it does not end":  {func(first, _ *documents.ClientRule) { first.LegacyUntil = 0 }, RuleChange{}},
	} {
		if last, next := changes(now.Add(-time.Second), test.change); last != (RuleChange{}) || next != test.want {
			t.Errorf("%s: before, %+v and %+v, want %+v to come", name, last, next, test.want)
		}
		if last, next := changes(now, test.change); last != test.want || next != (RuleChange{}) {
			t.Errorf("%s: after, %+v and %+v, want %+v", name, last, next, test.want)
		}
	}
	if text := wide.Describe(); text != `rule "second" allows it and may let users sign in whom rule "shop" does not` {
		t.Error(text)
	}
}

func TestNoClientIsAcceptedWhoseIDBeginsAsTheSubjectsOfUsersFromElsewhere(t *testing.T) {
	s := server(func(_ *documents.Server, r *documents.ClientRule) { r.ClientIDs = []string{"*", "~web", "~*"} })
	d := EvaluateClient(s, nil, client(func(c *documents.Client) { c.ID = "~web" }), now)
	if d.Accepted || len(d.Denials) != 1 || !strings.HasPrefix(d.Denials[0].Message, `clientID: "~web" begins with ~`) {
		t.Errorf("the decision is %+v", d)
	}
}
