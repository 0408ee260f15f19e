package compile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// go test ./controllers/compile -update writes what the compiler says today over the golden files.
// Read the difference before you keep it: documents are read by token servers of other versions.
var update = flag.Bool("update", false, "write the golden files")

// A case is a folder: object.yaml is what a user wrote, keys.yaml or credentials.yaml what the
// manager adds. The golden files beside them are document.json, findings.txt if the object has
// mistakes, and secret.yaml and configmap.yaml if the operator writes a Secret and a ConfigMap for
// the client.
func TestEachObjectBecomesTheDocumentBesideIt(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/object.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			object := readObject(t, file)
			before := object.DeepCopyObject()
			got := compileCase(t, dir, object)
			if again := compileCase(t, dir, object); !reflect.DeepEqual(again, got) {
				t.Error("compiling twice gives two results")
			}
			if !reflect.DeepEqual(object, before) {
				t.Error("compiling changed the object")
			}
			for _, name := range []string{"document.json", "findings.txt", "secret.yaml", "configmap.yaml"} {
				compareGolden(t, filepath.Join(dir, name), got[name])
			}
		})
	}
}

func TestTheNamesOfEntriesNeverChange(t *testing.T) {
	type vector struct {
		ServerUID types.UID              `json:"serverUID"`
		Space     internalv1alpha1.Space `json:"space"`
		Value     string                 `json:"value"`
		Name      string                 `json:"name,omitempty"`
	}
	var vectors []vector
	readYAML(t, "testdata/entrynames/vectors.yaml", &vectors)
	for i, v := range vectors {
		vectors[i].Name = EntryName(v.ServerUID, Name{v.Space, v.Value})
	}
	compareGolden(t, "testdata/entrynames/names.json", indented(t, vectors))
}

// compileCase returns the content of the golden files of a case.
func compileCase(t *testing.T, dir string, object runtime.Object) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	var document any
	var findings Findings
	switch object := object.(type) {
	case *v1alpha1.AuthorizationServer:
		var keys []documents.Key
		readYAML(t, filepath.Join(dir, "keys.yaml"), &keys)
		document, findings = Server(object, keys)
	case *v1alpha1.OAuthClient:
		var credentials []documents.Credential
		readYAML(t, filepath.Join(dir, "credentials.yaml"), &credentials)
		doc := Client(object, credentials)
		document = doc
		_, findings = ClientKeys(object)
		if target := SecretTarget(object); target != nil {
			content, mistakes := SecretData(object, doc, "https://auth.example.com", "the secret")
			findings = append(findings, mistakes...)
			files["secret.yaml"] = toYAML(t, map[string]any{"target": target, "content": content})
		}
		if object.Spec.ConfigMap != nil {
			content, mistakes := ConfigMapData(object, doc, "https://auth.example.com")
			findings = append(findings, mistakes...)
			files["configmap.yaml"] = toYAML(t, content)
		}
	case *v1alpha1.OAuthUser:
		document, findings = User(object)
	case *v1alpha1.ResourceServer:
		document, findings = ResourceServer(object)
	case *corev1.Namespace:
		document = Namespace(object)
	}
	text, err := documents.Encode(document)
	if err != nil {
		t.Fatal(err)
	}
	files["document.json"] = indented(t, json.RawMessage(text))
	for _, f := range findings {
		files["findings.txt"] = append(files["findings.txt"], f.Field+": "+f.Message+"\n"...)
	}
	return files
}

// compareGolden compares with a golden file; nil means that there must be none.
func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		err := os.WriteFile(file, got, 0o644)
		if got == nil {
			err = os.Remove(file)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || (got == nil) != os.IsNotExist(err) {
		t.Errorf("%s differs (-update writes it)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// readObject reads one object strictly: a field that a kind does not have is a mistake in the case.
func readObject(t testing.TB, file string) runtime.Object {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(content, &meta); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	object := newObject(meta.Kind)
	if object == nil {
		t.Fatalf("%s: unknown kind %q", file, meta.Kind)
	}
	if err := yaml.UnmarshalStrict(content, object); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return object
}

// newObject is an empty object of a kind that the compiler reads; nil for another kind.
func newObject(kind string) runtime.Object {
	switch kind {
	case "AuthorizationServer":
		return &v1alpha1.AuthorizationServer{}
	case "OAuthClient":
		return &v1alpha1.OAuthClient{}
	case "OAuthUser":
		return &v1alpha1.OAuthUser{}
	case "ResourceServer":
		return &v1alpha1.ResourceServer{}
	case "Namespace":
		return &corev1.Namespace{}
	}
	return nil
}

// readYAML reads a file, if it is there.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		err = yaml.UnmarshalStrict(content, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func toYAML(t *testing.T, value any) []byte {
	t.Helper()
	content, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// indented JSON, as the golden files have it: one line a field, characters unescaped.
func indented(t *testing.T, value any) []byte {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
