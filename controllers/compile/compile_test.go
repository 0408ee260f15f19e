package compile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
)

func server(change func(*v1alpha1.AuthorizationServerSpec)) *v1alpha1.AuthorizationServer {
	as := &v1alpha1.AuthorizationServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: "main", UID: "s"},
		Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com"},
	}
	if change != nil {
		change(&as.Spec)
	}
	return as
}

func user(claims string) *v1alpha1.OAuthUser {
	u := &v1alpha1.OAuthUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: "alice", UID: "u"},
		Spec:       v1alpha1.OAuthUserSpec{Username: "alice"},
	}
	if claims != "" {
		u.Spec.Claims = &runtime.RawExtension{Raw: []byte(claims)}
	}
	return u
}

func selecting(s metav1.LabelSelector) *v1alpha1.RuleNamespaces {
	return &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesSelector, Selector: &s}
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func TestOnlyRotationAlwaysReplacesTheRefreshTokensOfConfidentialClients(t *testing.T) {
	for rotation, want := range map[v1alpha1.RefreshTokenRotation]bool{"": true, v1alpha1.RotatePublicClients: true, v1alpha1.RotateAlways: false} {
		as := server(func(s *v1alpha1.AuthorizationServerSpec) {
			s.Tokens = &v1alpha1.TokenSettings{RefreshToken: &v1alpha1.RefreshTokenSettings{Rotation: rotation}}
		})
		if doc, _ := Server(as, nil); doc.RefreshToken.RotatePublicClientsOnly != want {
			t.Errorf("with rotation %q, those of public clients only: %t, want %t", rotation, !want, want)
		}
	}
}

func TestASelectorWithBadSyntaxIsAFindingThatNamesItsField(t *testing.T) {
	for want, selector := range map[string]metav1.LabelSelector{
		"selector.matchLabels":                     {MatchLabels: map[string]string{"a b": "c"}},
		"selector.matchExpressions[0].key":         {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "-", Operator: metav1.LabelSelectorOpExists}}},
		"selector.matchExpressions[1].values[0]":   {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}, {Key: "a", Operator: metav1.LabelSelectorOpIn, Values: []string{"!"}}}},
		"selector.matchExpressions[0].operator":    {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}},
		"selector.matchExpressions[0].values":      {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpNotIn}}},
		"selector.matchLabels (a value that long)": {MatchLabels: map[string]string{"a": strings.Repeat("v", 64)}},
	} {
		want, _, _ = strings.Cut(want, " ")
		_, findings := Server(server(func(spec *v1alpha1.AuthorizationServerSpec) {
			spec.AllowedClients = []v1alpha1.ClientRule{{Name: "good"}, {Name: "bad", Namespaces: selecting(selector)}}
		}), nil)
		expectFinding(t, findings, "spec.allowedClients[1].namespaces."+want)
		_, findings = Server(server(func(spec *v1alpha1.AuthorizationServerSpec) {
			spec.AllowedResourceServers = []v1alpha1.ResourceServerRule{{Name: "bad", Namespaces: selecting(selector)}}
		}), nil)
		expectFinding(t, findings, "spec.allowedResourceServers[0].namespaces."+want)
		_, findings = ResourceServer(&v1alpha1.ResourceServer{Spec: v1alpha1.ResourceServerSpec{
			AllowedClients: []v1alpha1.ResourceClientRule{{Name: "bad", Namespaces: selecting(selector)}},
		}})
		expectFinding(t, findings, "spec.allowedClients[0].namespaces."+want)
	}
}

func expectFinding(t *testing.T, findings Findings, field string) {
	t.Helper()
	if len(findings) != 1 || findings[0].Field != field || findings[0].Message == "" {
		t.Errorf("findings %+v, want one of field %s", findings, field)
	}
}

func TestTheSameMistakesAreFoundInTheSameOrder(t *testing.T) {
	labels := map[string]string{}
	for i := range 12 {
		labels[fmt.Sprintf("not a label %d", i)] = "a"
	}
	compiled := func() string {
		_, findings := Server(server(func(spec *v1alpha1.AuthorizationServerSpec) {
			spec.AllowedClients = []v1alpha1.ClientRule{{Name: "bad", Namespaces: selecting(metav1.LabelSelector{MatchLabels: labels})}}
		}), nil)
		return findings.String()
	}
	first := compiled()
	for range 20 {
		if again := compiled(); again != first {
			t.Fatalf("once\n%s\nthen\n%s", first, again)
		}
	}
}

func TestFindingsFitIntoACondition(t *testing.T) {
	var findings Findings
	for range 1000 {
		findings = append(findings, Finding{"spec.allowedClients[0]", strings.Repeat("ü", 10_000)})
	}
	text := findings.String()
	if len(text) > 8192 || !utf8.ValidString(text) || !strings.HasSuffix(text, "; and 992 more") {
		t.Errorf("%d bytes: %.80s ... %s", len(text), text, text[len(text)-20:])
	}
	if text := (Findings{{"spec.a", "is wrong"}, {"spec.b", "too"}}).String(); text != "spec.a: is wrong; spec.b: too" {
		t.Error(text)
	}
}

func TestADocumentThatFitsIntoNoEntryIsAFinding(t *testing.T) {
	rules := make([]v1alpha1.ResourceClientRule, 64)
	for i := range rules {
		for j := range 64 {
			rules[i].Scopes = append(rules[i].Scopes, fmt.Sprintf("%d-%d-%s", i, j, strings.Repeat("s", 248)))
		}
	}
	_, findings := ResourceServer(&v1alpha1.ResourceServer{Spec: v1alpha1.ResourceServerSpec{AllowedClients: rules}})
	expectFinding(t, findings, "spec")
	clientRules := make([]v1alpha1.ClientRule, 64)
	for i := range clientRules {
		clientRules[i].Scopes = rules[i].Scopes
	}
	_, findings = Server(server(func(spec *v1alpha1.AuthorizationServerSpec) { spec.AllowedClients = clientRules }), nil)
	expectFinding(t, findings, "spec")
}

func TestARuleWithoutNamespacesAdmitsItsOwnAlone(t *testing.T) {
	own := documents.Namespaces{Names: []string{"identity"}}
	for name, n := range map[string]*v1alpha1.RuleNamespaces{
		"left out":                    nil,
		"empty":                       {},
		"Same":                        {From: v1alpha1.NamespacesSame},
		"Selector without a selector": {From: v1alpha1.NamespacesSelector},
		"a value of a later version":  {From: "Other", Selector: &metav1.LabelSelector{}},
	} {
		doc, findings := Server(server(func(spec *v1alpha1.AuthorizationServerSpec) {
			spec.AllowedClients = []v1alpha1.ClientRule{{Name: "rule", Namespaces: n}}
			spec.AllowedResourceServers = []v1alpha1.ResourceServerRule{{Name: "rule", Namespaces: n}}
		}), nil)
		if len(findings) > 0 || !reflect.DeepEqual(doc.AllowedClients[0].Namespaces, own) || !reflect.DeepEqual(doc.AllowedResourceServers[0].Namespaces, own) {
			t.Errorf("%s: %+v, %+v, %s", name, doc.AllowedClients[0].Namespaces, doc.AllowedResourceServers[0].Namespaces, findings)
		}
	}
}

func TestLegacyGrantsAreAllowedOnlyWhereTheyAreListed(t *testing.T) {
	doc, _ := Server(server(func(spec *v1alpha1.AuthorizationServerSpec) {
		spec.AllowedClients = []v1alpha1.ClientRule{{Name: "silent"}, {Name: "listed", GrantTypes: []v1alpha1.GrantType{"implicit", "password"}}}
	}), nil)
	if got := doc.AllowedClients[0].GrantTypes; !slices.Equal(got, []string{"authorization_code", "client_credentials", "refresh_token"}) {
		t.Errorf("by default: %q", got)
	}
	if got := doc.AllowedClients[1].GrantTypes; !slices.Equal(got, []string{"implicit", "password"}) {
		t.Errorf("listed: %q", got)
	}
}

func TestLifetimesHaveTheirDefaultsAndIdleNeverExceedsAbsolute(t *testing.T) {
	const day = documents.Seconds(24 * 3600)
	for name, c := range map[string]struct {
		change                                               func(*v1alpha1.AuthorizationServerSpec)
		refreshIdle, refreshAbsolute, sessionIdle, sessionAb documents.Seconds
	}{
		"nothing":       {nil, 30 * day, 90 * day, day / 3, day},
		"empty objects": {func(s *v1alpha1.AuthorizationServerSpec) { set(s, nil, nil, nil, nil) }, 30 * day, 90 * day, day / 3, day},
		"short absolute caps the default of idle": {func(s *v1alpha1.AuthorizationServerSpec) {
			set(s, nil, duration(time.Hour), nil, duration(time.Minute))
		}, 3600, 3600, 60, 60},
		"idle alone": {func(s *v1alpha1.AuthorizationServerSpec) {
			set(s, duration(time.Hour), nil, duration(time.Minute), nil)
		}, 3600, 90 * day, 60, day},
		"both": {func(s *v1alpha1.AuthorizationServerSpec) {
			set(s, duration(time.Hour), duration(2*time.Hour), duration(time.Minute), duration(2*time.Minute))
		}, 3600, 7200, 60, 120},
	} {
		doc, _ := Server(server(c.change), nil)
		got := []documents.Seconds{doc.RefreshToken.IdleLifetime, doc.RefreshToken.AbsoluteLifetime, doc.SessionIdleLifetime, doc.SessionAbsoluteLifetime}
		if want := []documents.Seconds{c.refreshIdle, c.refreshAbsolute, c.sessionIdle, c.sessionAb}; !slices.Equal(got, want) {
			t.Errorf("%s: refresh idle and absolute, session idle and absolute %d, want %d", name, got, want)
		}
		if doc.AccessTokenLifetime != 300 || doc.AuthorizationCodeLifetime != 60 || doc.RefreshToken.ReuseGracePeriod != 60 {
			t.Errorf("%s: %+v", name, doc)
		}
	}
}

func set(spec *v1alpha1.AuthorizationServerSpec, refreshIdle, refreshAbsolute, sessionIdle, sessionAbsolute *metav1.Duration) {
	spec.Tokens = &v1alpha1.TokenSettings{RefreshToken: &v1alpha1.RefreshTokenSettings{IdleLifetime: refreshIdle, AbsoluteLifetime: refreshAbsolute}}
	spec.Sessions = &v1alpha1.SessionSettings{IdleLifetime: sessionIdle, AbsoluteLifetime: sessionAbsolute}
}

func TestAGracePeriodOfZeroTurnsItOff(t *testing.T) {
	doc, _ := Server(server(func(s *v1alpha1.AuthorizationServerSpec) {
		s.Tokens = &v1alpha1.TokenSettings{RefreshToken: &v1alpha1.RefreshTokenSettings{ReuseGracePeriod: duration(0)}}
	}), nil)
	if doc.RefreshToken.ReuseGracePeriod != 0 {
		t.Errorf("%d s", doc.RefreshToken.ReuseGracePeriod)
	}
}

func TestTheLongestTokenIsWhatAnyRuleAllows(t *testing.T) {
	doc, _ := Server(server(func(s *v1alpha1.AuthorizationServerSpec) {
		s.AllowedClients = []v1alpha1.ClientRule{
			{Name: "a"}, {Name: "b", MaxAccessTokenLifetime: duration(2 * time.Hour)}, {Name: "c", MaxAccessTokenLifetime: duration(time.Second)},
		}
	}), nil)
	if got := LongestToken(doc); got != 2*time.Hour {
		t.Errorf("longest token %s", got)
	}
	if doc, _ = Server(server(nil), nil); LongestToken(doc) != 5*time.Minute {
		t.Errorf("longest token without such a rule %s", LongestToken(doc))
	}
}

func TestTheLongestSealedIsWhateverOutlivesAllOthers(t *testing.T) {
	short := func(doc *documents.Server) {
		doc.RefreshToken.AbsoluteLifetime, doc.SessionAbsoluteLifetime, doc.AuthorizationCodeLifetime, doc.AccessTokenLifetime = 1, 1, 1, 1
	}
	for name, c := range map[string]struct {
		change func(*documents.Server)
		want   time.Duration
	}{
		"refresh token":        {func(doc *documents.Server) { doc.RefreshToken.AbsoluteLifetime = 7201 }, 7201 * time.Second},
		"session":              {func(doc *documents.Server) { doc.SessionAbsoluteLifetime = 7202 }, 7202 * time.Second},
		"code":                 {func(doc *documents.Server) { doc.AuthorizationCodeLifetime = 7203 }, 7203 * time.Second},
		"id of a token":        {func(doc *documents.Server) { doc.AccessTokenLifetime = 7204 }, 7204 * time.Second},
		"id of a rule's token": {func(doc *documents.Server) { doc.AllowedClients[0].MaxAccessTokenLifetime = 7205 }, 7205 * time.Second},
		"a login under way":    {func(*documents.Server) {}, interaction.Lifetime},
	} {
		doc, _ := Server(server(nil), nil)
		short(&doc)
		c.change(&doc)
		if got := LongestSealed(doc); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestOnlyAlgorithmsWithAKeyThatMaySignAreServed(t *testing.T) {
	key := func(kid, algorithm, phase string) documents.Key {
		return documents.Key{KID: kid, Algorithm: algorithm, Phase: phase}
	}
	active, other := key("r", "RS256", documents.KeyActive), key("e", "ES256", documents.KeyActive)
	for name, c := range map[string]struct {
		keys []documents.Key
		want []string
	}{
		"both":             {[]documents.Key{active, other}, []string{"ES256", "RS256"}},
		"one is published": {[]documents.Key{active, key("e", "ES256", documents.KeyPublished)}, []string{"RS256"}},
		"one is retiring":  {[]documents.Key{active, key("e", "ES256", documents.KeyRetiring)}, []string{"RS256"}},
		"one is revoked":   {[]documents.Key{active, key("revoked", "ES256", documents.KeyActive)}, []string{"RS256"}},
		"an unwanted one":  {[]documents.Key{active, key("x", "PS256", documents.KeyActive)}, []string{"RS256"}},
		"none":             {nil, nil},
	} {
		doc, _ := Server(server(func(s *v1alpha1.AuthorizationServerSpec) {
			s.Signing = &v1alpha1.SigningSettings{RevokedKeys: []string{"revoked"}}
		}), c.keys)
		if !slices.Equal(doc.Algorithms, c.want) {
			t.Errorf("%s: %q, want %q", name, doc.Algorithms, c.want)
		}
	}
}

func TestTheFirstAlgorithmStaysTheFirst(t *testing.T) {
	as := server(func(s *v1alpha1.AuthorizationServerSpec) {
		s.Signing = &v1alpha1.SigningSettings{Algorithms: []v1alpha1.SigningAlgorithm{"RS256", "ES256"}}
	})
	if got := Algorithms(as); !slices.Equal(got, []string{"RS256", "ES256"}) {
		t.Errorf("%q", got)
	}
	if got := Algorithms(server(nil)); !slices.Equal(got, []string{"ES256", "RS256"}) {
		t.Errorf("by default %q", got)
	}
}

func TestAClaimThatTheProtocolSetsIsRefusedByName(t *testing.T) {
	for _, name := range []string{
		"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "may_act", "cnf",
		"events", "at_hash", "c_hash", "s_hash", "identity_provider", "SUB", "Iss", "\u017fub", // the last is an "s" to who ignores letter case
	} {
		_, findings := User(user(fmt.Sprintf(`{"name":"Alice",%q:1}`, name)))
		expectFinding(t, findings, "spec.claims."+name)
	}
	if _, findings := User(user(`{"name":"Alice","subject":"a","address":{"sub":"inside is free"},"roles":["aud"]}`)); len(findings) > 0 {
		t.Errorf("claims that are free: %s", findings)
	}
}

func TestStandardClaimsHaveTheirTypes(t *testing.T) {
	right := `{"name":"Alice","name#ja":"アリス","email":"a@example.com","email_verified":true,"phone_number_verified":false,"updated_at":1311280970,
		"address":{"country":"NL","region":null,"house":7},"groups":["admins"],"nickname":null,"roles":"any","level":[1]}`
	if _, findings := User(user(right)); len(findings) > 0 {
		t.Errorf("right types: %s", findings)
	}
	for claims, field := range map[string]string{
		`{"email_verified":"true"}`:         "spec.claims.email_verified",
		`{"Email_Verified":"true"}`:         "spec.claims.Email_Verified",
		`{"phone_number_verified":1}`:       "spec.claims.phone_number_verified",
		`{"groups":"admins"}`:               "spec.claims.groups",
		`{"groups":["admins",7]}`:           "spec.claims.groups",
		`{"groups":[null]}`:                 "spec.claims.groups",
		`{"groups":{"admins":true}}`:        "spec.claims.groups",
		`{"name":7}`:                        "spec.claims.name",
		`{"name#ja":["a"]}`:                 "spec.claims.name#ja",
		`{"email":["a@example.com"]}`:       "spec.claims.email",
		`{"updated_at":"2026-01-01"}`:       "spec.claims.updated_at",
		`{"address":"Main Street 1"}`:       "spec.claims.address",
		`{"address":{"postal_code":12345}}`: "spec.claims.address.postal_code",
		`{"birthdate":19800101}`:            "spec.claims.birthdate",
	} {
		_, findings := User(user(claims))
		expectFinding(t, findings, field)
		if len(findings) != 1 || !strings.Contains(findings.String(), "must be ") {
			t.Errorf("%s: %s", claims, findings)
		}
	}
}

func TestClaimsAreBoundedInBytesAndDepth(t *testing.T) {
	nested := func(levels int) string {
		return `{"a":` + strings.Repeat(`[`, levels-1) + strings.Repeat(`]`, levels-1) + `}`
	}
	long := func(bytes int) string { return `{"a":"` + strings.Repeat("b", bytes-8) + `"}` }
	for _, claims := range []string{"", "null", "{}", nested(maxClaimsDepth), long(maxClaimsBytes), `{"a":{"b":{"c":[{"d":[{"e":{}}]}]}}}`} {
		if _, findings := User(user(claims)); len(findings) > 0 {
			t.Errorf("%.40s (%d bytes): %s", claims, len(claims), findings)
		}
	}
	for _, claims := range []string{
		nested(maxClaimsDepth + 1), nested(20_000), long(maxClaimsBytes + 1), `{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{}}}}}}}}}`,
		`[]`, `"name"`, `7`, `{`, `{} {}`,
	} {
		doc, findings := User(user(claims))
		expectFinding(t, findings, "spec.claims")
		if len(claims) > maxClaimsBytes && doc.Claims != nil {
			t.Error("claims that are too long are in the document")
		}
	}
}

func TestNumbersInClaimsKeepTheirDigits(t *testing.T) {
	doc, _ := User(user(`{"employee":9007199254740993,"level":1.50}`))
	text, err := documents.Encode(doc)
	if err != nil || !strings.Contains(text, `"claims":{"employee":9007199254740993,"level":1.50}`) {
		t.Error(text, err)
	}
}

func TestAUsernameIsClaimedInItsNormalForm(t *testing.T) {
	u := user("")
	for name, want := range map[string]string{"Alice": "alice", "BÜCHER@Example.com": "bücher@example.com", "bu\u0308cher": "bücher"} {
		u.Spec.Username = name
		if doc, findings := User(u); doc.Username != want || len(findings) > 0 {
			t.Errorf("%q becomes %q (%s), want %q", name, doc.Username, findings, want)
		}
	}
	for _, name := range []string{"", "a b", "\u2163", strings.Repeat("a", 257)} {
		u.Spec.Username = name
		_, findings := User(u)
		expectFinding(t, findings, "spec.username")
	}
}

func TestASubjectIsTheUIDUnlessOneIsSet(t *testing.T) {
	u := user("")
	if got := Subject(u); got != "u" {
		t.Errorf("by default %q", got)
	}
	if u.Spec.Subject = "alice-1"; Subject(u) != "alice-1" {
		t.Errorf("set %q", Subject(u))
	}
}

func TestAPublicClientHasNoSecretAndFromSecretIsCopiedOnlyToATarget(t *testing.T) {
	target := &v1alpha1.SecretTarget{Name: "elsewhere"}
	for name, c := range map[string]struct {
		method v1alpha1.TokenEndpointAuthMethod
		secret *v1alpha1.ClientSecret
		want   string
	}{
		"public":                       {v1alpha1.AuthMethodNone, nil, ""},
		"default":                      {v1alpha1.AuthMethodBasic, nil, "web-oauth"},
		"generated":                    {v1alpha1.AuthMethodPost, &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate}, "web-oauth"},
		"generated, with a target":     {v1alpha1.AuthMethodPost, &v1alpha1.ClientSecret{Source: v1alpha1.SecretGenerate, Target: target}, "elsewhere"},
		"from a Secret":                {v1alpha1.AuthMethodBasic, &v1alpha1.ClientSecret{Source: v1alpha1.SecretFromSecret}, ""},
		"from a Secret, with a target": {v1alpha1.AuthMethodBasic, &v1alpha1.ClientSecret{Source: v1alpha1.SecretFromSecret, Target: target}, "elsewhere"},
	} {
		got := SecretTarget(&v1alpha1.OAuthClient{
			ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: v1alpha1.OAuthClientSpec{TokenEndpointAuthMethod: c.method, Secret: c.secret},
		})
		if (got == nil) != (c.want == "") || got != nil && got.Name != c.want {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

func TestAResourceServerDeclaresOnlyTheScopesThatItHolds(t *testing.T) {
	doc := documents.ResourceServer{Name: "orders", Scopes: []documents.Scope{{Name: "a"}, {Name: "b", Description: "B"}, {Name: "c"}}}
	got := WithScopes(doc, []string{"c", "b", "x"})
	if want := []documents.Scope{{Name: "b", Description: "B"}, {Name: "c"}}; !reflect.DeepEqual(got.Scopes, want) || got.Name != "orders" {
		t.Errorf("%+v", got)
	}
	if len(doc.Scopes) != 3 || doc.Scopes[0].Name != "a" {
		t.Errorf("the document that was given is now %+v", doc)
	}
	if got := WithScopes(doc, nil); got.Scopes != nil {
		t.Errorf("of none %+v", got)
	}
}

func TestTwoClaimsAreOneEntryOnlyIfTheyAreOneName(t *testing.T) {
	names := map[string]string{}
	for _, c := range []struct {
		server types.UID
		claim  Name
	}{
		{"s", Name{"identity", "a"}}, {"t", Name{"identity", "a"}}, {"s", Name{"scope", "a"}}, {"s", Name{"identity", "b"}},
		{"s", Name{"identity", "A"}}, {"s", Name{"identitya", ""}}, {"sidentity", Name{"", "a"}}, {"s", Name{"", "identitya"}},
	} {
		name := EntryName(c.server, c.claim)
		if other, twice := names[name]; twice {
			t.Errorf("%+v has the name of %s", c, other)
		}
		names[name] = fmt.Sprint(c)
	}
}

func TestAnEntryNamesItsOwnerAndGoesWithItsServer(t *testing.T) {
	as := server(nil)
	owner := OwnerOf(&v1alpha1.OAuthClient{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "c"}})
	document := documents.Client{ID: "shop.web"}
	text, err := documents.Encode(document)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEntry(as, Name{internalv1alpha1.SpaceIdentity, "shop.web"}, owner, document)
	if err != nil {
		t.Fatal(err)
	}
	want := internalv1alpha1.EntrySpec{
		ServerUID: "s", Space: internalv1alpha1.SpaceIdentity, Value: "shop.web", Format: documents.FormatClient, Document: text,
		Owner: internalv1alpha1.Owner{Kind: "OAuthClient", Namespace: "shop", Name: "web", UID: "c"},
	}
	if e.Spec != want || e.Namespace != as.Namespace || e.Name != EntryName("s", Name{internalv1alpha1.SpaceIdentity, "shop.web"}) {
		t.Errorf("%+v", e)
	}
	if e.Labels[internalv1alpha1.ServerUIDLabel] != "s" || len(e.OwnerReferences) != 1 || e.OwnerReferences[0].UID != as.UID ||
		e.OwnerReferences[0].Kind != "AuthorizationServer" || e.OwnerReferences[0].APIVersion != "oauth-operator.dev/v1alpha1" {
		t.Errorf("%+v", e.ObjectMeta)
	}
}
