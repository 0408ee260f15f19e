package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// reworkedLater are the directories whose words are still to be replaced, each with its own change.
// Nothing is added here.
var reworkedLater = []string{}

// privateWords are words that were names here and that a reader could not know, with what says it.
var privateWords = map[string]string{
	"whoever":    "the caller, the client, another replica",
	"nobody":     "no client, no process, or the passive voice",
	"somebody":   "a user, another program",
	"those who":  "the users, the clients",
	"impostor":   "forged token",
	"estate":     "",
	"furnish":    "set up",
	"glance":     "cached read",
	"mourning":   "retention of dead replicas",
	"bury":       "delete, remember as deleted",
	"census":     "count",
	"setback":    "failure",
	"sighting":   "observed change",
	"verdict":    "condition",
	"deference":  "back-off",
	"doorway":    "connection limiter",
	"granttest":  "servertest",
	"witness":    "",
	"decoy":      "dummy hash",
	"unmade":     "not created",
	"chores":     "periodic tasks",
	"rouse":      "notify",
	"take stock": "list, count",
	"unsettled":  "unconfirmed",
}

func TestPrivateWordsDoNotComeBack(t *testing.T) {
	var all []string
	for word := range privateWords {
		all = append(all, regexp.QuoteMeta(word))
	}
	pattern := regexp.MustCompile(`(?i)\b(?:` + strings.Join(all, "|") + `)`)
	// Tests are named by sentences, and http.NoBody by Go.
	allowed := regexp.MustCompile(`\b(?:(?:Test|Fuzz)\w+|NoBody\b|those whose\b)`)
	walkSources(t, func(path, line string, number int) {
		line = allowed.ReplaceAllString(line, "")
		for _, word := range pattern.FindAllString(line, -1) {
			t.Errorf("%s:%d: %q is a private word; say %q", path, number, word, privateWords[strings.ToLower(word)])
		}
	})
}

// walkSources calls check for each line of the Go files and the documentation outside the
// directories that are reworked later, with the line's number.
func walkSources(t *testing.T, check func(path, line string, number int)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			for _, later := range append(reworkedLater, "bin", ".git", "test/clients/testdata") {
				if relative == later {
					return filepath.SkipDir
				}
			}
			return nil
		}
		if extension := filepath.Ext(path); extension != ".go" && extension != ".md" || entry.Name() == "words_test.go" {
			return nil
		}
		content, err := os.ReadFile(path)
		for i, line := range strings.Split(string(content), "\n") {
			check(relative, line, i+1)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
