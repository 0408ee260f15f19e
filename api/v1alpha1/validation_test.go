// Package v1alpha1_test holds what the API server makes of the kinds: it runs a real one, installs
// the CustomResourceDefinitions, and applies manifests as a user does.
//
//	validation_test.go    each manifest in testdata/valid is admitted, each in testdata/invalid is refused with the message in its first line
//	immutability_test.go  what cannot be changed later
//	decoding_test.go      whatever is admitted decodes into the Go types, and can be written back
//	columns_test.go       what `kubectl get` shows
//	rules_test.go         each rule is tested, each field is bounded
//	docs_test.go          the page of each kind names each field and reason, and its examples are admitted
package v1alpha1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/hack/local/controlplane/controlplanetest"
)

const crdDir, sampleDir = "../../config/crd/bases", "../../config/samples"

var (
	// plane is the control plane that all tests of the package share.
	plane *controlplane.ControlPlane
	// admin reads and writes as an administrator, and like kubectl asks the API server to refuse
	// unknown fields.
	admin client.Client
)

func TestMain(m *testing.M) { controlplanetest.Main(m, setUp) }

func setUp(ctx context.Context, started *controlplane.ControlPlane) error {
	plane = started
	if err := plane.InstallCRDs(ctx, crdDir); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), internalv1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return err
	}
	config := plane.AdminConfig()
	config.QPS = -1 // the tests are many small requests
	plain, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	admin = client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	return nil
}

// newNamespace returns a namespace of the test's own.
func newNamespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// manifests returns the objects in a file, put into a namespace, and its first line.
func manifests(t *testing.T, file, namespace string) ([]*unstructured.Unstructured, string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := controlplane.Decode(content)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, o := range objects {
		o.SetNamespace(namespace)
	}
	scanner := bufio.NewScanner(strings.NewReader(string(content)))
	scanner.Scan()
	return objects, scanner.Text()
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no manifests in %s: %v", dir, err)
	}
	return found
}

func TestEveryValidManifestIsAdmitted(t *testing.T) {
	namespace := newNamespace(t)
	for _, file := range files(t, "testdata/valid") {
		objects, _ := manifests(t, file, namespace)
		for _, o := range objects {
			t.Run(filepath.Base(file)+"/"+o.GetName(), func(t *testing.T) {
				if err := admin.Create(t.Context(), o); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestTheSamplesAreAdmitted(t *testing.T) {
	if err := plane.ApplyDir(t.Context(), "validation-test", sampleDir); err != nil {
		t.Error(err)
	}
}

func TestEveryInvalidManifestIsRefusedWithItsMessage(t *testing.T) {
	namespace := newNamespace(t)
	for _, file := range files(t, "testdata/invalid") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			o, want := invalid(t, file, namespace)
			err := admin.Create(t.Context(), o)
			expectRefusal(t, err, want)
			if strings.Contains(want, "must be a duration") && strings.Count(err.Error(), "Invalid value") > 1 {
				t.Errorf("one mistake in a duration has several messages:\n\t%v", err)
			}
		})
	}
}

// An update is judged by the whole new object: one can not get by an update what one can not
// create.
func TestAnUpdateIsRefusedLikeACreate(t *testing.T) {
	namespace := newNamespace(t)
	for i, file := range files(t, "testdata/invalid") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			o, want := invalid(t, file, namespace)
			if strings.HasPrefix(want, "metadata.name") {
				return // a name can not be updated
			}
			valid := minimal(o.GetKind())
			valid.SetNamespace(namespace)
			valid.SetName(fmt.Sprintf("update-%d", i))
			if err := admin.Create(t.Context(), valid); err != nil {
				t.Fatal(err)
			}
			o.SetName(valid.GetName())
			o.SetResourceVersion(valid.GetResourceVersion())
			expectRefusal(t, admin.Update(t.Context(), o), want)
		})
	}
}

func invalid(t *testing.T, file, namespace string) (o *unstructured.Unstructured, message string) {
	t.Helper()
	objects, first := manifests(t, file, namespace)
	message, found := strings.CutPrefix(first, "# ")
	if !found || len(objects) != 1 {
		t.Fatal("an invalid manifest is one object below a comment that quotes the message")
	}
	return objects[0], message
}

func expectRefusal(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("admitted; want a refusal that says %q", want)
	case !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err):
		t.Errorf("refused for another reason than its content: %v", err)
	case !strings.Contains(err.Error(), want):
		t.Errorf("refused with\n\t%v\nwhich does not say\n\t%s", err, want)
	}
}

// minimal returns an object with the required fields only, without name and namespace.
func minimal(kind string) *unstructured.Unstructured {
	specs := map[string]map[string]any{
		"AuthorizationServer": {"issuer": "https://auth.example.com"},
		"OAuthClient": {
			"serverRef": map[string]any{"name": "main"}, "grantTypes": []any{"client_credentials"}, "tokenEndpointAuthMethod": "client_secret_basic",
		},
		"ResourceServer": {"serverRef": map[string]any{"name": "main"}, "identifier": "https://orders.example.com"},
		"OAuthUser": {
			"serverRef": map[string]any{"name": "main"}, "username": "alice", "passwordSecretRef": map[string]any{"name": "alice", "key": "password"},
		},
		"IdentityProvider": {
			"serverRef": map[string]any{"name": "main"}, "clients": "Listed", "type": "OIDC", "allow": "true",
			"oidc": map[string]any{"issuer": "https://login.acme.example", "clientID": "us", "clientSecretRef": map[string]any{"name": "acme", "key": "secret"}},
		},
		"OAuthGrant": {
			"serverRef": map[string]any{"name": "main"}, "serverUID": "server", "id": "grant", "expiresAt": "2024-01-01T00:00:00.000000Z",
		},
		"OAuthConsent":  {"serverRef": map[string]any{"name": "main"}, "serverUID": "server", "userUID": "user", "clientUID": "client"},
		"OAuthIdentity": {"serverRef": map[string]any{"name": "main"}, "subject": "~" + strings.Repeat("a", 43)},
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": runtime.DeepCopyJSON(specs[kind])}}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return o
}

// The API server spends a limited effort on the rules of one object; an object at the bounds must
// not exceed it.
func TestObjectsAtTheirBoundsAreAdmitted(t *testing.T) {
	namespace := newNamespace(t)
	long := func(n, length int, format string) []any {
		list := make([]any, n)
		for i := range list {
			s := fmt.Sprintf(format, i)
			list[i] = s + strings.Repeat("a", length-len(s))
		}
		return list
	}
	joined := func(list []any) string { return strings.Trim(fmt.Sprint(list), "[]") }
	pairs := map[string]any{}
	for i := range 16 {
		pairs[fmt.Sprintf("%s.example.com/%s%02d", strings.Repeat("a", 63), strings.Repeat("b", 61), i)] = strings.Repeat("c", 63)
	}
	oauthClient := minimal("OAuthClient")
	set(t, oauthClient, map[string]any{
		"grantTypes":    []any{"authorization_code", "refresh_token", "implicit", "password", "client_credentials"},
		"clientID":      strings.Repeat("a", 255),
		"displayName":   strings.Repeat("ü", 128),
		"redirectURIs":  long(64, 2048, "https://shop.example.com/callback?n%02d="),
		"scopes":        long(64, 256, "scope-%02d-"),
		"idTokenClaims": long(32, 128, "claim-%02d-"),
		"secret":        map[string]any{"source": "Generate", "target": map[string]any{"name": strings.Repeat("a", 253), "labels": pairs, "annotations": pairs}},
	})

	rules := make([]any, 64) // not all at their bounds: an object has at most 1.5 MiB
	for i := range rules {
		expressions := make([]any, 8)
		for j := range expressions {
			expressions[j] = map[string]any{"key": fmt.Sprintf("key-%d", j), "operator": "In", "values": []any{"a", "b"}}
		}
		rules[i] = map[string]any{
			"name":            fmt.Sprintf("rule-%02d", i),
			"namespaces":      map[string]any{"from": "Selector", "selector": map[string]any{"matchLabels": pairs, "matchExpressions": expressions}},
			"scopes":          long(16, 256, "scope-%02d-"),
			"redirectHosts":   long(16, 128, "*.host-%02d."),
			"redirectSchemes": long(8, 128, "com.scheme-%02d."),
			"clientIDs":       long(16, 128, "client-%02d-"),
		}
	}
	server := minimal("AuthorizationServer")
	set(t, server, map[string]any{"issuer": "https://auth.example.com/" + strings.Repeat("a", 487), "allowedClients": rules})

	scopes, clients, apiRules := make([]any, 128), make([]any, 64), make([]any, 64)
	for i, name := range long(128, 256, "scope-%03d-") {
		scopes[i] = map[string]any{"name": name, "description": strings.Repeat("ü", 256)}
	}
	for i, name := range long(64, 253, "client-%02d-") {
		clients[i] = map[string]any{"name": name, "namespace": strings.Repeat("a", 63)}
		apiRules[i] = map[string]any{"name": fmt.Sprintf("rule-%02d", i), "scopes": long(32, 256, "scope-%02d-")}
	}
	api := minimal("ResourceServer")
	set(t, api, map[string]any{
		"identifier": "urn:" + strings.Repeat("a", 508), "scopes": scopes, "introspectionClients": clients, "allowedClients": apiRules,
	})

	grant, consent := minimal("OAuthGrant"), minimal("OAuthConsent")
	set(t, grant, map[string]any{
		"scope": joined(long(256, 256, "scope-%03d-")), "resources": long(128, 2048, "https://orders-%03d.example.com/"), "nonce": strings.Repeat("ü", 4096),
		"claimsRequest": strings.Repeat("ü", 4096), "redirectURI": strings.Repeat("a", 2048), "refreshTokenNumber": int64(2147483647),
	})
	set(t, consent, map[string]any{"scope": joined(long(1024, 256, "scope-%04d-"))})

	for _, o := range []*unstructured.Unstructured{oauthClient, server, api, grant, consent} {
		o.SetNamespace(namespace)
		o.SetName("large")
		if err := admin.Create(t.Context(), o); err != nil {
			t.Error(err)
		}
		o.SetAnnotations(map[string]string{"again": "true"})
		if err := admin.Update(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
}
