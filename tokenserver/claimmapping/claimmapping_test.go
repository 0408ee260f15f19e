package claimmapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func mustCompile(t testing.TB, allow string, claims map[string]string) *Mapping {
	t.Helper()
	m, err := Compile(allow, claims)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// maxWork bounds what an evaluation at the cost limit allocates, which stands for the work that it
// does: on any machine, under any load, it is the same.
const maxWork = 64 << 20

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// object decodes JSON as a provider sends it.
func object(t testing.TB, source string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(source), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func evaluate(t testing.TB, m *Mapping, upstream string) Result {
	t.Helper()
	result, err := m.Evaluate(object(t, upstream))
	if err != nil || !result.Allowed {
		t.Fatalf("not allowed: %v", err)
	}
	return result
}

// messages returns the errors as text.
func messages(result Result) (all []string) {
	for _, err := range result.Errors {
		all = append(all, err.Error())
	}
	return all
}

func TestTheExampleOfTheContractComesOut(t *testing.T) {
	m := mustCompile(t, `upstream.hd == "acme.example" && upstream.email_verified`, map[string]string{
		"preferred_username": `upstream.preferred_username`,
		"email":              `upstream.email`,
		"groups":             `upstream.groups.filter(g, g in ["ops", "dev"]).map(g, "acme:" + g)`,
	})
	result := evaluate(t, m, `{"hd": "acme.example", "email_verified": true, "preferred_username": "ada", "email": "ada@acme.example",
		"groups": ["dev", "all", "ops"]}`)
	want := map[string]any{
		"preferred_username": "ada", "email": "ada@acme.example", "email_verified": true, "groups": []any{"acme:dev", "acme:ops"},
	}
	if !reflect.DeepEqual(result.Claims, want) || len(result.Errors) > 0 {
		t.Errorf("got %v, errors %v, want %v", result.Claims, messages(result), want)
	}
}

func TestAnAllowThatIsFalseOrFailsDenies(t *testing.T) {
	for allow, fails := range map[string]bool{
		`upstream.hd == "acme.example"`:      false,
		`upstream.?x.orValue(false)`:         false,
		`upstream.missing`:                   true,
		`upstream.hd`:                        true, // a string at run time
		`upstream.hd > 1`:                    true,
		`upstream.?missing.hasValue() == 1`:  true,
		`upstream.groups[7] == "x"`:          true,
		`1 / (upstream.zero) == 1`:           true,
		`upstream.groups.exists(g, g.admin)`: true,
	} {
		m, err := Compile(allow, map[string]string{"name": `"x"`})
		if err != nil {
			continue // refused earlier
		}
		result, err := m.Evaluate(object(t, `{"hd": "other.example", "groups": ["a"], "zero": 0}`))
		if result.Allowed || result.Claims != nil || (err != nil) != fails {
			t.Errorf("%s: allowed %t with %v, error %v", allow, result.Allowed, result.Claims, err)
		}
	}
}

func TestAMistakeIsNamedWithItsFieldInOneLine(t *testing.T) {
	for _, test := range []struct {
		allow, claim, source, want string
	}{
		{"", "name", `"x"`, "allow must not be empty"},
		{"upstream.", "name", `"x"`, "allow line 1, column "},
		{"hd", "name", `"x"`, "allow line 1, column 1: undeclared reference to 'hd': the only variable is upstream"},
		{`"yes"`, "name", `"x"`, "allow makes a string, it must make a bool"},
		{"true", "sub", `"x"`, "claims[sub] must not be mapped: the protocol sets this claim"},
		{"true", "SUB", `"x"`, "claims[SUB] must not be mapped"},
		{"true", "sid", `"x"`, "claims[sid] must not be mapped"},
		{"true", "sub#en", `"x"`, "claims[sub#en] must not be mapped"},
		{"true", "identity_provider", `"x"`, "claims[identity_provider] must not be mapped: the server sets"},
		{"true", "Identity_Provider", `"x"`, "claims[Identity_Provider] must not be mapped"},
		{"true", "Email", `"x"`, `claims[Email] must be spelled "email"`},
		{"true", "", `"x"`, "claims[] must have a name"},
		{"true", "a\nb", `"x"`, "must have a name of printable characters"},
		{"true", "email", `1`, "claims[email] makes a int, it must make a string"},
		{"true", "email#en", `true`, "claims[email#en] makes a bool"},
		{"true", "groups", `"ops"`, "claims[groups] makes a string, it must make a list(string)"},
		{"true", "email_verified", `"true"`, "claims[email_verified] makes a string, it must make a bool"},
		{"true", "email_verified", `optional.of("true")`, "claims[email_verified] makes a string, it must make a bool"},
		{"true", "when", `timestamp("2020-01-01T00:00:00Z")`, "claims[when] makes a google.protobuf.Timestamp, which is no value of JSON"},
		{"true", "when", `b"x"`, "claims[when] makes a bytes"},
		{"true", "when", `now()`, "claims[when] line 1, column 4: undeclared reference to 'now'"},
		{"true", "x", `upstream.a.matches(upstream.b)`, "claims[x] has a call of matches whose pattern is no literal string"},
		{"true", "x", `upstream.a.matches("(")`, "claims[x] has a pattern with a mistake: error parsing regexp: missing closing )"},
		{"true", "x", `upstream.a.matches("a{900}b{900}")`, "claims[x] has a pattern of 1802 instructions"},
		{"true", "x", `"` + strings.Repeat("x", MaxExpression) + `"`, "claims[x] has 4098 bytes, at most 4096 are allowed"},
		{"true", "x", strings.Repeat("[", 2000), "claims[x] line"},
	} {
		_, err := Compile(test.allow, map[string]string{test.claim: test.source})
		if err == nil || !strings.Contains(err.Error(), test.want) || test.claim != "a\nb" && strings.Contains(err.Error(), "\n") {
			t.Errorf("allow %.40q, claim %q %.60q: got %v, want a line with %q", test.allow, test.claim, test.source, err, test.want)
		}
	}
	many := map[string]string{}
	for i := range MaxClaims + 1 {
		many[fmt.Sprint("c", i)] = `"x"`
	}
	if _, err := Compile("true", many); err == nil || !strings.Contains(err.Error(), "claims has 33 names, at most 32 are allowed") {
		t.Errorf("33 claims: got %v", err)
	}
	if _, err := Compile("x", map[string]string{"a": "y"}); err == nil || len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("two mistakes: got %v, want a line for each", err)
	}
}

func TestAnAbsentOptionalIsSilentAndAnErrorLeavesTheClaimOut(t *testing.T) {
	m := mustCompile(t, "true", map[string]string{
		"name": `upstream.?name`, "nickname": `upstream.nickname`, "given_name": `upstream.nothing`, "website": `upstream.?site.orValue("none")`,
		"family_name": `upstream[upstream.key]`, "locale": `upstream.number`, "x": `upstream.groups[9]`,
	})
	result := evaluate(t, m, `{"nothing": null, "key": "secret", "number": 5, "groups": []}`)
	if want := map[string]any{"website": "none"}; !reflect.DeepEqual(result.Claims, want) {
		t.Errorf("got claims %v, want %v", result.Claims, want)
	}
	want := []string{
		"claims[family_name]: there is no such key",
		"claims[locale]: wrong type: must be a string (OpenID Connect Core section 5.1)",
		"claims[nickname]: there is no nickname",
		"claims[x]: an index is out of bounds",
	}
	if got := messages(result); !slices.Equal(got, want) {
		t.Errorf("got errors %q, want %q", got, want)
	}
}

func TestNoErrorQuotesAValueOfTheUser(t *testing.T) {
	const secret = "s3cr3t"
	sources := []string{
		`upstream[upstream.v]`, `int(upstream.v)`, `timestamp(upstream.v) == timestamp(upstream.v)`, `duration(upstream.v) == duration("1s")`,
		`upstream.v + 1`, `upstream.v.format([1])`, `"%d".format([upstream.v])`, `upstream.v.substring(99)`, `upstream.list[upstream.v]`,
		`{upstream.v: 1, upstream.v: 2}`, `upstream.v.nope`, `bool(upstream.v)`, `upstream.v.charAt(99)`, `dyn(upstream.v) ? "a" : "b"`,
		`upstream.list.join()`, `upstream.o[upstream.v]`, `optional.none().value()`, `bytes(upstream.v)`, `upstream.list.map(x, {x: x})`,
		`{upstream.list: 1}`, `upstream.v.matches("x") + 1`,
	}
	for _, source := range sources {
		m, err := Compile("true", map[string]string{"x": source})
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error quotes the value: %v", source, err)
			}
			continue
		}
		result, err := m.Evaluate(object(t, `{"v": "`+secret+`", "list": ["`+secret+`", 5], "o": {"`+secret+`x": 1}}`))
		if text := fmt.Sprint(err, messages(result)); strings.Contains(text, secret) {
			t.Errorf("%s: the error quotes the value: %s", source, text)
		}
	}
	m := mustCompile(t, `upstream[upstream.v]`, nil)
	if _, err := m.Evaluate(map[string]any{"v": secret}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("allow: got %v", err)
	}
	if _, err := m.Evaluate(map[string]any{"v": secret + "\xff"}); !errors.Is(err, ErrInput) || strings.Contains(err.Error(), secret) {
		t.Errorf("a string that is not UTF-8: got %v", err)
	}
}

// RFC 7519 section 4.1, RFC 8693 section 4, RFC 9068 section 2.2, OpenID Connect Core section 2, and
// what the server says of a user.
func TestNoMappingMakesAClaimThatTheProtocolOrTheServerSets(t *testing.T) {
	for _, name := range []string{
		"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "auth_time", "acr", "amr", "sid", "client_id", "scope", "act", "may_act", "cnf",
		"events", "at_hash", "c_hash", "s_hash", "identity_provider",
	} {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], name + "#en", name + "#"} {
			if _, err := Compile("true", map[string]string{spelling: `"x"`}); err == nil || !strings.Contains(err.Error(), "must not be mapped") {
				t.Errorf("claims[%s]: %v", spelling, err)
			}
		}
	}
}

func TestNothingThatBeginsWithSystemGoesOut(t *testing.T) {
	m := mustCompile(t, "true", map[string]string{
		"groups": `upstream.groups`, "preferred_username": `upstream.user`, "roles": `upstream.groups.map(g, [g])`, "upn": `{"name": upstream.user}`,
		"name": `"x:" + upstream.user`,
	})
	result := evaluate(t, m, `{"user": "system:admin", "groups": ["system:masters", "dev", "system:nodes"]}`)
	want := map[string]any{"groups": []any{"dev"}, "roles": []any{[]any{"dev"}}, "name": "x:system:admin"}
	if !reflect.DeepEqual(result.Claims, want) {
		t.Errorf("got %v, want %v", result.Claims, want)
	}
	var names []string
	for _, err := range result.Errors {
		if !errors.Is(err, ErrSystem) {
			t.Errorf("got %v, want ErrSystem", err)
		}
		names = append(names, err.Claim)
	}
	if !slices.Equal(names, []string{"groups", "preferred_username", "roles", "upn"}) {
		t.Errorf("got errors about %v", names)
	}
	if !slices.Contains(messages(result), `claims[groups]: 2 of its elements are left out: each begins with "system:"`) {
		t.Errorf("got %q", messages(result))
	}
}

func TestEmailIsVerifiedOnlyIfTheProviderSaysSoOfThisAddressOrTheMappingDoes(t *testing.T) {
	for _, test := range []struct {
		claims   map[string]string
		upstream string
		want     any
	}{
		{map[string]string{"email": `upstream.email`}, `{"email": "a@x", "email_verified": true}`, true},
		{map[string]string{"email": `upstream.email`}, `{"email": "a@x", "email_verified": false}`, false},
		{map[string]string{"email": `upstream.email`}, `{"email": "a@x", "email_verified": "true"}`, false},
		{map[string]string{"email": `upstream.email`}, `{"email": "a@x"}`, false},
		{map[string]string{"email": `upstream.mail`}, `{"email": "a@x", "mail": "b@x", "email_verified": true}`, false},
		{map[string]string{"email": `upstream.email.lowerAscii()`}, `{"email": "A@x", "email_verified": true}`, false},
		{map[string]string{"email": `upstream.mail`, "email_verified": `true`}, `{"mail": "b@x"}`, true},
		{map[string]string{"email": `upstream.email`, "email_verified": `false`}, `{"email": "a@x", "email_verified": true}`, false},
		{map[string]string{"email": `upstream.email`, "email_verified": `upstream.nope`}, `{"email": "a@x", "email_verified": true}`, false},
		{map[string]string{"email": `upstream.?mail`, "email_verified": `true`}, `{"email": "a@x", "email_verified": true}`, nil},
		{map[string]string{"name": `upstream.email`}, `{"email": "a@x", "email_verified": true}`, nil},
	} {
		if got := evaluate(t, mustCompile(t, "true", test.claims), test.upstream).Claims["email_verified"]; got != test.want {
			t.Errorf("claims %v of %s: got %v, want %v", test.claims, test.upstream, got, test.want)
		}
	}
}

func TestALinkInPlaceOfGroupsIsAnErrorOfItsOwnAndNotNoGroups(t *testing.T) {
	for _, upstream := range []string{
		`{"name": "ada", "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}`,
		`{"name": "ada", "hasgroups": true}`,
	} {
		for _, source := range []string{`upstream.groups`, `upstream.?groups.orValue([])`, `has(upstream.groups) ? upstream.groups : []`, `upstream["groups"]`} {
			result := evaluate(t, mustCompile(t, "true", map[string]string{"groups": source, "name": `upstream.name`}), upstream)
			if len(result.Errors) != 1 || !errors.Is(result.Errors[0], ErrOverage) || result.Errors[0].Claim != "groups" {
				t.Errorf("%s of %s: got errors %q, want ErrOverage", source, upstream, messages(result))
			}
			if want := map[string]any{"name": "ada"}; !reflect.DeepEqual(result.Claims, want) {
				t.Errorf("%s of %s: got %v, want %v", source, upstream, result.Claims, want)
			}
		}
		m := mustCompile(t, `!upstream.?groups.orValue([]).exists(g, g == "banned")`, nil)
		if result, err := m.Evaluate(object(t, upstream)); !errors.Is(err, ErrOverage) || result.Allowed {
			t.Errorf("allow that reads groups of %s: allowed %t, error %v", upstream, result.Allowed, err)
		}
	}
	result := evaluate(t, mustCompile(t, "true", map[string]string{"groups": `upstream.roles`}), `{"roles": ["a"], "hasgroups": true}`)
	if len(result.Errors) > 0 {
		t.Errorf("groups that are made of roles: got %q", messages(result))
	}
}

func TestBeyondALimitIsAnErrorOfTheClaimAndNeverACut(t *testing.T) {
	list := func(n, length int) string {
		encoded, _ := json.Marshal(slices.Repeat([]string{strings.Repeat("g", length)}, n))
		return string(encoded)
	}
	m := mustCompile(t, "true", map[string]string{"groups": `upstream.groups`, "name": `"ada"`, "x": `upstream.x`})
	for _, test := range []struct {
		groups, x string
		fails     string
	}{
		{list(MaxGroups, 20), `"x"`, ""},
		{list(MaxGroups+1, 20), `"x"`, "groups"},
		{list(1, MaxGroup), `"x"`, ""},
		{list(1, MaxGroup+1), `"x"`, "groups"},
		{list(200, 20), `"` + strings.Repeat("x", 5000) + `"`, "x"},
		{list(200, 24), `"` + strings.Repeat("x", 3000) + `"`, "groups"},
		{list(1, 1), `"` + strings.Repeat("x", MaxClaimBytes+1) + `"`, "x"},
		{list(1, 1), strings.Repeat("[", 15) + strings.Repeat("]", 15), ""},
	} {
		result := evaluate(t, m, `{"groups": `+test.groups+`, "x": `+test.x+`}`)
		encoded, err := json.Marshal(result.Claims)
		if err != nil || len(encoded) > MaxClaimBytes || result.Claims["name"] != "ada" {
			t.Errorf("groups %.30s x %.30s: %d bytes, %v", test.groups, test.x, len(encoded), err)
		}
		if test.fails == "" && len(result.Errors) == 0 && len(result.Claims) == 3 {
			continue
		}
		if _, ok := result.Claims[test.fails]; ok || len(result.Errors) != 1 || result.Errors[0].Claim != test.fails || !errors.Is(result.Errors[0], ErrLimit) {
			t.Errorf("groups %.30s x %.30s: errors %q, want one about %q", test.groups, test.x, messages(result), test.fails)
		}
	}
}

func TestUpstreamBeyondItsLimitsIsRefused(t *testing.T) {
	m := mustCompile(t, "true", map[string]string{"x": `upstream.?x`})
	nested := func(depth int) any {
		var value any = "x"
		for range depth {
			value = []any{value}
		}
		return value
	}
	for name, test := range map[string]struct {
		value any
		ok    bool
	}{
		"a string of 60 KiB":     {strings.Repeat("x", 60<<10), true},
		"a string of 64 KiB":     {strings.Repeat("x", MaxInput), false},
		"many small values":      {slices.Repeat([]any{nil}, MaxInput/4), false},
		"a list of 15 levels":    {nested(MaxDepth - 1), true},
		"a list of 16 levels":    {nested(MaxDepth), false},
		"bytes":                  {[]byte("x"), false},
		"a number of 400 digits": {json.Number(strings.Repeat("9", 400)), false},
		"a list of strings":      {[]string{"x"}, true},
	} {
		result, err := m.Evaluate(map[string]any{"x": test.value})
		if result.Allowed != test.ok || (err == nil) != test.ok || err != nil && !errors.Is(err, ErrInput) {
			t.Errorf("%s: allowed %t, error %v", name, result.Allowed, err)
		}
	}
}

func TestNumbersKeepTheirValue(t *testing.T) {
	m := mustCompile(t, `upstream.n == 5 && upstream.h == 0.5`, map[string]string{"updated_at": `upstream.n`, "h": `upstream.h * 2.0`, "big": `upstream.big`})
	result, err := m.Evaluate(map[string]any{"n": json.Number("5"), "h": 0.5, "big": json.Number("9007199254740993")})
	want := map[string]any{"updated_at": json.Number("5"), "h": json.Number("1"), "big": json.Number("9007199254740993")}
	if err != nil || !reflect.DeepEqual(result.Claims, want) {
		t.Errorf("got %v, error %v, want %v", result.Claims, err, want)
	}
}

// expensive are expressions that would take minutes or gigabytes, or that CEL counts at too low a cost
// because it does not know the types of what is in upstream.
var expensive = map[string]string{
	"a list in itself, compared":      `[upstream.groups]` + strings.Repeat(`.map(x, [x, x, x, x])`, 60) + ` == [upstream.groups]` + strings.Repeat(`.map(x, [x, x, x, x])`, 60),
	"a list in itself, searched":      `dyn([1]) in [upstream.groups]` + strings.Repeat(`.map(x, [x, x, x, x])`, 60),
	"a list in itself, as text":       `"%s".format([upstream.groups]` + strings.Repeat(`.map(x, [x, x, x, x])`, 60) + `)`,
	"a string doubled":                `[upstream.long]` + strings.Repeat(`.map(x, x + x)`, 60),
	"a list doubled":                  `[upstream.groups]` + strings.Repeat(`.map(x, x + x)`, 70),
	"a list doubled and walked":       `[upstream.groups]` + strings.Repeat(`.map(x, x + x)`, 12) + `[0].all(g, g != "")`,
	"a string replaced by itself":     `upstream.long.replace("", upstream.long)`,
	"a string joined with itself":     `upstream.groups.join(upstream.long)`,
	"a string found in itself":        `upstream.long.indexOf(upstream.long + "x") + (upstream.long + upstream.long).lastIndexOf(upstream.long + "x")`,
	"a pattern of a long string":      `upstream.groups.map(g, upstream.long.matches("(a?){30}(a*)*x{300}"))`,
	"three loops":                     `upstream.groups.all(a, upstream.groups.all(b, upstream.groups.all(c, true)))`,
	"loops that make lists":           `upstream.groups.map(a, upstream.groups.map(b, upstream.groups))`,
	"a format with much text":         `upstream.groups.map(a, upstream.groups.map(b, "%s%s%s".format([upstream.long, upstream.long, upstream.long])))`,
	"a search in the list per group":  `upstream.groups.map(a, upstream.groups.filter(b, b.contains(a) && a in upstream.groups)) == []`,
	"a string split and joined":       `upstream.groups.map(a, upstream.long.split("").join("-"))`,
	"a string turned for each group":  `upstream.groups.map(a, upstream.long.reverse().upperAscii().lowerAscii().trim())`,
	"a comparison for each group":     `upstream.groups.map(a, upstream.groups.map(b, upstream == upstream))`,
	"a substring for each group":      `upstream.groups.map(a, upstream.groups.map(b, upstream.long.substring(1)))`,
	"a size for each pair":            `upstream.groups.map(a, upstream.groups.map(b, size(upstream.long)))`,
	"a duration for each pair":        `upstream.groups.map(a, upstream.groups.map(b, duration(upstream.zeros)))`,
	"a short pattern of many steps":   `upstream.groups.map(a, upstream.long.matches("(a?){200}x"))`,
	"a pattern of short strings":      `upstream.groups.map(a, upstream.groups.map(b, "".matches("(a?){200}x")))`,
	"a comparison for each pair":      `upstream.groups.map(a, upstream.groups.map(b, upstream.long < upstream.long + "x"))`,
	"a sum for each group":            `upstream.groups.map(a, upstream.groups.map(b, upstream.long` + strings.Repeat(` + upstream.long`, 90) + `))`,
	"a text of many optional strings": `upstream.groups.map(a, upstream.groups.map(b, optional.of(upstream.groups) == optional.of(upstream.groups)))`,
}

// bigInput has 200 groups of 256 bytes, and a long string.
func bigInput() map[string]any {
	groups := make([]string, MaxGroups)
	for i := range groups {
		groups[i] = strings.Repeat("g", MaxGroup-3) + fmt.Sprintf("%03d", i)
	}
	return map[string]any{"groups": groups, "long": strings.Repeat("a", 6_000), "zeros": strings.Repeat("0", 5_000) + "s"}
}

func TestAnExpensiveMappingEndsWithinTheCostLimitAndDenies(t *testing.T) {
	for name, source := range expensive {
		m, err := Compile(`dyn(`+source+`) == 1`, map[string]string{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		input := bigInput()
		var result Result
		work := allocated(func() { result, err = m.Evaluate(input) })
		t.Logf("%-35s %d kB", name, work>>10)
		if result.Allowed || !errors.Is(err, ErrCost) {
			t.Errorf("%s: allowed %t, error %v, want ErrCost", name, result.Allowed, err)
		}
		if work > maxWork {
			t.Errorf("%s allocated %d bytes", name, work)
		}
	}
}

func TestAMappingThatIsQuadraticOverTheGroupsEndsWithinTheCostLimit(t *testing.T) {
	quadratic := `upstream.groups.filter(g, upstream.groups.exists_one(h, h.startsWith(g)))`
	claims := map[string]string{}
	for i := range MaxClaims {
		claims[fmt.Sprint("c", i)] = quadratic
	}
	m, input := mustCompile(t, "true", claims), bigInput()
	var result Result
	var err error
	work := allocated(func() { result, err = m.Evaluate(input) })
	if err != nil || !result.Allowed || len(result.Errors) != MaxClaims || work > maxWork {
		t.Errorf("32 quadratic claims allocated %d bytes: error %v, errors %q", work, err, messages(result))
	}
	for _, err := range result.Errors {
		if !errors.Is(err, ErrCost) {
			t.Errorf("got %v, want ErrCost", err)
		}
	}
	if result, err := mustCompile(t, quadratic+".size() > 0", nil).Evaluate(bigInput()); result.Allowed || !errors.Is(err, ErrCost) {
		t.Errorf("allow: allowed %t, error %v, want ErrCost", result.Allowed, err)
	}
}

func TestTheExpressionsOfAMappingShareTheCost(t *testing.T) {
	claims := map[string]string{}
	for i := range MaxClaims {
		claims[fmt.Sprintf("c%02d", i)] = `upstream.groups.filter(g, upstream.groups.size() + upstream.groups.size() + upstream.groups.size() < 0)`
	}
	result, err := mustCompile(t, "true", claims).Evaluate(bigInput())
	if err != nil || len(result.Claims) < 2 || len(result.Claims) > 20 || len(result.Errors) != MaxClaims-len(result.Claims) {
		t.Errorf("%d claims and %d errors, %v", len(result.Claims), len(result.Errors), err)
	}
	for _, err := range result.Errors {
		if !errors.Is(err, ErrCost) {
			t.Errorf("got %v, want ErrCost", err)
		}
	}
}

func TestOrdinaryMappingsOf200GroupsAreFarFromTheCostLimit(t *testing.T) {
	for name, source := range map[string]string{
		"a prefix":           `upstream.groups.map(g, "acme:" + g)`,
		"a list":             `upstream.groups.filter(g, g in ["ops", "dev", "x", "y", "z"])`,
		"a pattern":          `upstream.groups.filter(g, g.matches("^team-[a-z]+$"))`,
		"names in a DN":      `upstream.groups.map(g, g.lowerAscii().split(",")[0].replace("cn=", ""))`,
		"two conditions":     `upstream.groups.filter(g, g.startsWith("team-") && !g.contains("guest")).map(g, "acme:" + g.substring(5))`,
		"one text":           `upstream.groups.map(g, "%s:%s".format(["acme", g]))`,
		"joined and counted": `string(size(upstream.groups)) + upstream.groups.join(",")`,
	} {
		groups := make([]string, MaxGroups)
		for i := range groups {
			groups[i] = fmt.Sprintf("CN=team-%d,OU=Groups,DC=acme,DC=example", i)
		}
		lang, err := environment()
		if err != nil {
			t.Fatal(err)
		}
		checked, issues := lang.env.Compile(source)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", name, issues.Err())
		}
		program, err := lang.program(checked)
		if err != nil {
			t.Fatal(err)
		}
		input, err := normalizeInput(map[string]any{"groups": groups})
		if err != nil {
			t.Fatal(err)
		}
		_, details, err := program.Eval(map[string]any{"upstream": input})
		if err != nil || *details.ActualCost() > MaxCost/4 {
			t.Errorf("%s: cost %v, error %v", name, details.ActualCost(), err)
			continue
		}
		t.Logf("%-20s costs %d", name, *details.ActualCost())
	}
}

func TestAGuardedFunctionAnswersAsCELDoes(t *testing.T) {
	for source, want := range map[string]any{
		`1 + 2`: json.Number("3"), `"a" + "b"`: "ab", `size([1] + [2])`: json.Number("2"), `upstream.a + upstream.a`: "aa", `dyn(1) == 1.0`: true,
		`upstream.a != "a"`: false, `{"a": 1} == {"a": dyn(1.0)}`: true, `"a" in upstream`: true, `"z" in upstream.l`: false, `upstream.l.join("-")`: "a-b",
		`"a%s".format([1])`: "a1", `"abab".replace("a", "c", 1)`: "cbab", `"abab".indexOf("b", 2)`: json.Number("3"), `"abab".lastIndexOf("a")`: json.Number("2"),
		`"abc".contains("bc")`: true, `matches("abc", "b")`: true, `upstream.a.matches("^a$")`: true, `["a", "b"].join()`: "ab",
		`upstream.l == ["a", "b"]`: true, `upstream.?z == optional.none()`: true, `optional.of(1) != optional.of(1)`: false, `"abc" in ["abc"]`: true,
		`timestamp("2020-01-01T00:00:00Z") + duration("1s") == timestamp("2020-01-01T00:00:01Z")`: true, `b"a" + b"b" == b"ab"`: true,
		`upstream.a == null`: false, `null == null`: true, `true || upstream.zz == 1`: true, `upstream.zz == 1 || true`: true,
	} {
		result := evaluate(t, mustCompile(t, "true", map[string]string{"x": source}), `{"a": "a", "l": ["a", "b"]}`)
		if result.Claims["x"] != want {
			t.Errorf("%s: got %v, errors %q, want %v", source, result.Claims["x"], messages(result), want)
		}
	}
}

func TestTheAllowHashIsOfTheExpression(t *testing.T) {
	a, b := mustCompile(t, "true", nil), mustCompile(t, "true", map[string]string{"name": `"x"`})
	if a.AllowHash() != b.AllowHash() || len(a.AllowHash()) != 64 {
		t.Errorf("the same allow has the hashes %q and %q", a.AllowHash(), b.AllowHash())
	}
	if c := mustCompile(t, "!false", nil); c.AllowHash() == a.AllowHash() {
		t.Error("another allow has the same hash")
	}
}

func TestAMappingIsSafeForConcurrentUse(t *testing.T) {
	m := mustCompile(t, `"dev" in upstream.groups`, map[string]string{"groups": `upstream.groups.map(g, "acme:" + g)`, "email": `upstream.email`})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				email := fmt.Sprintf("u%d@x", i)
				result, err := m.Evaluate(map[string]any{"groups": []string{"dev"}, "email": email})
				if err != nil || result.Claims["email"] != email {
					t.Errorf("got %v, %v", result.Claims, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestUpstreamIsNotChanged(t *testing.T) {
	upstream := object(t, `{"groups": ["system:masters", "b"], "o": {"a": 1.5}}`)
	before := maps.Clone(upstream)
	evaluate(t, mustCompile(t, "true", map[string]string{"groups": `upstream.groups`, "o": `upstream.o`}), `{"groups": ["system:masters", "b"], "o": {}}`)
	if _, err := mustCompile(t, "true", map[string]string{"groups": `upstream.groups`}).Evaluate(upstream); err != nil || !reflect.DeepEqual(before, upstream) {
		t.Errorf("upstream became %v, error %v", upstream, err)
	}
}

func TestTheFirstExampleThatDoesNotComeOutSoIsNamed(t *testing.T) {
	m := mustCompile(t, `upstream.hd == "acme.example"`, map[string]string{"email": `upstream.email`, "updated_at": `upstream.?at`})
	good := Example{Name: "good", Upstream: object(t, `{"hd": "acme.example", "email": "a@x", "at": 5}`), Claims: object(t, `{"email": "a@x", "email_verified": false, "updated_at": 5}`)}
	for want, example := range map[string]Example{
		"": {Name: "guest", Upstream: object(t, `{"hd": "x"}`), Denied: true},
		`example "y": the user is denied, want allowed`:                    {Name: "y", Upstream: object(t, `{"hd": "x"}`)},
		`example "z": the user is allowed, want denied`:                    {Name: "z", Upstream: good.Upstream, Denied: true},
		`example "v": evaluating allow: there is no hd`:                    {Name: "v", Upstream: object(t, `{}`)},
		`example "w": the claim email_verified is false, want none`:        {Name: "w", Upstream: object(t, `{"hd": "acme.example", "email": "a@x"}`), Claims: object(t, `{"email": "a@x"}`)},
		`example "u": the claim email is "a@x", want "b@x"`:                {Name: "u", Upstream: good.Upstream, Claims: object(t, `{"email": "b@x"}`)},
		`example "s": the claim name is not there, want "x"`:               {Name: "s", Upstream: good.Upstream, Claims: object(t, `{"email": "a@x", "email_verified": false, "name": "x", "updated_at": 5}`)},
		`example "t": claims[email]: there is no email`:                    {Name: "t", Upstream: object(t, `{"hd": "acme.example"}`)},
		`example "r": unacceptable upstream: it has more than 65536 bytes`: {Name: "r", Upstream: map[string]any{"x": strings.Repeat("x", MaxInput)}, Denied: true},
	} {
		err := m.CheckExamples([]Example{good, example, {Name: "later", Denied: true, Upstream: good.Upstream}})
		if want == "" {
			want = `example "later": the user is allowed, want denied`
		}
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := m.CheckExamples([]Example{good}); err != nil {
		t.Error(err)
	}
}

func FuzzMapping(f *testing.F) {
	for _, source := range expensive {
		f.Add(source, `{"groups": ["a", "system:masters"], "long": "aaaa"}`)
	}
	f.Add(`upstream.groups.map(g, {g: [upstream.?x, 1.5, null]})`, `{"groups": ["a"], "x": {"y": 1e300}}`)
	f.Add(`optional.of(upstream)`, `{"_claim_names": {"groups": "x"}}`)
	f.Fuzz(func(t *testing.T, source, upstream string) {
		m, err := Compile(`dyn(`+source+`) == 1 || true`, map[string]string{"x": source, "groups": source, "email": source})
		if err != nil {
			return
		}
		var input map[string]any
		if json.Unmarshal([]byte(upstream), &input) != nil {
			return
		}
		result, err := m.Evaluate(input)
		if err == nil != result.Allowed {
			t.Errorf("allowed %t, error %v", result.Allowed, err)
		}
		encoded, err := json.Marshal(result.Claims)
		if err != nil || len(encoded) > MaxClaimBytes {
			t.Errorf("%d bytes of claims, %v", len(encoded), err)
		}
		if _, ok := result.Claims["email"]; ok && result.Claims["email_verified"] == nil {
			t.Error("email without email_verified")
		}
		if hasSystemName(result.Claims["groups"]) || hasSystemName(result.Claims["x"]) {
			t.Errorf("a name of Kubernetes goes out: %v", result.Claims)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	m := mustCompile(b, `upstream.hd == "acme.example" && upstream.email_verified`, map[string]string{
		"preferred_username": `upstream.preferred_username`, "email": `upstream.email`,
		"groups": `upstream.groups.filter(g, g in ["ops", "dev"]).map(g, "acme:" + g)`,
	})
	upstream := object(b, `{"hd": "acme.example", "email_verified": true, "preferred_username": "ada", "email": "ada@acme.example", "groups": ["dev", "all", "ops"]}`)
	for b.Loop() {
		if _, err := m.Evaluate(upstream); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		mustCompile(b, `upstream.hd == "acme.example" && upstream.email_verified`, map[string]string{
			"preferred_username": `upstream.preferred_username`, "email": `upstream.email`,
			"groups": `upstream.groups.filter(g, g in ["ops", "dev"]).map(g, "acme:" + g)`,
		})
	}
}
