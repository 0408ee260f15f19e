package pages

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// withText returns a copy of a page in which text replaces each string.
func withText(page Page, text string) Page {
	copied := reflect.New(reflect.TypeOf(page)).Elem()
	copied.Set(reflect.ValueOf(page))
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(text)
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.Slice:
			own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(own, v)
			v.Set(own)
			for i := range v.Len() {
				fill(v.Index(i))
			}
		default: // numbers and yes or no
		}
	}
	fill(copied)
	return copied.Interface().(Page)
}

// elementsOf returns the elements of a page in order, each with the names of its attributes.
func elementsOf(t *testing.T, page Page) string {
	t.Helper()
	var all []string
	for node := range parsePage(t, page).Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		all = append(all, node.Data)
		for _, a := range node.Attr {
			all = append(all, " "+a.Key)
		}
	}
	return strings.Join(all, " ")
}

func TestWhateverAPageIsToldIsShownAsText(t *testing.T) {
	for name, page := range everyPage {
		want := elementsOf(t, withText(page, "harmless"))
		for _, hostile := range []string{
			`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><b onclick='alert(1)`, `</title></style><iframe>`, "a onmouseover=alert(1) b",
			`{{.}}`, "<!--", `&lt;script&gt;`, "x\r\n\r\n<b>",
		} {
			if got := elementsOf(t, withText(page, hostile)); got != want {
				t.Errorf("%s: %q became markup:\n%s\nwant\n%s", name, hostile, got, want)
			}
		}
		for node := range parsePage(t, withText(page, "javascript:alert(1)")).Descendants() {
			for _, key := range []string{"action", "formaction", "href", "src"} {
				if node.Type == html.ElementNode && strings.HasPrefix(attribute(node, key), "javascript:") {
					t.Errorf("%s: <%s %s> runs a script", name, node.Data, key)
				}
			}
		}
	}
}

func TestEveryPageIsAmongThoseThatAreTested(t *testing.T) {
	tested := map[string]bool{}
	for _, page := range everyPage {
		tested[page.file()] = true
	}
	for file := range templates {
		if !tested[file] {
			t.Errorf("no test renders %s", file)
		}
	}
}
