package docs

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// The tests of the API types ask the API server as well.
func TestEachIdentityProviderInTheDocumentationIsValidAndItsExamplesComeOut(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "identity-providers", "*.md"))
	if err != nil || len(pages) < 6 {
		t.Fatalf("found the pages %v: %v", pages, err)
	}
	for _, page := range append(pages, filepath.Join(root, "docs", "identityprovider.md")) {
		found := 0
		for _, block := range strings.Split(read(t, page), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "\n```")
			for _, manifest := range strings.Split(block, "\n---\n") {
				if !strings.Contains(manifest, "kind: IdentityProvider\n") {
					continue
				}
				found++
				var p v1alpha1.IdentityProvider
				if err := yaml.UnmarshalStrict([]byte(manifest), &p); err != nil {
					t.Errorf("%s: %v", page, err)
					continue
				}
				checkProvider(t, page, &p)
			}
		}
		if isRecipe := filepath.Base(page) != "README.md" && slices.Contains(pages, page); isRecipe && found != 1 {
			t.Errorf("%s has %d IdentityProviders, want 1", page, found)
		}
	}
}

func checkProvider(t *testing.T, page string, p *v1alpha1.IdentityProvider) {
	t.Helper()
	_, findings := compile.IdentityProvider(p)
	for _, finding := range findings {
		t.Errorf("%s: %v", page, finding)
	}
	if err := compile.MappingExamples(p); err != nil {
		t.Errorf("%s: %v", page, err)
	}
	denied := slices.ContainsFunc(p.Spec.Examples, func(e v1alpha1.MappingExample) bool { return e.Denied })
	if len(p.Spec.Examples) == 1 || len(p.Spec.Examples) > 1 && !denied {
		t.Errorf("%s has no example of a user who signs in, or none of one who does not", page)
	}
}
