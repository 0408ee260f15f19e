// Package docs holds what the documentation says against the tree.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// tests are the names of all tests and fuzzers of the tree, whatever build tags their files have.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "bin" || entry.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(source, -1) {
			names[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEachSecurityPropertyNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	promises, _, found := strings.Cut(string(page), "\n## What it does not protect against\n")
	if !found {
		t.Fatal("the page does not say what is not protected against")
	}
	exist := tests(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w*)`")
	items := strings.Split(promises, "\n- ")[1:]
	if len(items) < 20 {
		t.Fatalf("found %d properties only", len(items))
	}
	for _, item := range items {
		item, _, _ = strings.Cut(item, "\n\n")
		names := named.FindAllStringSubmatch(item, -1)
		if len(names) == 0 {
			t.Errorf("no test is named for: %s", item)
		}
		for _, name := range names {
			if !exist[name[1]] {
				t.Errorf("%s does not exist; it is named for: %s", name[1], item)
			}
		}
	}
}
