package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

func TestKubectlGetSaysWhetherItWorksAndHowItAuthenticates(t *testing.T) {
	namespace := newNamespace(t)
	notReady := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonServerNotFound, Message: "no such server"}}
	key := v1alpha1.SecretKeyReference{Name: "alice", Key: "password"}
	object := metav1.ObjectMeta{Name: "example", Namespace: namespace}

	oauthClient := &v1alpha1.OAuthClient{ObjectMeta: object, Spec: v1alpha1.OAuthClientSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, TokenEndpointAuthMethod: v1alpha1.AuthMethodPost,
		GrantTypes: []v1alpha1.GrantType{v1alpha1.GrantTypePassword, v1alpha1.GrantTypeRefreshToken},
	}}
	server := &v1alpha1.AuthorizationServer{ObjectMeta: object, Spec: v1alpha1.AuthorizationServerSpec{Issuer: "https://auth.example.com"}}
	api := &v1alpha1.ResourceServer{ObjectMeta: object, Spec: v1alpha1.ResourceServerSpec{
		ServerRef: v1alpha1.ServerReference{Name: "main"}, Identifier: "https://orders.example.com",
	}}
	user := &v1alpha1.OAuthUser{ObjectMeta: object, Spec: v1alpha1.OAuthUserSpec{
		ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Username: "alice", PasswordSecretRef: &key,
	}}
	provider := &v1alpha1.IdentityProvider{ObjectMeta: object, Spec: oidcProvider()}
	identity := &v1alpha1.OAuthIdentity{ObjectMeta: object, Spec: v1alpha1.OAuthIdentitySpec{
		ServerRef: v1alpha1.LocalServerReference{Name: "main"}, Subject: "~" + strings.Repeat("a", 43), Suspended: true, // of another name than it must have
	}}
	for _, o := range []client.Object{oauthClient, server, api, user, provider, identity} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	hourAgo, dayAgo := metav1.NewTime(time.Now().Add(-time.Hour).UTC()), metav1.NewTime(time.Now().Add(-24*time.Hour).UTC())
	nextYear := metav1.NewTime(time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC))
	oauthClient.Status = v1alpha1.OAuthClientStatus{
		ClientID: "test.example", SecretName: "example-oauth", Conditions: notReady, NextRotation: &nextYear,
		Credentials: []v1alpha1.CredentialStatus{{ID: "b", State: "Active", NotBefore: &hourAgo}, {ID: "a", State: "Retiring", NotBefore: &dayAgo}},
	}
	server.Status = v1alpha1.AuthorizationServerStatus{Clients: 3, Conditions: []metav1.Condition{
		notReady[0], {Type: v1alpha1.ConditionAvailable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAvailable},
	}}
	api.Status.Conditions = notReady
	user.Status = v1alpha1.OAuthUserStatus{Subject: "1234", Conditions: notReady}

	provider.Status.Conditions = notReady
	hourBefore := metav1.NewMicroTime(hourAgo.Time)
	identity.Status = v1alpha1.OAuthIdentityStatus{Provider: "acme", LastSignIn: &hourBefore, Conditions: []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalid, Message: "another name"},
	}}

	for _, test := range []struct {
		object       client.Object
		conditions   []metav1.Condition
		plural       string
		narrow, wide string // the columns with their cells, but for the age
	}{
		{
			oauthClient, oauthClient.Status.Conditions, "oauthclients",
			`Name=example, Client ID=test.example, Auth=client_secret_post, Ready=False, Reason=ServerNotFound`,
			`Server=main, Secret=example-oauth, Secret Age=60m, Next Rotation=2035-01-01T00:00:00Z, Suspended=<nil>, Message=no such server`,
		},
		{
			server, server.Status.Conditions, "authorizationservers",
			`Name=example, Issuer=https://auth.example.com, Clients=3, Replicas=0, ` +
				`Available=True, Ready=False, Reason=ServerNotFound`,
			`Message=no such server`,
		},
		{
			api, api.Status.Conditions, "resourceservers",
			`Name=example, Identifier=https://orders.example.com, Server=main, Ready=False, Reason=ServerNotFound`,
			`Message=no such server`,
		},
		{
			user, user.Status.Conditions, "oauthusers",
			`Name=example, Username=alice, Subject=1234, Ready=False, Reason=ServerNotFound`,
			`Server=main, Suspended=<nil>, Message=no such server`,
		},
		{
			provider, provider.Status.Conditions, "identityproviders",
			`Name=example, Type=OIDC, Clients=Listed, Ready=False, Reason=ServerNotFound`,
			`Server=main, Suspended=<nil>, Message=no such server`,
		},
		{
			identity, identity.Status.Conditions, "oauthidentities",
			`Name=example, Provider=acme, Username=<nil>, Subject=~` + strings.Repeat("a", 43) + `, Last sign-in=60m, Ready=False, Reason=Invalid`,
			`Server=main, Message=another name`,
		},
	} {
		t.Run(test.plural, func(t *testing.T) {
			for i := range test.conditions {
				test.conditions[i].LastTransitionTime = metav1.Now()
			}
			if err := admin.Status().Update(t.Context(), test.object); err != nil {
				t.Fatal(err)
			}
			narrow, wide := table(t, namespace, test.plural)
			if narrow != test.narrow {
				t.Errorf("kubectl get shows\n\t%s\nwant\n\t%s", narrow, test.narrow)
			}
			if wide != test.wide {
				t.Errorf("kubectl get -o wide adds\n\t%s\nwant\n\t%s", wide, test.wide)
			}
		})
	}
}

func TestKubectlGetSaysWhoAllowedWhatToWhom(t *testing.T) {
	namespace := newNamespace(t)
	object := metav1.ObjectMeta{Name: "example", Namespace: namespace}
	server := v1alpha1.LocalServerReference{Name: "main"}
	hourAgo, inAYear := metav1.NewMicroTime(time.Now().Add(-time.Hour).UTC()), metav1.NewMicroTime(time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, test := range []struct {
		object       client.Object
		plural       string
		narrow, wide string
	}{
		{
			&v1alpha1.OAuthGrant{ObjectMeta: object, Spec: v1alpha1.OAuthGrantSpec{
				ServerRef: server, ServerUID: "1", ID: "2", Username: "alice", Subject: "1234", ClientID: "shop.web",
				Scope: "openid orders:read", LastUsedAt: &hourAgo, ExpiresAt: inAYear, EndedAt: &hourAgo, EndReason: "Revoked", Offline: true,
			}},
			"oauthgrants",
			`Name=example, User=alice, Client=shop.web, Scope=openid orders:read, Last used=60m, Expires=2035-01-01T00:00:00.000000Z, Ended=Revoked`,
			`Server=main, Subject=1234, Offline=true`,
		},
		{
			&v1alpha1.OAuthConsent{ObjectMeta: object, Spec: v1alpha1.OAuthConsentSpec{
				ServerRef: server, ServerUID: "1", Username: "alice", UserUID: "2", ClientID: "shop.web", ClientUID: "3",
				Scope: "openid", GrantedAt: &hourAgo, UpdatedAt: &hourAgo,
			}},
			"oauthconsents",
			`Name=example, User=alice, Client=shop.web, Scope=openid, Updated=60m`,
			`Server=main`,
		},
	} {
		t.Run(test.plural, func(t *testing.T) {
			if err := admin.Create(t.Context(), test.object); err != nil {
				t.Fatal(err)
			}
			narrow, wide := table(t, namespace, test.plural)
			if narrow != test.narrow || wide != test.wide {
				t.Errorf("kubectl get shows\n\t%s\n\t%s\nwant\n\t%s\n\t%s", narrow, wide, test.narrow, test.wide)
			}
		})
	}
}

// table returns the only row of `kubectl get`: what is shown always but for the age, and what -o
// wide adds.
func table(t *testing.T, namespace, plural string) (narrow, wide string) {
	t.Helper()
	kinds, err := discovery.NewDiscoveryClientForConfig(plane.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	group := v1alpha1.GroupVersion
	answer, err := kinds.RESTClient().Get().AbsPath("/apis", group.Group, group.Version, "namespaces", namespace, plural).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != 1 {
		t.Fatalf("%d rows, want one", len(table.Rows))
	}
	var shown, added []string
	for i, column := range table.ColumnDefinitions {
		cell := fmt.Sprintf("%s=%v", column.Name, table.Rows[0].Cells[i])
		switch {
		case column.Name == "Age":
		case column.Priority == 0:
			shown = append(shown, cell)
		default:
			added = append(added, cell)
		}
	}
	return strings.Join(shown, ", "), strings.Join(added, ", ")
}

// A printer column cannot join a list: kubectl shows it as JSON.
func TestNoColumnIsAListOrAnObject(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/oauth-operator.dev_*.yaml")
	if err != nil || len(files) != 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	path := regexp.MustCompile(`^(?:\.[A-Za-z]+)+$`)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var kind apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(content, &kind); err != nil {
			t.Fatal(err)
		}
		version := kind.Spec.Versions[0]
		for _, column := range version.AdditionalPrinterColumns {
			if !path.MatchString(column.JSONPath) {
				continue // it picks a condition, of which it takes one word
			}
			at := *version.Schema.OpenAPIV3Schema
			for _, name := range strings.Split(column.JSONPath, ".")[1:] {
				if at.Type == "object" && len(at.Properties) == 0 { // of metadata the schema says no more
					at = apiextensionsv1.JSONSchemaProps{Type: "string"}
					break
				}
				at = at.Properties[name]
			}
			if !slices.Contains([]string{"string", "integer", "boolean"}, at.Type) {
				t.Errorf("%s: the column %s shows %s, which is of type %q", kind.Spec.Names.Kind, column.Name, column.JSONPath, at.Type)
			}
		}
	}
}

func TestTheKindsHaveTheirShortNamesAndTheCategoryIsOfWhatPeopleDeclare(t *testing.T) {
	kinds, err := discovery.NewDiscoveryClientForConfig(plane.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	list, err := kinds.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	// OAuthGrants and OAuthConsents are records, by the thousand: `kubectl get oauth` is for what
	// people declare.
	want := map[string]struct{ shortName, category string }{
		"AuthorizationServer": {"authserver", "oauth"}, "OAuthClient": {"oac", "oauth"}, "ResourceServer": {"", "oauth"}, "OAuthUser": {"", "oauth"},
		"IdentityProvider": {"idp", "oauth"},
		"OAuthGrant":       {}, "OAuthConsent": {}, "OAuthIdentity": {},
	}
	for _, resource := range list.APIResources {
		names, ours := want[resource.Kind]
		if !ours || strings.Contains(resource.Name, "/") {
			continue
		}
		delete(want, resource.Kind)
		if strings.Join(resource.ShortNames, ",") != names.shortName || strings.Join(resource.Categories, ",") != names.category || !resource.Namespaced {
			t.Errorf("%s has short names %q and categories %q", resource.Kind, resource.ShortNames, resource.Categories)
		}
	}
	if len(want) > 0 {
		t.Errorf("not served: %v", want)
	}
}
