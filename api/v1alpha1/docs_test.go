package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
)

const docsDir = "../../docs"

// definitions returns the CustomResourceDefinitions that people deal with, by the name of their
// page.
func definitions(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	paths, err := filepath.Glob(filepath.Join(crdDir, "oauth-operator.dev_*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		crd := new(apiextensionsv1.CustomResourceDefinition)
		if err := yaml.UnmarshalStrict(content, crd); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		found[strings.ToLower(crd.Spec.Names.Kind)] = crd
	}
	if len(found) != 8 {
		t.Fatalf("%d kinds, want 8", len(found))
	}
	return found
}

func page(t *testing.T, kind string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(docsDir, kind+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestThePageOfAKindNamesEachOfItsFields(t *testing.T) {
	for kind, crd := range definitions(t) {
		text := page(t, kind)
		for path, schema := range fields(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema, "") {
			switch {
			case strings.HasPrefix(path, "spec.allowedResourceServers[].namespaces.selector."):
				continue // "the same fields below it" as those of allowedClients
			case strings.HasPrefix(path, "status.conditions[]."):
				continue // these are known
			case isOfKubernetes(path):
				continue // "as in a Pod"
			}
			if !strings.Contains(text, "| `"+path+"` |") {
				t.Errorf("%s.md does not name %s (%s)", kind, path, schema.Description)
			}
		}
	}
}

// isOfKubernetes reports whether a field is one of a type of Kubernetes' own.
func isOfKubernetes(path string) bool {
	const pod = "spec.deployment.podTemplate.spec."
	return strings.HasPrefix(path, pod+"affinity.") || strings.HasPrefix(path, pod+"tolerations[].") ||
		strings.HasPrefix(path, pod+"topologySpreadConstraints[].")
}

// fields returns the schema of each field below spec and status, by its path.
func fields(schema apiextensionsv1.JSONSchemaProps, path string) map[string]apiextensionsv1.JSONSchemaProps {
	found := map[string]apiextensionsv1.JSONSchemaProps{}
	if strings.Contains(path, ".") {
		found[path] = schema
	}
	if schema.Items != nil {
		path, schema = path+"[]", *schema.Items.Schema
	}
	for name, property := range schema.Properties {
		if path == "" && name != "spec" && name != "status" {
			continue
		}
		for p, s := range fields(property, strings.TrimPrefix(path+"."+name, ".")) {
			found[p] = s
		}
	}
	return found
}

func TestTheExamplesOfThePagesAreAdmitted(t *testing.T) {
	for kind := range definitions(t) {
		if createExamples(t, kind+".md", page(t, kind)) == 0 {
			t.Errorf("%s.md has no example", kind)
		}
	}
}

func TestTheRecipesForIdentityProvidersAreAdmitted(t *testing.T) {
	recipes, err := filepath.Glob(filepath.Join(docsDir, "identity-providers", "*.md"))
	if err != nil || len(recipes) < 6 {
		t.Fatalf("found the recipes %v: %v", recipes, err)
	}
	for _, recipe := range recipes {
		content, err := os.ReadFile(recipe)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(recipe); name != "README.md" && createExamples(t, name, string(content)) != 1 {
			t.Errorf("%s has not one example", name)
		}
	}
}

// createExamples creates the objects of the examples in a page, in a namespace for the page, and
// returns how many examples there are.
func createExamples(t *testing.T, name, rest string) (examples int) {
	t.Helper()
	namespace := newNamespace(t)
	for ; ; examples++ {
		_, after, found := strings.Cut(rest, "```yaml\n")
		if !found {
			return examples
		}
		var example string
		example, rest, _ = strings.Cut(after, "```")
		objects, err := controlplane.Decode([]byte(example))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, o := range objects {
			o.SetNamespace(namespace)
			if err := admin.Create(t.Context(), o); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestThePagesExplainEachConditionAndReason(t *testing.T) {
	var pages strings.Builder
	for kind := range definitions(t) {
		pages.WriteString(page(t, kind))
	}
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, isSpec := n.(*ast.ValueSpec)
		if !isSpec || !strings.HasPrefix(spec.Names[0].Name, "Reason") && !strings.HasPrefix(spec.Names[0].Name, "Condition") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if constants++; !strings.Contains(pages.String(), "`"+value+"`") {
			t.Errorf("no page explains %s", value)
		}
		return true
	})
	if constants == 0 {
		t.Error("no conditions and reasons found")
	}
}
