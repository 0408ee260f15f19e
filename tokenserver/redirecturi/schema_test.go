package redirecturi

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// listAfter returns the list of strings that follows a text in a CustomResourceDefinition, sorted.
func listAfter(t *testing.T, crd, text string) []string {
	t.Helper()
	content, err := os.ReadFile("../../config/crd/bases/oauth-operator.dev_" + crd + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	unwrapped := strings.Join(strings.Fields(strings.ReplaceAll(string(content), "''", "'")), " ")
	_, list, found := strings.Cut(unwrapped, text)
	list, _, closed := strings.Cut(list, "]")
	if !found || !closed {
		t.Fatalf("%s has no rule with %s", crd, text)
	}
	return slices.Sorted(slices.Values(strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune("', ", r) })))
}

func TestTheSchemasRefuseTheSchemesThatAreNoApplicationsOwn(t *testing.T) {
	all := slices.Sorted(slices.Values(append(slices.Clone(permanentSchemes), systemSchemes...)))
	if got := listAfter(t, "authorizationservers", "!(self in ["); !slices.Equal(got, all) {
		t.Errorf("redirectSchemes refuses\n%q\nnot\n%q", got, all)
	}
	others := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "http" || s == "https" })
	if got := listAfter(t, "oauthclients", "!(self.split(':', 2)[0] in ["); !slices.Equal(got, others) {
		t.Errorf("redirectURIs refuses\n%q\nnot\n%q", got, others)
	}
	prefixes := "self.matches('^(" + strings.ReplaceAll(strings.Join(systemPrefixes, "|"), ".", "[.]") + ")'))"
	for _, crd := range []string{"authorizationservers", "oauthclients"} {
		content, err := os.ReadFile("../../config/crd/bases/oauth-operator.dev_" + crd + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(string(content), "''", "'")), " "), prefixes) {
			t.Errorf("%s has no rule with %s", crd, prefixes)
		}
	}
}

// RFC 8252 section 7.1: a private-use scheme is one that an application made up for itself.
func TestNoSchemeOfAnyoneElseIsAPrivateUseScheme(t *testing.T) {
	for _, uri := range []string{
		"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "blob:https://a.example/1", "file:///etc/passwd",
		"about:blank", "filesystem:https://a.example/", "view-source:https://a.example", "content://com.android/x", "intent://x#Intent;end",
		"android-app://com.x", "chrome-extension://abc/cb", "ms-msdt:/id", "ms-settings:x", "search-ms:query=x", "shell:startup",
		"itms-services://?action=x", "itms://a", "mailto:a@example.com", "tel:1", "ssh://h", "iris.beep://h/x", "z39.50r://h/x",
		"soap.beep://h", "microsoft.windows.camera:x", "x-apple.systempreferences:x", "urn:x:y", "wss://h/cb", "ftp://h/cb",
	} {
		if kind, name := Classify(uri); kind != Invalid {
			t.Errorf("%s: kind %v, %q", uri, kind, name)
		}
	}
	for _, scheme := range []string{"JavaScript", "INTENT", "Ms-msdt", "MailTo"} {
		if isPrivateUseScheme(scheme) {
			t.Errorf("%s is taken for a private-use scheme", scheme)
		}
	}
	for uri, scheme := range map[string]string{
		"com.shop.app:/cb": "com.shop.app", "cursor://anysphere.cursor/cb": "cursor", "vscode:/cb": "vscode", "my-app:cb": "my-app",
		"com.ms-x.app:/cb": "com.ms-x.app",
	} {
		if kind, name := Classify(uri); kind != PrivateUse || name != scheme {
			t.Errorf("%s: kind %v, %q", uri, kind, name)
		}
	}
}
