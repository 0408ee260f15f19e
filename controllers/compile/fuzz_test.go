package compile

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// What the API server admits decodes into the Go types, so whatever decodes is tried: more than is
// admitted. It must compile to a document that is the same each time and is read as it was written,
// or to findings that say where the mistake is; and the object stays as it was.
func FuzzWhateverTheCRDAdmitsCompiles(f *testing.F) {
	for _, pattern := range []string{
		"testdata/*/object.yaml", "../../config/samples/*.yaml", "../../api/v1alpha1/testdata/valid/*.yaml", "../../api/v1alpha1/testdata/invalid/*.yaml",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			seed(f, file)
		}
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		var meta metav1.TypeMeta
		if json.Unmarshal(object, &meta) != nil {
			return
		}
		typed := newObject(meta.Kind)
		if typed == nil || json.Unmarshal(object, typed) != nil {
			return
		}
		switch typed := typed.(type) {
		case *v1alpha1.AuthorizationServer:
			doc := expectCompiles(t, typed, func() (documents.Server, Findings) { return Server(typed, nil) })
			expectServer(t, doc)
		case *v1alpha1.OAuthClient:
			doc := expectCompiles(t, typed, func() (documents.Client, Findings) { return Client(typed, nil), nil })
			expectClient(t, typed, doc)
		case *v1alpha1.OAuthUser:
			doc := expectCompiles(t, typed, func() (documents.User, Findings) { return User(typed) })
			expectUser(t, typed, doc)
		case *v1alpha1.ResourceServer:
			doc := expectCompiles(t, typed, func() (documents.ResourceServer, Findings) { return ResourceServer(typed) })
			for _, rule := range doc.AllowedClients {
				expectRule(t, rule.Namespaces, rule.Scopes)
			}
		case *corev1.Namespace:
			expectCompiles(t, typed, func() (documents.Namespace, Findings) { return Namespace(typed), nil })
		}
	})
}

// seed adds each object of a file of manifests.
func seed(f *testing.F, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	for _, document := range strings.Split(string(content), "\n---\n") {
		object, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			f.Fatalf("%s: %v", file, err)
		}
		f.Add(object)
		var list struct {
			Items []json.RawMessage `json:"items"`
		}
		if json.Unmarshal(object, &list) == nil {
			for _, item := range list.Items {
				f.Add([]byte(item))
			}
		}
	}
}

// expectCompiles compiles twice and returns the document.
func expectCompiles[T any](t *testing.T, object runtime.Object, compile func() (T, Findings)) T {
	t.Helper()
	before := object.DeepCopyObject()
	doc, findings := compile()
	text, err := documents.Encode(doc)
	if err != nil {
		t.Fatalf("the document cannot be written: %v", err)
	}
	doc2, findings2 := compile()
	if text2, _ := documents.Encode(doc2); text2 != text || !reflect.DeepEqual(findings2, findings) {
		t.Errorf("compiled twice:\n%s %s\n%s %s", text, findings, text2, findings2)
	}
	if !reflect.DeepEqual(object, before) {
		t.Error("compiling changed the object")
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	var read T
	if err := decoder.Decode(&read); err != nil {
		t.Fatalf("the document cannot be read: %v", err)
	}
	if again, err := documents.Encode(read); err != nil || again != text {
		t.Errorf("written\n%s\nread\n%s\n%v", text, again, err)
	}
	for _, finding := range findings {
		if !strings.HasPrefix(finding.Field, "spec") || finding.Message == "" {
			t.Errorf("a finding that says too little: %+v", finding)
		}
	}
	if said := findings.String(); len(said) > 8192 || !utf8.ValidString(said) && utf8.ValidString(text) {
		t.Errorf("findings of %d bytes", len(said))
	}
	return doc
}

func expectServer(t *testing.T, doc documents.Server) {
	t.Helper()
	if len(doc.AllowedClients) == 0 || len(doc.AllowedResourceServers) == 0 {
		t.Error("a document without rules")
	}
	for _, rule := range doc.AllowedClients {
		expectRule(t, rule.Namespaces, rule.GrantTypes, rule.Scopes, rule.RedirectHosts, rule.Consent)
	}
	for _, rule := range doc.AllowedResourceServers {
		expectRule(t, rule.Namespaces, rule.Identifiers, rule.Scopes)
	}
	if doc.RefreshToken.IdleLifetime > doc.RefreshToken.AbsoluteLifetime || doc.SessionIdleLifetime > doc.SessionAbsoluteLifetime {
		t.Error("idle is longer than absolute")
	}
	if LongestSealed(doc) < LongestToken(doc) {
		t.Error("the id of a token outlives what seals it")
	}
}

// expectRule: the namespaces are said in one way, and every list that stands for a default has it
// written out.
func expectRule(t *testing.T, n documents.Namespaces, lists ...[]string) {
	t.Helper()
	ways := 0
	for _, way := range []bool{n.All, n.Names != nil, n.Selector != nil} {
		if way {
			ways++
		}
	}
	if ways != 1 {
		t.Errorf("namespaces %+v", n)
	}
	for _, list := range lists {
		if len(list) == 0 {
			t.Error("a rule with a list that allows nothing")
		}
	}
}

func expectClient(t *testing.T, c *v1alpha1.OAuthClient, doc documents.Client) {
	t.Helper()
	if doc.ID == "" || doc.DisplayName == "" || doc.PKCE == "" || doc.Consent == "" || doc.IDTokenAlg == "" {
		t.Errorf("a default is not written out: %+v", doc)
	}
	target := SecretTarget(c)
	if c.Spec.TokenEndpointAuthMethod == v1alpha1.AuthMethodNone && target != nil {
		t.Error("a public client has a Secret")
	}
	if content := SecretContent(doc, "https://auth.example.com"); content[SecretKeyClientID] != doc.ID || content[SecretKeyClientSecret] != "" {
		t.Errorf("the Secret would hold %q", content)
	}
	const secret = "the-secret-0123456789-abcdefghijklm"
	secretData, findings := SecretData(c, doc, "https://auth.example.com", AnySecret)
	if data, others := SecretData(c, doc, "https://auth.example.com", secret); len(findings) == 0 && (len(others) > 0 || data[SecretKeyClientSecret] != secret) {
		t.Errorf("with another secret there are mistakes: %v", others)
	}
	configMapData, _ := ConfigMapData(c, doc, "https://auth.example.com")
	expectBounded(t, secretData)
	expectBounded(t, configMapData)
	for key, text := range configMapData {
		if key == SecretKeyClientSecret || strings.Contains(text, AnySecret) {
			t.Errorf("the ConfigMap has a secret under %q", key)
		}
	}
}

// expectBounded: what a user's texts make fits into an object.
func expectBounded(t *testing.T, data map[string]string) {
	t.Helper()
	size := 0
	for _, text := range data {
		size += len(text)
	}
	if size > maxDataBytes+16<<10 { // besides the default keys
		t.Errorf("%d bytes", size)
	}
}

func expectUser(t *testing.T, u *v1alpha1.OAuthUser, doc documents.User) {
	t.Helper()
	_, findings := User(u)
	if len(findings) > 0 {
		return
	}
	if doc.Username == "" {
		t.Error("a user without a name")
	}
	for name := range doc.Claims {
		if oauth.IsReservedClaim(name) {
			t.Errorf("the claim %q went through", name)
		}
	}
}
