package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestLinksInTheDocumentationLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pages := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*.md", "charts/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			pages++
			for _, match := range link.FindAllStringSubmatch(read(t, path), -1) {
				target, anchor, _ := strings.Cut(match[1], "#")
				if strings.Contains(target, "://") {
					continue
				}
				to := path
				if target != "" {
					to = filepath.Join(filepath.Dir(path), filepath.FromSlash(target))
				}
				if _, err := os.Stat(to); err != nil {
					t.Errorf("%s leads to %s, which does not exist", path, match[1])
				} else if anchor != "" && !anchors(read(t, to))[anchor] {
					t.Errorf("%s leads to %s, and there is no such heading", path, match[1])
				}
			}
		}
	}
	if pages < 20 {
		t.Errorf("found %d pages only", pages)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// anchors returns what the headings of a page are called in a link, as GitHub derives it.
func anchors(page string) map[string]bool {
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	found := map[string]bool{}
	inCode := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inCode = !inCode
		}
		if heading := strings.TrimLeft(line, "#"); !inCode && heading != line && strings.HasPrefix(heading, " ") {
			name := dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			found[strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return found
}
