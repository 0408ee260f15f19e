package documented

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

var (
	reasonLink   = regexp.MustCompile("\\[`(\\w+)`\\]\\(troubleshoot\\.md#(\\w+)\\)")
	quotedReason = regexp.MustCompile("`(\\w+)`")
)

// Reasons are the reasons that the page of a kind gives to conditions.
type Reasons struct {
	// ByCondition has those of a condition that is not True, by its type.
	ByCondition map[string][]string
	// OfAny has those that each condition can have.
	OfAny []string
	// OfTrue has those of conditions that are True.
	OfTrue []string
	// Anchors has the sections of troubleshoot.md that the page leads to, by reason.
	Anchors map[string]string
}

// ReasonsOf reads the page of a kind, such as "oauthclient".
func ReasonsOf(kind string) (Reasons, error) {
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "docs", kind+".md"))
	if err != nil {
		return Reasons{}, err
	}
	_, section, _ := strings.Cut(string(text), "\n### Conditions\n")
	found := Reasons{ByCondition: map[string][]string{}, Anchors: map[string]string{}}
	for line := range strings.Lines(section) {
		var reasons []string
		for _, link := range reasonLink.FindAllStringSubmatch(line, -1) {
			found.Anchors[link[1]] = link[2]
			reasons = append(reasons, link[1])
		}
		if strings.HasPrefix(line, "| `") {
			condition := quotedReason.FindStringSubmatch(line)[1]
			found.ByCondition[condition] = append(found.ByCondition[condition], reasons...)
		} else {
			found.OfAny = append(found.OfAny, reasons...)
		}
	}
	_, ofTrue, _ := strings.Cut(section, "`True` has the reasons ")
	ofTrue, _, _ = strings.Cut(ofTrue, "Each condition can also have ")
	for _, reason := range quotedReason.FindAllStringSubmatch(ofTrue, -1) {
		found.OfTrue = append(found.OfTrue, reason[1])
	}
	return found, nil
}
