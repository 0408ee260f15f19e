package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/documented"
)

// kinds are the pages of the kinds that have conditions.
var kinds = []string{"authorizationserver", "oauthclient", "oauthuser", "resourceserver", "identityprovider"}

// sections returns the sections below "## Reasons" of troubleshoot.md, by their headings.
func sections(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshoot.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, reasons, found := strings.Cut(string(page), "\n## Reasons\n")
	if !found {
		t.Fatal("troubleshoot.md has no section on reasons")
	}
	all := map[string]string{}
	for _, section := range strings.Split(reasons, "\n### ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		all[heading] = text
	}
	return all
}

func TestEachReasonIsExplainedAndThePagesOfTheKindsLeadThere(t *testing.T) {
	explained := sections(t)
	mentioned := map[string]bool{}
	for _, kind := range kinds {
		reasons, err := documented.ReasonsOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		for reason, anchor := range reasons.Anchors {
			mentioned[reason] = true
			if _, is := explained[reason]; !is || anchor != strings.ToLower(reason) {
				t.Errorf("%s.md leads to troubleshoot.md#%s for %s, which does not explain it", kind, anchor, reason)
			}
		}
		for _, reason := range reasons.OfTrue {
			mentioned[reason] = true
		}
	}
	reasons := constants(t, "Reason")
	for _, reason := range reasons {
		if !mentioned[reason] {
			t.Errorf("no page of a kind mentions the reason %s", reason)
		}
	}
	for reason := range explained {
		if !slices.Contains(reasons, reason) {
			t.Errorf("troubleshoot.md explains %s, which is no reason", reason)
		}
		if !mentioned[reason] {
			t.Errorf("no page of a kind leads to %s", reason)
		}
	}
}

// constants returns the values of the constants of api/v1alpha1/conditions.go whose names have a
// prefix.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api", "v1alpha1", "conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, is := n.(*ast.ValueSpec); is && strings.HasPrefix(spec.Names[0].Name, prefix) {
			values = append(values, unquote(t, spec.Values[0].(*ast.BasicLit)))
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("there are no constants %s...", prefix)
	}
	return values
}

func unquote(t *testing.T, literal *ast.BasicLit) string {
	t.Helper()
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestEachMessageThatThePageQuotesIsOneOfTheManager(t *testing.T) {
	formats := messageFormats(t)
	for reason, text := range sections(t) {
		quotes := 0
		for line := range strings.Lines(text) {
			quote, is := strings.CutPrefix(strings.TrimSpace(line), "> ")
			if !is {
				continue
			}
			quotes++
			if !slices.ContainsFunc(formats[reason], func(f *regexp.Regexp) bool { return f.MatchString(quote) }) {
				t.Errorf("no message with the reason %s reads: %s", reason, quote)
			}
		}
		if quotes == 0 {
			t.Errorf("no message with the reason %s is quoted", reason)
		}
	}
}

// anyReason stands for the reasons of calls that have theirs in a variable.
const anyReason = ""

// messageFormats returns what the messages of conditions look like, by reason: the formats in the
// calls that make conditions in the package controllers, and problems in the package compile.
func messageFormats(t *testing.T) map[string][]*regexp.Regexp {
	t.Helper()
	var paths []string
	for _, directory := range []string{"controllers", "controllers/compile"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(directory), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	formats := map[string][]*regexp.Regexp{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, is := n.(*ast.CallExpr); is {
				if reason, is := reasonOf(call); is {
					for _, format := range literals(t, call) {
						formats[reason] = append(formats[reason], asPattern(format))
					}
				}
			}
			return true
		})
	}
	for _, reason := range constants(t, "Reason") {
		formats[reason] = append(formats[reason], formats[anyReason]...)
	}
	return formats
}

// reasonOf returns the reason of the condition that a call makes, if it makes one.
func reasonOf(call *ast.CallExpr) (reason string, is bool) {
	function, is := call.Fun.(*ast.Ident)
	if !is || len(call.Args) == 0 {
		return "", false
	}
	switch function.Name {
	case "pendingCondition":
		return "Pending", true
	case "invalidCondition":
		return "Invalid", true
	case "trueCondition", "falseCondition", "newProblem":
		if constant, is := call.Args[0].(*ast.SelectorExpr); is {
			return strings.TrimPrefix(constant.Sel.Name, "Reason"), true
		}
		return anyReason, true
	}
	return "", false
}

// literals returns the texts in a call that say enough to tell one message from another.
func literals(t *testing.T, call *ast.CallExpr) []string {
	t.Helper()
	var found []string
	ast.Inspect(call, func(n ast.Node) bool {
		expression, is := n.(ast.Expr)
		if !is {
			return true
		}
		text, is := literalText(t, expression)
		if is && len(verb.ReplaceAllString(text, "")) >= 15 {
			found = append(found, text)
		}
		return !is
	})
	return found
}

// literalText returns the text of a string literal, or of several that are joined by "+".
func literalText(t *testing.T, expression ast.Expr) (text string, is bool) {
	t.Helper()
	switch e := expression.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			return unquote(t, e), true
		}
	case *ast.BinaryExpr:
		left, isLeft := literalText(t, e.X)
		right, isRight := literalText(t, e.Y)
		return left + right, e.Op == token.ADD && isLeft && isRight
	}
	return "", false
}

var verb = regexp.MustCompile(`%[a-z]`)

// asPattern returns an expression that the texts match which a format makes.
func asPattern(format string) *regexp.Regexp {
	var pattern strings.Builder
	for i, text := range verb.Split(format, -1) {
		if i > 0 {
			pattern.WriteString(".+")
		}
		pattern.WriteString(regexp.QuoteMeta(text))
	}
	return regexp.MustCompile("^" + pattern.String() + "$")
}
