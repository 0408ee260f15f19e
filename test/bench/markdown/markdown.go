// Package markdown fills the parts of a Markdown page that programs write, which are between a line
// <!-- KIND: NAME --> and a line <!-- end of KIND -->.
package markdown

import (
	"regexp"
	"strings"
)

// Fill replaces what is between the markers of a kind by what content returns for the name. Content
// begins and ends with an empty line; where it is empty, the page gets the sentence that says so.
func Fill(document, kind, otherwise string, content func(name string) string) string {
	end := EndMarker(kind)
	section := regexp.MustCompile(`(?s)<!-- ` + kind + `: ([a-z-]+) -->\n.*?` + end)
	return section.ReplaceAllStringFunc(document, func(found string) string {
		name := section.FindStringSubmatch(found)[1]
		text := content(name)
		if text == "" {
			text = "\n" + otherwise + "\n\n"
		}
		return Marker(kind, name) + "\n" + text + end
	})
}

// Marker is the line before a part.
func Marker(kind, name string) string { return "<!-- " + kind + ": " + name + " -->" }

// EndMarker is the line after a part.
func EndMarker(kind string) string { return "<!-- end of " + kind + " -->" }

// Table is a table in Markdown, whose first line is its head. One without rows is nothing.
func Table(lines [][]string) string {
	if len(lines) < 2 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n")
	for i, cells := range lines {
		b.WriteString("|")
		for _, cell := range cells {
			b.WriteString(strings.TrimRight(" "+cell, " ") + " |")
		}
		b.WriteString("\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}
