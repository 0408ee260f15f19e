package v1alpha1_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestWhatOthersRelyOnCannotBeChanged(t *testing.T) {
	const server, client, api, user, provider = "AuthorizationServer", "OAuthClient", "ResourceServer", "OAuthUser", "IdentityProvider"
	type spec = map[string]any
	oidc := func(more spec) spec {
		s := spec{"issuer": "https://login.acme.example", "clientID": "us", "clientSecretRef": spec{"name": "acme", "key": "secret"}}
		maps.Copy(s, more)
		return s
	}
	ldap := func(attribute string) spec {
		return spec{
			"url": "ldaps://ldap.acme.example", "bind": spec{"dn": "cn=reader,dc=acme", "passwordSecretRef": spec{"name": "acme", "key": "password"}},
			"users": spec{"baseDN": "dc=acme", "filter": "(uid=$(username))", "subjectAttribute": attribute},
		}
	}
	directory := spec{"type": "LDAP", "realm": "ldaps://acme.example", "oidc": nil, "ldap": ldap("entryUUID")}
	namespace := newNamespace(t)
	for i, test := range []struct {
		name, kind    string
		before, after spec // fields of spec; nil: without the field
		want          string
	}{
		{"issuer", server, nil, spec{"issuer": "https://other.example.com"}, "issuer is immutable"},
		{"issuer to another spelling", server, nil, spec{"issuer": "https://auth.example.com/a"}, "issuer is immutable"},

		{"type of a workload issuer", server, spec{"workloadIssuers": []any{spec{"name": "ci", "type": "Kubernetes"}}},
			spec{"workloadIssuers": []any{spec{"name": "ci", "type": "JWT", "jwt": spec{"issuer": "https://ci.example.com"}}}}, "type is immutable"},
		{"issuer of a workload issuer", server, spec{"workloadIssuers": []any{spec{"name": "ci", "type": "JWT", "jwt": spec{"issuer": "https://ci.example.com"}}}},
			spec{"workloadIssuers": []any{spec{"name": "ci", "type": "JWT", "jwt": spec{"issuer": "https://ci.example.com/"}}}}, "jwt.issuer is immutable"},

		{"serverRef of a client", client, nil, spec{"serverRef": spec{"name": "other"}}, "serverRef is immutable"},
		{"namespace appears in serverRef of a client", client, nil, spec{"serverRef": spec{"name": "main", "namespace": "identity"}}, "serverRef is immutable"},
		{"namespace disappears from serverRef of a client", client, spec{"serverRef": spec{"name": "main", "namespace": "identity"}}, spec{"serverRef": spec{"name": "main"}}, "serverRef is immutable"},
		{"namespace in serverRef of a client", client, spec{"serverRef": spec{"name": "main", "namespace": "identity"}}, spec{"serverRef": spec{"name": "main", "namespace": "other"}}, "serverRef is immutable"},
		{"clientID", client, spec{"clientID": "a"}, spec{"clientID": "b"}, "clientID is immutable"},
		{"clientID appears", client, nil, spec{"clientID": "a"}, "clientID is immutable"},
		{"clientID disappears", client, spec{"clientID": "a"}, spec{"clientID": nil}, "clientID is immutable"},

		{"serverRef of an API", api, nil, spec{"serverRef": spec{"name": "other"}}, "serverRef is immutable"},
		{"namespace appears in serverRef of an API", api, nil, spec{"serverRef": spec{"name": "main", "namespace": "identity"}}, "serverRef is immutable"},
		{"namespace disappears from serverRef of an API", api, spec{"serverRef": spec{"name": "main", "namespace": "identity"}}, spec{"serverRef": spec{"name": "main"}}, "serverRef is immutable"},
		{"identifier", api, nil, spec{"identifier": "https://orders.example.com/"}, "identifier is immutable"},

		{"serverRef of a user", user, nil, spec{"serverRef": spec{"name": "other"}}, "serverRef is immutable"},
		{"subject", user, spec{"subject": "1"}, spec{"subject": "2"}, "subject is immutable"},
		{"subject appears", user, nil, spec{"subject": "1"}, "subject is immutable"},
		{"subject disappears", user, spec{"subject": "1"}, spec{"subject": nil}, "subject is immutable"},

		{"serverRef of a provider", provider, nil, spec{"serverRef": spec{"name": "other"}}, "serverRef is immutable"},
		{"realm", provider, spec{"realm": "https://a.example"}, spec{"realm": "https://b.example"}, "realm is immutable"},
		{"realm appears", provider, nil, spec{"realm": "https://login.acme.example"}, "realm is immutable"},
		{"realm disappears", provider, spec{"realm": "https://login.acme.example"}, spec{"realm": nil}, "realm is immutable"},
		{"issuer of a provider", provider, nil, spec{"oidc": oidc(spec{"issuer": "https://login.acme.example/"})}, "issuer is immutable"},
		{"subjectClaim appears", provider, nil, spec{"oidc": oidc(spec{"subjectClaim": "oid"})}, "subjectClaim is immutable"},
		{"subjectClaim disappears", provider, spec{"oidc": oidc(spec{"subjectClaim": "oid"})}, spec{"oidc": oidc(nil)}, "subjectClaim is immutable"},
		{"type of a provider", provider, spec{"realm": "ldaps://acme.example"}, directory, "type is immutable"},
		{"subjectAttribute", provider, directory, spec{"ldap": ldap("objectGUID")}, "subjectAttribute is immutable"},
		{"the default subjectClaim, written out", provider, nil, spec{"oidc": oidc(spec{"subjectClaim": "sub"})}, ""},
		{"all else of a provider", provider, spec{"realm": "https://a.example"}, spec{"allow": "false", "clients": "All", "oidc": oidc(spec{"clientID": "we"})}, ""},

		{"rules", server, nil, spec{"allowedClients": []any{spec{"name": "all", "namespaces": spec{"from": "All"}}}}, ""},
		{"workload issuers", server, spec{"workloadIssuers": []any{spec{"name": "ci", "type": "JWT", "jwt": spec{"issuer": "https://ci.example.com"}}}},
			spec{"workloadIssuers": []any{spec{"name": "cluster", "type": "Kubernetes"}}}, ""},
		{"authentication method", client, nil,
			spec{"tokenEndpointAuthMethod": "WorkloadIdentity", "workloadIdentities": []any{spec{"serviceAccount": spec{"name": "web"}}}}, ""},
		{"grant types", client, nil, spec{"grantTypes": []any{"password"}, "tokenEndpointAuthMethod": "client_secret_post"}, ""},
		{"everything else of a client with a client id", client, spec{"clientID": "a"}, spec{"suspended": true, "displayName": "Shop"}, ""},
		{"scopes of an API", api, nil, spec{"scopes": []any{spec{"name": "orders:read"}}}, ""},
		{"username", user, spec{"subject": "1"}, spec{"username": "bob"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := minimal(test.kind)
			o.SetNamespace(namespace)
			o.SetName(fmt.Sprintf("immutable-%d", i))
			set(t, o, test.before)
			if err := admin.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			set(t, o, test.after)
			err := admin.Update(t.Context(), o)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused, although it can be changed: %v", err)
			case test.want != "":
				expectRefusal(t, err, test.want)
			}
			if err != nil && strings.Count(err.Error(), "Invalid value") > 1 {
				t.Errorf("one change, more than one message: %v", err)
			}
		})
	}
}

func set(t *testing.T, o *unstructured.Unstructured, fields map[string]any) {
	t.Helper()
	for name, value := range fields {
		if value == nil {
			unstructured.RemoveNestedField(o.Object, "spec", name)
			continue
		}
		if err := unstructured.SetNestedField(o.Object, value, "spec", name); err != nil {
			t.Fatal(err)
		}
	}
}
