package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

const (
	// decodingSeed makes the objects the same in every run. Change it to search elsewhere.
	decodingSeed = 20240623
	// decodingTries is how many objects of each kind are sent.
	decodingTries = 300
)

// An informer that meets one object which does not decode stops: the manager, or every token
// server, would be blind because of it. So objects are made at random along the schema, with what
// tends to differ between JSON, the schema's checks and Go: durations, times, numbers at their
// bounds and in odd notations, nulls, empty values, odd selectors, unknown fields. What the API
// server admits must decode, and the API server must admit again what Go makes of it, or a
// controller could not write the object.
func TestWhateverIsAdmittedDecodesAndCanBeWrittenBack(t *testing.T) {
	for _, test := range []struct {
		kind string
		base string // a valid object
		new  func() client.Object
		list client.ObjectList
	}{
		{"authorizationservers", `{"spec":{"issuer":"https://auth.example.com","allowedClients":[{"name":"a","namespaces":{"from":"Selector","selector":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}}],
			"allowedResourceServers":[{"name":"a"}],"tokens":{"refreshToken":{}},"sessions":{},"signing":{"rotation":{}},
			"deployment":{"resources":{"limits":{"memory":"1Gi"}},"service":{"type":"NodePort"},
			"podTemplate":{"metadata":{},"spec":{"nodeSelector":{"a":"b"},"tolerations":[{"tolerationSeconds":1}],
			"topologySpreadConstraints":[{"maxSkew":1,"minDomains":1,"topologyKey":"a","whenUnsatisfiable":"DoNotSchedule"}],
			"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{}}]}}}}}},
			"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}],
			"keys":[{"kid":"a","algorithm":"ES256","phase":"Active","since":"2024-01-01T00:00:00Z"}],"endpoints":{}}}`,
			func() client.Object { return new(v1alpha1.AuthorizationServer) }, new(v1alpha1.AuthorizationServerList)},
		{"oauthclients", `{"spec":{"serverRef":{"name":"main"},"grantTypes":["authorization_code"],"tokenEndpointAuthMethod":"client_secret_basic",
			"redirectURIs":["https://shop.example.com/cb"],"secret":{"source":"FromSecret","fromSecret":{"name":"a","key":"b"},"target":{"name":"c","labels":{"a":"b"},"annotations":{"a":"b"}}}},
			"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}],
			"credentials":[{"id":"a","state":"Active","notBefore":"2024-01-01T00:00:00Z"}]}}`,
			func() client.Object { return new(v1alpha1.OAuthClient) }, new(v1alpha1.OAuthClientList)},
		{"resourceservers", `{"spec":{"serverRef":{"name":"main"},"identifier":"https://orders.example.com","scopes":[{"name":"a"}],
			"allowedClients":[{"name":"a","namespaces":{"from":"Selector","selector":{"matchLabels":{"a":"b"}}}}],"introspectionClients":[{"name":"a"}]},
			"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}}`,
			func() client.Object { return new(v1alpha1.ResourceServer) }, new(v1alpha1.ResourceServerList)},
		{"oauthusers", `{"spec":{"serverRef":{"name":"main"},"username":"alice","passwordSecretRef":{"name":"a","key":"b"},"claims":{"name":"Alice"}},
			"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}}`,
			func() client.Object { return new(v1alpha1.OAuthUser) }, new(v1alpha1.OAuthUserList)},
		{"identityproviders", `{"spec":{"serverRef":{"name":"main"},"clients":"Listed","type":"OIDC","allow":"true","claims":{"a":"b"},"caBundle":{"configMapRef":{"name":"a","key":"b"}},
			"oidc":{"issuer":"https://a.example","clientID":"a","clientSecretRef":{"name":"a","key":"b"},"parameters":{"a":"b"},"maxAge":"1h"},
			"examples":[{"name":"a","upstream":{"a":[1]},"claims":{"a":{"b":1}}}]},
			"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}}`,
			func() client.Object { return new(v1alpha1.IdentityProvider) }, new(v1alpha1.IdentityProviderList)},
		{"identityproviders", `{"spec":{"serverRef":{"name":"main"},"clients":"Listed","type":"LDAP","realm":"ldaps://a","allow":"true",
			"ldap":{"url":"ldaps://a","bind":{"dn":"a","passwordSecretRef":{"name":"a","key":"b"}},"groups":{"baseDN":"a","filter":"b"},"throttle":{"window":"1h"},
			"users":{"baseDN":"a","filter":"$(username)","subjectAttribute":"entryUUID","attributes":["a"]}}}}`,
			func() client.Object { return new(v1alpha1.IdentityProvider) }, new(v1alpha1.IdentityProviderList)},
		{"entries", `{"spec":{"serverUID":"a","space":"identity","value":"a","owner":{"kind":"OAuthClient","name":"a","uid":"a"}}}`,
			func() client.Object { return new(internalv1alpha1.Entry) }, new(internalv1alpha1.EntryList)},
		{"replicas", `{"spec":{"serverUID":"a","renewTime":"2024-01-01T00:00:00.000000Z","ready":true,"rejected":[{"name":"a","resourceVersion":"1","reason":"a"}],
			"used":[{"owner":"a","id":"a","time":"2024-01-01T00:00:00Z"}]}}`,
			func() client.Object { return new(internalv1alpha1.Replica) }, new(internalv1alpha1.ReplicaList)},
		{"oauthgrants", `{"spec":{"serverRef":{"name":"main"},"serverUID":"a","id":"a","refreshTokenNumber":1,"scope":"openid","amr":["pwd"],
			"refreshTokenIssuedAt":"2024-01-01T00:00:00.000000Z","expiresAt":"2024-01-01T00:00:00.000000Z","tokenServerState":{"attempt":"a"}}}`,
			func() client.Object { return new(v1alpha1.OAuthGrant) }, new(v1alpha1.OAuthGrantList)},
		{"oauthconsents", `{"spec":{"serverRef":{"name":"main"},"serverUID":"a","userUID":"a","clientUID":"a","scope":"openid",
			"grantedAt":"2024-01-01T00:00:00.000000Z"}}`,
			func() client.Object { return new(v1alpha1.OAuthConsent) }, new(v1alpha1.OAuthConsentList)},
		{"marks", `{"spec":{"serverUID":"a","kind":"token","expiresAt":"2024-01-01T00:00:00.000000Z"}}`,
			func() client.Object { return new(internalv1alpha1.Mark) }, new(internalv1alpha1.MarkList)},
	} {
		t.Run(test.kind, func(t *testing.T) {
			t.Parallel()
			f := newFuzzer(t, test.kind, test.base)
			t.Logf("seed %d", decodingSeed)
			var admitted, withStatus int
			for i := range decodingTries {
				name := fmt.Sprintf("random-%d", i)
				created, status := f.send(name)
				if !created {
					continue
				}
				admitted++
				if status {
					withStatus++
				}
				o := test.new()
				if err := admin.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: name}, o); err != nil {
					t.Fatalf("admitted, and does not decode: %v\n%s", err, f.raw(name))
				}
				if err := admin.Update(t.Context(), o); err != nil {
					t.Errorf("admitted, and cannot be written back: %v\n%s", err, f.raw(name))
				}
				if f.hasStatus {
					if err := admin.Status().Update(t.Context(), o); err != nil {
						t.Errorf("the status was admitted, and cannot be written back: %v\n%s", err, f.raw(name))
					}
				}
			}
			t.Logf("%d of %d objects were admitted, %d with a status", admitted, decodingTries, withStatus)
			if admitted < decodingTries/10 || f.hasStatus && withStatus < admitted/10 {
				t.Error("too few objects are admitted for the test to say anything")
			}
			if err := admin.List(t.Context(), test.list, client.InNamespace(f.namespace)); err != nil {
				t.Errorf("the list of all, which an informer reads: %v", err)
			}
		})
	}
}

// fuzzer sends objects of one kind.
type fuzzer struct {
	t         *testing.T
	random    *rand.Rand
	rest      *rest.RESTClient
	namespace string
	plural    string
	identity  map[string]any // apiVersion and kind
	base      map[string]any
	schema    apiextensionsv1.JSONSchemaProps
	hasStatus bool
}

func newFuzzer(t *testing.T, plural, base string) *fuzzer {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(crdDir, "*_"+plural+".yaml"))
	if err != nil || len(found) != 1 {
		t.Fatalf("definitions of %s: %v, %v", plural, found, err)
	}
	content, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &crd); err != nil {
		t.Fatal(err)
	}
	config := plane.AdminConfig()
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{} // of unknown fields, which are pruned
	config.APIPath = "/apis"
	config.GroupVersion = &metav1.SchemeGroupVersion
	config.NegotiatedSerializer = clientgoscheme.Codecs.WithoutConversion()
	restClient, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	f := &fuzzer{
		t: t, random: rand.New(rand.NewPCG(decodingSeed, 0)), rest: restClient, namespace: newNamespace(t), plural: plural,
		identity: map[string]any{"apiVersion": crd.Spec.Group + "/v1alpha1", "kind": crd.Spec.Names.Kind},
		schema:   *crd.Spec.Versions[0].Schema.OpenAPIV3Schema, hasStatus: crd.Spec.Versions[0].Subresources.Status != nil,
	}
	if err := json.Unmarshal([]byte(base), &f.base); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fuzzer) path(more ...string) []string {
	version := strings.Split(f.identity["apiVersion"].(string), "/")
	return append([]string{"/apis", version[0], version[1], "namespaces", f.namespace, f.plural}, more...)
}

// send creates a random object, and gives it a random status where the kind has one. It says which
// of the two was admitted.
func (f *fuzzer) send(name string) (created, status bool) {
	o := runtime.DeepCopyJSON(f.base)
	for range 1 + f.random.IntN(2) {
		o["spec"] = f.change(o["spec"], f.schema.Properties["spec"])
		if _, ok := o["spec"].(map[string]any); !ok {
			break
		}
	}
	if f.hasStatus {
		o["status"] = f.change(o["status"], f.schema.Properties["status"])
	}
	for key, value := range f.identity {
		o[key] = value
	}
	o["metadata"] = map[string]any{"name": name}
	answer := f.rest.Post().AbsPath(f.path()...).SetHeader("Content-Type", "application/json").Body(f.marshal(o)).Do(f.t.Context())
	if !f.admitted(answer) {
		return false, false
	}
	if !f.hasStatus {
		return true, false
	}
	var stored metav1.PartialObjectMetadata
	content, _ := answer.Raw()
	if err := json.Unmarshal(content, &stored); err != nil {
		f.t.Fatal(err)
	}
	o["metadata"] = map[string]any{"name": name, "resourceVersion": stored.ResourceVersion}
	answer = f.rest.Put().AbsPath(f.path(name, "status")...).SetHeader("Content-Type", "application/json").Body(f.marshal(o)).Do(f.t.Context())
	return true, f.admitted(answer)
}

func (f *fuzzer) marshal(o map[string]any) []byte {
	content, err := json.Marshal(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return content
}

func (f *fuzzer) admitted(answer rest.Result) bool {
	err := answer.Error()
	if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		f.t.Fatalf("neither admitted nor refused: %v", err)
	}
	return err == nil
}

func (f *fuzzer) raw(name string) []byte {
	content, _ := f.rest.Get().AbsPath(f.path(name)...).Do(f.t.Context()).Raw()
	return content
}

// change returns a value that differs from the given one in one place, along the schema.
func (f *fuzzer) change(value any, schema apiextensionsv1.JSONSchemaProps) any {
	switch old := value.(type) {
	case map[string]any:
		if len(schema.Properties) == 0 || f.random.IntN(20) == 0 {
			return f.value(schema, 3)
		}
		out := maps.Clone(old)
		name := f.pick(sortedKeys(schema.Properties))
		property := schema.Properties[name]
		current, present := old[name]
		switch {
		case present && f.random.IntN(8) == 0:
			delete(out, name)
		case present && f.random.IntN(4) > 0:
			out[name] = f.change(current, property)
		default:
			out[name] = f.value(property, 3)
		}
		if f.random.IntN(30) == 0 {
			out["unknown"] = f.anything(2)
		}
		return out
	case []any:
		if len(old) == 0 || schema.Items == nil || f.random.IntN(4) == 0 {
			return f.value(schema, 3)
		}
		out := slices.Clone(old)
		i := f.random.IntN(len(out))
		out[i] = f.change(out[i], *schema.Items.Schema)
		return out
	}
	return f.value(schema, 3)
}

// value returns a value that the schema could mean, or one that is nearly so.
func (f *fuzzer) value(schema apiextensionsv1.JSONSchemaProps, depth int) any {
	if f.random.IntN(25) == 0 {
		return f.anything(1)
	}
	switch {
	case schema.XIntOrString:
		return json.RawMessage(f.pick(oddQuantities))
	case len(schema.Enum) > 0 && f.random.IntN(10) > 0:
		return json.RawMessage(schema.Enum[f.random.IntN(len(schema.Enum))].Raw)
	case schema.Type == "string" && schema.Format == "date-time" && f.random.IntN(5) == 0:
		return []any{f.pick(oddTimes)} // the schema's check takes a list for a string wherever there is a format
	case schema.Type == "string" && schema.Format == "date-time":
		return f.pick(oddTimes)
	case schema.Type == "string" && slices.ContainsFunc(schema.XValidations, func(rule apiextensionsv1.ValidationRule) bool {
		return strings.Contains(rule.Rule, "duration(self)")
	}):
		return f.pick(oddDurations)
	case schema.Type == "string":
		return f.text(schema)
	case schema.Type == "integer":
		return json.RawMessage(f.pick(oddNumbers))
	case schema.Type == "boolean":
		return json.RawMessage(f.pick([]string{"true", "false", "true", "false", "null", `"true"`, "1"}))
	case schema.Type == "array":
		items := make([]any, f.random.IntN(4))
		for i := range items {
			items[i] = f.value(*schema.Items.Schema, depth-1)
		}
		return items
	case schema.Type == "object" && len(schema.Properties) > 0:
		out := map[string]any{}
		for _, name := range sortedKeys(schema.Properties) {
			if slices.Contains(schema.Required, name) || f.random.IntN(3) == 0 {
				out[name] = f.value(schema.Properties[name], depth-1)
			}
		}
		return out
	case schema.Type == "object" && schema.AdditionalProperties != nil:
		out := map[string]any{}
		for range f.random.IntN(3) {
			out[f.pick(oddStrings)] = f.value(*schema.AdditionalProperties.Schema, depth-1)
		}
		return out
	}
	return map[string]any{f.pick(oddStrings): f.anything(depth)}
}

func (f *fuzzer) text(schema apiextensionsv1.JSONSchemaProps) any {
	switch n := f.random.IntN(10); {
	case n == 0 && schema.MaxLength != nil && *schema.MaxLength <= 4096:
		return strings.Repeat("a", int(*schema.MaxLength)+f.random.IntN(2))
	case n == 1 && schema.MaxLength != nil && *schema.MaxLength <= 4096:
		return strings.Repeat("ü", int(*schema.MaxLength))
	}
	return f.pick(oddStrings)
}

// anything returns any JSON value at all.
func (f *fuzzer) anything(depth int) any {
	switch n := f.random.IntN(10); {
	case n < 2 && depth > 0:
		return map[string]any{f.pick(oddStrings): f.anything(depth - 1), "b": f.anything(depth - 1)}
	case n < 4 && depth > 0:
		return []any{f.anything(depth - 1), f.anything(depth - 1)}
	case n < 6:
		return json.RawMessage(f.pick([]string{"null", "true", "false", "{}", "[]", `""`}))
	case n < 8:
		return json.RawMessage(f.pick(oddNumbers))
	}
	return f.pick(oddStrings)
}

func (f *fuzzer) pick(from []string) string { return from[f.random.IntN(len(from))] }

func sortedKeys(m map[string]apiextensionsv1.JSONSchemaProps) []string {
	return slices.Sorted(maps.Keys(m))
}

var (
	oddTimes = []string{
		"2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
		"2024-01-01t00:00:00z", "2024-01-01T00:00:00", "2024-01-01T00:00:00x5z", "2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00.Z",
		"2024-01-01T00:00:00+01:00", "2024-01-01T00:00:00+99:99", "2024-01-01T00:00:00-00:00", "2024-01-01T24:00:00Z", "2024-06-30T23:59:60Z",
		"2023-02-29T00:00:00Z", "2024-01-01", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2024-01-01 00:00:00Z", "", "now",
		"2024-01-01T00:00:00,123456Z", "2024-01-01T1:00:00Z", "2024-01-01T00:00:00.000000+00:00",
	}
	oddDurations = []string{
		"1s", "60s", "5m", "1h", "1h30m", "0s", "720h", "1h1h", "30m0h1s", "00001h", "99999h99999h99999h", "8760h", "8760h0m1s", "1m60s",
		"", "0", "1", "1.5h", ".5s", "1500ms", "1us", "1µs", "1ns", "-1s", "+1s", " 1s", "1s ", "1 s", "1S", "1d", "1w", "1e3s", "1h ", "１s",
		"99999999999999999999h", "2562047h48m", "PT5M", "Infinity", "NaN",
	}
	oddQuantities = []string{
		"1", "0", "-1", "1.5", "1e30", "9223372036854775808", "null", "true", `"1"`, `"1.5"`, `"0.1"`, `"100m"`, `"1Ki"`,
		`"1e3"`, `"1E3"`, `"1e-3"`, `"1e1.5"`, `"1e99"`, `"1e999999999999"`, `".5"`, `"5."`, `"1n"`, `"1u"`, `"+1"`, `"-1Gi"`,
		`"1kB"`, `""`, `" 1"`, `"1 "`, `"99999999999999999999999999999999999999Ei"`,
	}
	oddNumbers = []string{
		"0", "1", "7", "-1", "-0", "1.0", "1e0", "1e3", "1E+2", "10e-1", "1.5", "2147483647", "2147483648", "2147483647.0", "-2147483649",
		"9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e18", "1e19", "1e30",
		"1e308", "0.1e1", "null", `"1"`, "true",
	}
	oddStrings = []string{
		"a", "b", "example", "example.com", "example.com/team", "https://example.com", "https://example.com/cb?a=1", "urn:a", "openid", "",
		" ", "*", "a*", "*.example.com", "A", "a b", "a\nb", "\u0000", "\u202e", "ü", "𝒳", "\ufeff", "e\u0301", "null", "true", "1", "1.0", "2024-01-01T00:00:00Z",
		"5m", "kubernetes.io/a", "In", "Exists", "Equals", "DoesNotExist", "Gt", "~", "-", "{}", "[]", `"`, `\`, `\ud800`, "%", "0x1", "y", "Ready", "True", "com.example.app",
		"com.example.app:/cb", "http://127.0.0.1/cb", "ES256", "a/b/c", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("é", 300),
	}
)
