package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

var everyPage = map[string]Page{
	"error":      Error{Message: MessageBusy, Request: "4f1c2a9b8e7d6c5b4a392817"},
	"login":      Login{Action: "https://auth.example.com/login", Flow: "sealed", Client: Client{DisplayName: "Shop", ID: "web"}, Server: "auth.example.com"},
	"failed":     Login{Action: "https://auth.example.com/login", Flow: "sealed", Client: Client{ID: "web"}, Username: "alice", Failed: true},
	"other ways": Login{Action: "https://auth.example.com/login", Flow: "sealed", Client: Client{ID: "web"}, OtherWays: "https://auth.example.com/login?flow=sealed"},
	"chooser": Chooser{
		Client: Client{DisplayName: "Shop", ID: "web"}, Server: "auth.example.com",
		Ways: []Way{{URL: "https://auth.example.com/login?flow=sealed&way=acme", Name: "acme", DisplayName: "Acme"}, {URL: "https://auth.example.com/login?flow=sealed&way=local", Name: "local"}},
	},
	"chooser after a failure": Chooser{Client: Client{ID: "web"}, Failure: FailureDenied, Ways: []Way{{URL: "https://auth.example.com/login", Name: "acme", DisplayName: "Acme"}}},
	"signed out here":         SignedOut{Server: "auth.example.com", Ended: true, Provider: "Acme", ProviderURL: "https://acme.example/logout"},
	"consent": Consent{
		Action: "https://auth.example.com/consent", Flow: "sealed", Client: Client{DisplayName: "Shop", ID: "web"}, Username: "alice", Name: "Alice",
		Host: "shop.example.com", Scopes: []Scope{{Name: "orders:read", Description: "See your orders"}, {Name: "orders:write"}},
	},
	"post": Post{
		Action: "https://shop.example.com/callback?a=b", Client: Client{ID: "web"}, Server: "auth.example.com",
		Fields: []Field{{"code", "x"}, {"state", `"><script>alert(1)</script>`}},
	},
	"logout": Logout{
		Action: "https://auth.example.com/logout", Request: "sealed", Server: "auth.example.com", Username: "alice", Name: "Alice", Host: "shop.example.com",
	},
	"logout and nothing after":  Logout{Action: "https://auth.example.com/logout", Request: "sealed", Username: "alice"},
	"issuer":                    Issuer{Server: "auth.example.com", Issuer: "https://auth.example.com", Metadata: "https://auth.example.com/metadata"},
	"signed out":                SignedOut{Server: "auth.example.com", Ended: true},
	"signed out and no further": SignedOut{Ended: true, NoRedirect: NoRedirectHint},
	"not signed in":             SignedOut{Server: "auth.example.com", NoRedirect: NoRedirectUnregistered},
	"consent for nothing":       Consent{Action: "https://auth.example.com/consent", Client: Client{ID: "web"}, Username: "alice", Host: "127.0.0.1:1", Local: true},
}

func parsePage(t *testing.T, page Page) *html.Node {
	t.Helper()
	body, err := Render(page)
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func TestPagesHaveNoScriptsAndFetchNothing(t *testing.T) {
	for name, page := range everyPage {
		for node := range parsePage(t, page).Descendants() {
			if node.Type != html.ElementNode {
				continue
			}
			if _, posts := page.(Post); posts && node.Data == "script" {
				continue // the one there is
			}
			if slices.Contains([]string{"script", "link", "img", "iframe", "object", "embed", "svg", "base", "video"}, node.Data) {
				t.Errorf("%s: there is a <%s>", name, node.Data)
			}
			for _, a := range node.Attr {
				followed := node.Data == "a" && a.Key == "href" // by the user alone
				if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "style" || a.Key == "href" && !followed {
					t.Errorf("%s: <%s> has %s", name, node.Data, a.Key)
				}
			}
		}
	}
	css := string(style)
	if strings.Contains(css, "url(") || strings.Contains(css, "@import") {
		t.Error("the stylesheet fetches something")
	}
}

func TestThePolicyNamesTheStylesheetThatIsInThePage(t *testing.T) {
	for name, page := range everyPage {
		for node := range parsePage(t, page).Descendants() {
			if node.Type != html.ElementNode || node.Data != "style" {
				continue
			}
			hash := sha256.Sum256([]byte(node.FirstChild.Data))
			policy := SecurityPolicy(page, "")
			if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "';"; !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q does not allow the page's own style", name, policy)
			}
		}
	}
}

func TestOnlyThePageThatPostsHasAScriptAndThePolicyNamesIt(t *testing.T) {
	for name, page := range everyPage {
		var found []string
		for node := range parsePage(t, page).Descendants() {
			if node.Type == html.ElementNode && node.Data == "script" {
				found = append(found, node.FirstChild.Data)
			}
		}
		policy := SecurityPolicy(page, "")
		if name != "post" {
			if len(found) > 0 || strings.Contains(policy, "script-src") {
				t.Errorf("%s: scripts %q under %q", name, found, policy)
			}
			continue
		}
		if len(found) != 1 {
			t.Fatalf("scripts %q, want one", found)
		}
		hash := sha256.Sum256([]byte(found[0]))
		if want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"; !strings.HasSuffix(policy, want) {
			t.Errorf("the policy %q does not allow the page's own script", policy)
		}
	}
}

func TestThePolicyNamesWhereTheFormLeads(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                   "form-action 'self';",
		"https://shop.example.com/callback":  "form-action 'self' https://shop.example.com https:;",
		"https://shop.example.com:8443/a?b":  "form-action 'self' https://shop.example.com:8443 https:;",
		"http://127.0.0.1:51004/callback":    "form-action 'self' http://127.0.0.1:51004 https:;",
		"http://[::1]:51004/callback":        "form-action 'self' http: https:;",
		"com.example.app:/callback":          "form-action 'self' com.example.app: https:;",
		"https://a.example; script-src */cb": "form-action 'self';",
		"https://a'b,c.example/":             "form-action 'self';",
	} {
		policy := SecurityPolicy(Login{}, uri)
		if !strings.Contains(policy, want) {
			t.Errorf("%s: %s", uri, policy)
		}
		for _, always := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, always) {
				t.Errorf("%s: no %s in %s", uri, always, policy)
			}
		}
	}
}

func TestEveryFieldHasALabelAndEveryPageAHeadingAndATitle(t *testing.T) {
	for name, page := range everyPage {
		labels, fields, headings, title, language := map[string]bool{}, []string{}, 0, "", ""
		for node := range parsePage(t, page).Descendants() {
			switch node.Data {
			case "label":
				labels[attribute(node, "for")] = true
			case "input":
				if attribute(node, "type") != "hidden" {
					fields = append(fields, attribute(node, "id"))
					if attribute(node, "autocomplete") == "" {
						t.Errorf("%s: %s does not say what fills it in", name, attribute(node, "id"))
					}
				}
			case "h1":
				headings++
			case "title":
				if node.FirstChild != nil {
					title = node.FirstChild.Data
				}
			case "html":
				language = attribute(node, "lang")
			}
		}
		for _, id := range fields {
			if !labels[id] {
				t.Errorf("%s: %s has no label", name, id)
			}
		}
		if headings != 1 || title == "" || language == "" {
			t.Errorf("%s: %d headings, title %q, language %q", name, headings, title, language)
		}
	}
}

func TestPagesHaveTheIDsThatProgramsKnow(t *testing.T) {
	for name, ids := range map[string][]string{
		"login": {"username", "password", "login-submit"}, "consent": {"consent-allow", "consent-deny"}, "logout": {"logout-confirm"},
	} {
		found := map[string]bool{}
		for node := range parsePage(t, everyPage[name]).Descendants() {
			found[attribute(node, "id")] = true
		}
		for _, id := range ids {
			if !found[id] {
				t.Errorf("%s: no element has the id %s", name, id)
			}
		}
	}
}

func TestAFailedLoginIsAnnouncedAndDescribesTheFields(t *testing.T) {
	alerts := map[string]bool{}
	for node := range parsePage(t, everyPage["failed"]).Descendants() {
		if attribute(node, "role") == "alert" {
			alerts[attribute(node, "id")] = true
		}
		if node.Data == "input" && attribute(node, "type") != "hidden" && !alerts[attribute(node, "aria-describedby")] {
			t.Errorf("%s is not described by the alert", attribute(node, "id"))
		}
	}
	if len(alerts) != 1 {
		t.Errorf("%d alerts, want 1", len(alerts))
	}
}

// TestTextHasEnoughContrast holds the colours of both schemes against WCAG 2.2: 4.5 for text
// (success criterion 1.4.3), 3 for the outline of a field (1.4.11).
func TestTextHasEnoughContrast(t *testing.T) {
	schemes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(style), -1)
	if len(schemes) != 2 {
		t.Fatalf("%d colour schemes, want light and dark", len(schemes))
	}
	for i, scheme := range schemes {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(scheme[1], -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5}, {"text", "page", 4.5}, {"muted", "card", 4.5}, {"muted", "page", 4.5}, {"on-accent", "accent", 4.5},
			{"on-accent", "accent-strong", 4.5}, {"accent", "card", 4.5}, {"accent", "page", 4.5}, {"accent", "tint", 4.5}, {"alert", "alert-tint", 4.5},
			{"field", "card", 3},
		} {
			front, back := colour[c.front], colour[c.back]
			if got := (max(front, back) + .05) / (min(front, back) + .05); got < c.least {
				t.Errorf("scheme %d: %s on %s has a contrast of %.2f, want %.1f", i, c.front, c.back, got, c.least)
			}
		}
	}
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var total float64
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		v := float64(n) / 255
		if v <= .04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+.055)/1.055, 2.4)
		}
		total += weight * v
	}
	return total
}
