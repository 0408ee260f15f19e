package main

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// The measures of a chart, in pixels.
const (
	chartWidth = 860
	margin     = 16
	titleSpace = 44
	lineSpace  = 20
	// letter is about the width of one, which is all that is known of the reader's font.
	letter = 6.4
)

// style has the colours for light and dark. The picture brings its own background, because the page
// that it is in may follow another setting.
const style = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
text.title { font-weight: 600; font-size: 14px }
text.note { fill: #59636e }
.page { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.mark { stroke: #cf222e; stroke-width: 2 }
.a { color: #0969da } .b { color: #8250df } .c { color: #1a7f37 } .d { color: #bc4c00 } .floor { color: #afb8c1 }
.a, .b, .c, .d, .floor { fill: currentColor }
path { stroke: currentColor; stroke-width: 2 }
path.a, path.b, path.c, path.d { fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
text.note { fill: #9198a1 }
.page { fill: #0d1117 }
.grid { stroke: #3d444d }
.mark { stroke: #ff7b72 }
.a { color: #4493f8 } .b { color: #ab7df8 } .c { color: #3fb950 } .d { color: #db6d28 } .floor { color: #656c76 }
}
</style>
`

// drawing is a picture in the making.
type drawing struct{ strings.Builder }

func (d *drawing) rect(class string, x, y, width, height float64) {
	fmt.Fprintf(d, "<rect class=%q x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", class, x, y, width, height)
}

func (d *drawing) circle(class string, x, y, radius float64) {
	fmt.Fprintf(d, "<circle class=%q cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", class, x, y, radius)
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(d, "<line class=%q x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2)
}

// text is anchored at its start, middle or end.
func (d *drawing) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(d, "<text class=%q text-anchor=%q x=\"%.1f\" y=\"%.1f\">%s</text>\n", class, anchor, x, y, html.EscapeString(text))
}

// entry is what a colour of the legend stands for.
type entry struct{ class, text string }

// legend is written at y, from x on.
func (d *drawing) legend(x, y float64, entries ...entry) {
	for _, e := range entries {
		if e.class == "mark" {
			d.line(e.class, x+5, y-9, x+5, y+1)
		} else {
			d.rect(e.class, x, y-9, 10, 10)
		}
		d.text("note", "start", x+15, y, e.text)
		x += 15 + widthOf(e.text) + 18
	}
}

// svg is the finished picture.
func (d *drawing) svg(title string, height float64) string {
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n<title>%s</title>\n%s"+
		"<rect class=\"page\" width=\"100%%\" height=\"100%%\" rx=\"6\"/>\n<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n%s</svg>\n",
		chartWidth, height, chartWidth, height, html.EscapeString(title), style, margin, margin+8, html.EscapeString(title), d.String())
}

func widthOf(text string) float64 { return letter * float64(utf8.RuneCountInString(text)) }
