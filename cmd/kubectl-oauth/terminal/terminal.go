// Package terminal is about what the plugin prints for people.
package terminal

import (
	"strconv"
	"strings"
	"unicode"
)

// Printable returns a text of another program with all characters escaped that could do something to
// a terminal, or make the text look like that of this program.
func Printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
