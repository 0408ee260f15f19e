package explain

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// objects returns an applied client and its server, which accepts it.
func objects(change func(*Objects)) Objects {
	rule := v1alpha1.ClientRule{Name: "all", Namespaces: &v1alpha1.RuleNamespaces{From: v1alpha1.NamespacesAll}}
	o := Objects{
		Client: &v1alpha1.OAuthClient{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web-uid", Generation: 1},
			Spec: v1alpha1.OAuthClientSpec{
				ServerRef: v1alpha1.ServerReference{Name: "main", Namespace: "identity"}, GrantTypes: []v1alpha1.GrantType{"client_credentials"},
				TokenEndpointAuthMethod: "client_secret_basic",
			},
		},
		Applied: true,
		Server: &v1alpha1.AuthorizationServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: "main"},
			Spec:       v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com", AllowedClients: []v1alpha1.ClientRule{rule}},
		},
		AllResourceServers: true, Now: now,
	}
	for _, conditionType := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionCredentialsReady, v1alpha1.ConditionProgrammed} {
		o.setCondition(conditionType, metav1.ConditionTrue, "", "")
	}
	if change != nil {
		change(&o)
	}
	return o
}

func (o *Objects) setCondition(conditionType string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&o.Client.Status.Conditions, metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message, ObservedGeneration: 1})
}

func fields(reasons []Reason) (list []string) {
	for _, r := range reasons {
		list = append(list, r.Object+" "+r.Field)
	}
	return list
}

func TestADenialNamesTheFieldThatCanBeChanged(t *testing.T) {
	const server, client = "AuthorizationServer identity/main ", "OAuthClient shop/web "
	for want, change := range map[string]func(*Objects){
		server + "spec.allowedClients[all]": func(o *Objects) {
			o.Server.Spec.AllowedClients[0].GrantTypes = []v1alpha1.GrantType{"password"}
		},
		server + "spec.allowedClients": func(o *Objects) { o.Server.Spec.AllowedClients[0].Namespaces.From = v1alpha1.NamespacesSame },
		server + "spec.signing.algorithms": func(o *Objects) {
			o.Client.Spec.Scopes, o.Client.Spec.IDTokenSignedResponseAlg = []string{"openid"}, "EdDSA"
		},
		server + "spec.workloadIssuers": func(o *Objects) {
			o.Client.Spec.TokenEndpointAuthMethod = v1alpha1.AuthMethodWorkloadIdentity
			o.Client.Spec.WorkloadIdentities = []v1alpha1.WorkloadIdentity{{Issuer: "ci", Subject: "x"}}
		},
		client + "spec.clientID": func(o *Objects) {
			o.Client.Spec.ClientID, o.Server.Spec.AllowedClients[0].ClientIDs = "~x", []string{"*"}
		},
	} {
		a := Explain(objects(change), Query{})
		if got := fields(a.Reasons); !slices.Equal(got, []string{want}) || a.Succeeds != No {
			t.Errorf("%q %s, want %s", got, a.Succeeds, want)
		}
	}
}

func TestAllThatIsWrongIsListed(t *testing.T) {
	o := objects(func(o *Objects) {
		o.setCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonClientIDTaken, "taken")
		o.setCondition(v1alpha1.ConditionCredentialsReady, metav1.ConditionFalse, v1alpha1.ReasonSecretExists, "exists")
	})
	if got := fields(Explain(o, Query{}).Reasons); len(got) != 2 || !strings.HasSuffix(got[0], "[Accepted]") || !strings.HasSuffix(got[1], "[CredentialsReady]") {
		t.Errorf("the reasons are %q", got)
	}
}

func TestWhatDoesNotWorkDoesNotEndSoon(t *testing.T) {
	later := metav1.NewTime(now.Add(time.Hour))
	ends := func(o *Objects) {
		o.Client.Status.Credentials = []v1alpha1.CredentialStatus{{ID: "c-1", State: v1alpha1.CredentialRetiring, RetireAfter: &later}}
	}
	if a := Explain(objects(ends), Query{}); len(a.EndsSoon) != 1 {
		t.Errorf("a client that works: %+v", a)
	}
	refused := objects(func(o *Objects) { ends(o); o.Server.Spec.AllowedClients[0].Namespaces.From = v1alpha1.NamespacesSame })
	if a := Explain(refused, Query{}); a.Succeeds != No || len(a.EndsSoon) > 0 {
		t.Errorf("a client that is refused: %+v", a)
	}
}

func TestARuleThatTakesALegacyGrantOverIsToldBeforeAndAfter(t *testing.T) {
	until := metav1.NewTime(now)
	at := func(offset time.Duration) Answer {
		return Explain(objects(func(o *Objects) {
			o.Now = now.Add(offset)
			o.Client.Spec.GrantTypes = []v1alpha1.GrantType{"password"}
			first := o.Server.Spec.AllowedClients[0]
			first.GrantTypes = o.Client.Spec.GrantTypes
			second := first
			first.LegacyUntil, second.Name = &until, "second"
			o.Server.Spec.AllowedClients = []v1alpha1.ClientRule{first, second}
		}), Query{})
	}
	if a := at(-time.Hour); len(a.EndsSoon) != 1 || !strings.Contains(a.EndsSoon[0].Message, `ends password, and from then on rule "second" allows it`) || len(a.Notes) > 0 {
		t.Errorf("before: %+v", a)
	}
	if a := at(time.Hour); a.Succeeds != Yes || len(a.EndsSoon) > 0 || len(a.Notes) != 1 || !strings.Contains(a.Notes[0], `when rule "all" ended password, rule "second" allows it`) {
		t.Errorf("after: %+v", a)
	}
}

// The message of a condition may quote another program, and the caller's terminal obeys escapes.
func TestNothingThatAnObjectSaysReachesTheTerminalRaw(t *testing.T) {
	const raw = "x\x1b]0;owned\a\nOAuthClient shop/web works\u009b31m"
	a := Answer{
		Reasons: []Reason{{Object: "o", Field: "f", Message: raw}}, EndsSoon: []End{{At: now, Object: "o", Field: "f", Message: raw}}, Notes: []string{raw},
		GrantTypes: []GrantTypeAnswer{{GrantType: "password", Reasons: []Reason{{Object: "o", Field: "f", Message: raw}}}},
	}
	var out bytes.Buffer
	a.Print(&out)
	if strings.ContainsAny(out.String(), "\x1b\a\u009b") || strings.Contains(out.String(), "\nOAuthClient shop/web works") || strings.Count(out.String(), `x\x1b]0;owned\a\nOAuthClient`) != 4 {
		t.Errorf("it prints %q", out.String())
	}
}

func TestTheUsersWhoMaySignInAreThoseOfTheRule(t *testing.T) {
	provider := func(name string, clients v1alpha1.ProviderClients, status metav1.ConditionStatus) v1alpha1.IdentityProvider {
		return v1alpha1.IdentityProvider{
			ObjectMeta: metav1.ObjectMeta{Namespace: "identity", Name: name, UID: types.UID(name)}, Spec: v1alpha1.IdentityProviderSpec{Clients: clients},
			Status: v1alpha1.IdentityProviderStatus{Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue},
				{Type: v1alpha1.ConditionResolvedRefs, Status: metav1.ConditionFalse, Reason: "SecretNotFound"},
				{Type: v1alpha1.ConditionAvailable, Status: status, Reason: "Unreachable"},
			}},
		}
	}
	base := func(change func(*Objects)) Objects {
		return objects(func(o *Objects) {
			o.Client.Spec.GrantTypes = []v1alpha1.GrantType{"authorization_code", "refresh_token", "password"}
			o.Server.Spec.AllowedClients[0].GrantTypes = o.Client.Spec.GrantTypes
			o.Client.Spec.RedirectURIs = []string{"https://shop.example.com/callback"}
			o.IdentityProviders = []v1alpha1.IdentityProvider{
				provider("acme", v1alpha1.ProviderClientsListed, metav1.ConditionTrue), provider("partners", v1alpha1.ProviderClientsAll, metav1.ConditionTrue),
				provider("away", v1alpha1.ProviderClientsListed, metav1.ConditionFalse),
			}
			o.AllIdentityProviders = true
			change(o)
		})
	}
	list := func(o *Objects, names ...v1alpha1.RuleName) {
		o.Server.Spec.AllowedClients[0].IdentityProviders = names
	}
	manifest := func(o *Objects, allow string) {
		list(o, "acme")
		o.IdentityProviders[0].UID, o.IdentityProviders[0].Spec.Allow = "", allow
	}
	for name, test := range map[string]struct {
		change       func(*Objects)
		want, grants string // grants: authorization_code, refresh_token and password
	}{
		"by default":       {func(*Objects) {}, "local Yes, partners Yes", "Yes Yes Yes"},
		"one is away":      {func(o *Objects) { list(o, "acme", "away") }, "acme Yes, away No", "Yes Yes No"},
		"all are away":     {func(o *Objects) { list(o, "away") }, "away No", "No Yes No"},
		"absent":           {func(o *Objects) { list(o, "acne", "local") }, "acne No, local Yes", "Yes Yes Yes"},
		"alone and absent": {func(o *Objects) { list(o, "acne") }, "acne No", "No No No"},
		"not known":        {func(o *Objects) { list(o, "acme"); o.IdentityProviders, o.AllIdentityProviders = nil, false }, "acme Unknown", "Unknown Unknown No"},
		"suspended":        {func(o *Objects) { list(o, "acme"); o.IdentityProviders[0].Spec.Suspended = true }, "acme No", "No No No"},
		"not accepted": {func(o *Objects) {
			list(o, "acme")
			o.IdentityProviders[0].Status.Conditions[0].Status = metav1.ConditionFalse
		}, "acme No", "No No No"},
		"not reported on":       {func(o *Objects) { list(o, "acme"); o.IdentityProviders[0].Generation = 2 }, "acme Unknown", "Unknown Unknown No"},
		"in the manifest":       {func(o *Objects) { manifest(o, "true") }, "acme Yes", "Yes Yes No"},
		"wrong in the manifest": {func(o *Objects) { manifest(o, "upstream.(") }, "acme No", "No No No"},
		"without sign-in": {func(o *Objects) {
			o.Client.Spec.GrantTypes = []v1alpha1.GrantType{"client_credentials"}
			o.Server.Spec.AllowedClients[0].GrantTypes = nil
		}, "", "Yes"},
		"by the condition alone": {func(o *Objects) {
			o.Server = nil
			o.setCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoIdentityProvider, "none is in service")
		}, "", "No No No"},
	} {
		answer := Explain(base(test.change), Query{})
		var got, grants []string
		if answer.Users != nil {
			for _, p := range answer.Users.IdentityProviders {
				got = append(got, p.Name+" "+string(p.Succeeds))
				if (p.Reason == nil) != (p.Succeeds == Yes) {
					t.Errorf("%s: the reason of %s is %v", name, p.Name, p.Reason)
				}
			}
		}
		for _, g := range answer.GrantTypes {
			grants = append(grants, string(g.Succeeds))
			if g.Succeeds != Yes && len(g.Reasons) == 0 {
				t.Errorf("%s: %s has no reason", name, g.GrantType)
			}
		}
		if strings.Join(got, ", ") != test.want || strings.Join(grants, " ") != test.grants {
			t.Errorf("%s: %q and %q, want %s and %s", name, got, grants, test.want, test.grants)
		}
	}
	var out bytes.Buffer
	Explain(base(func(o *Objects) { list(o, "acne"); o.Server.Spec.AllowedClients[0].Groups = []string{"acme:ops"} }), Query{}).Print(&out)
	if text := out.String(); !strings.Contains(text, "acne       No            acme:ops") || !strings.Contains(text, `spec.allowedClients[all].identityProviders: the server has no IdentityProvider "acne"`) {
		t.Errorf("it prints %s", text)
	}
}
