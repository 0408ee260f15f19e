package ldapfilter

import (
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func mustParse(t *testing.T, filter string) *Template {
	t.Helper()
	parsed, err := Parse(filter)
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return parsed
}

func TestWhatAUserTypesIsComparedAndNeverChangesTheFilter(t *testing.T) {
	for _, filter := range []string{
		"(uid=$(username))", "(|(uid=$(username))(mail=$(username)@example.com))", "(&(objectClass=person)(uid=x$(username)*y))",
		"(memberOf:1.2.840.113556.1.4.1941:=$(username))", "(cn:dn:=$(username))", "(uid>=$(username))", "(cn~=$(username))",
	} {
		parsed := mustParse(t, filter)
		for _, typed := range []string{
			"*", ")(uid=*", `\00`, "\x00", `\`, "(", "a)(|(uid=*", "$(dn)", "$(username)", "é", "\xff\xfe", "a*b", "=", "a:=b", "&", "!", " ",
		} {
			filled, err := parsed.Fill(map[string]string{Username: typed, DN: "cn=other"})
			if err != nil {
				t.Fatalf("%s with %q: %v", filter, typed, err)
			}
			packet, err := ldap.CompileFilter(filled)
			if err != nil || packet == nil {
				t.Fatalf("%s with %q is %s: %v", filter, typed, filled, err)
			}
			plain, err := parsed.Fill(map[string]string{Username: "x"})
			if err != nil {
				t.Fatal(err)
			}
			want, err := ldap.CompileFilter(plain)
			if err != nil {
				t.Fatal(err)
			}
			// The same tree, but for the bytes that are compared.
			read, err := ldap.DecompileFilter(packet)
			if err != nil {
				t.Fatal(err)
			}
			wantRead, err := ldap.DecompileFilter(want)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(read, "(") != strings.Count(wantRead, "(") || strings.Count(read, "*") != strings.Count(wantRead, "*") {
				t.Errorf("%s with %q is %s", filter, typed, read)
			}
			if got := strings.ReplaceAll(read, ldap.EscapeFilter(typed), "x"); len(typed) > 1 && got != wantRead {
				t.Errorf("%s with %q is %s, without that %s, want %s", filter, typed, read, got, wantRead)
			}
		}
	}
}

func TestAVariableWithoutAValueFailsAndIsNotLeftOut(t *testing.T) {
	parsed := mustParse(t, "(|(member=$(dn))(memberUid=$(attr.uid)))")
	for _, values := range []map[string]string{nil, {DN: "cn=a"}, {DN: "cn=a", "attr.uid": ""}, {"attr.uid": "a"}} {
		if filled, err := parsed.Fill(values); err == nil {
			t.Errorf("%v: %s", values, filled)
		}
	}
	filled, err := parsed.Fill(map[string]string{DN: "cn=a(b)", "attr.uid": "a"})
	if want := `(|(member=cn=a\28b\29)(memberUid=a))`; err != nil || filled != want {
		t.Errorf("%s, %v, want %s", filled, err, want)
	}
}

func TestTheFilterWithoutAUsernameAsksForAllElse(t *testing.T) {
	for filter, want := range map[string]string{
		"(uid=$(username))": "(uid=*)",
		"(&(objectClass=person)(memberOf=cn=staff,dc=x)(|(uid=$(username))(mail=$(username)@x)))": "(&(objectClass=person)(memberOf=cn=staff,dc=x)(|(uid=*)(mail=*)))",
		"(&(ou:dn:=$(username))(cn:dn:2.4.6:=$(username)))":                                       "(&(objectClass=*)(objectClass=*))",
		"(&(uid:caseExactMatch:=$(username))(!(disabled=TRUE)))":                                  "(&(uid=*)(!(disabled=TRUE)))",
	} {
		got, err := mustParse(t, filter).WithoutUsername().Fill(nil)
		if err != nil || got != want {
			t.Errorf("%s is %s, %v, want %s", filter, got, err, want)
		}
	}
}

func TestAFilterThatIsNotOneIsRefusedInOneLineThatNamesTheMistake(t *testing.T) {
	for filter, want := range map[string]string{
		"":                                 "is empty",
		"uid=$(username)":                  "needs an opening parenthesis before: \"uid=$(username)\"",
		"(uid=$(username)":                 "needs a closing parenthesis at the end",
		"(uid=$(username)))":               "goes on after its last parenthesis",
		"(&)":                              "has no filter behind &",
		"(|)":                              "has no filter behind |",
		"(!)":                              "has no filter behind !",
		"(!(a=b)(c=d))":                    "has behind ! more than one filter",
		"(& (a=b))":                        `needs an opening parenthesis before: " (a=b))"`,
		"(&(a=b)\n(c=d))":                  `needs an opening parenthesis before: "\n(c=d))"`,
		"()":                               "has no attribute and =",
		"(uid)":                            "has no attribute and =",
		"(=x)":                             `has "" where the name of an attribute is expected`,
		"(u id=x)":                         `has "u id" where the name of an attribute is expected`,
		"($(username)=x)":                  "has no attribute and =",
		"(uid=$(user))":                    "has a variable that is none of",
		"(uid=$(attr.))":                   "has a variable that is none of",
		"(uid=$(attr.a b))":                "has a variable that is none of",
		"(uid=$(username":                  "has a variable that is none of",
		"(uid=a(b)":                        `must be written \28`,
		"(uid>=a*)":                        `must be written \2a`,
		"(uid:=*)":                         `must be written \2a`,
		`(uid=a\b)`:                        "without two hexadecimal digits",
		`(uid=a\`:                          "without two hexadecimal digits",
		"(uid=\x00)":                       `must be written \00`,
		"(uid=\xff)":                       "is not UTF-8",
		"(:=x)":                            "has no matching rule",
		"(:dn:=x)":                         "has no matching rule",
		"(uid:a b:=x)":                     "has no matching rule",
		"(a=" + strings.Repeat("x", 5000):  "has more than 4096 bytes",
		strings.Repeat("(!", 17) + "(a=b)": "nested more than 16 deep",
		"(uid=x)(uid=y)":                   "goes on after its last parenthesis",
		"((uid=x))":                        "has no attribute and =",
	} {
		_, err := Parse(filter)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v, want %s", filter, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"(uid=$(username))", "(&(a=b)(!(c:dn:1.2:=\\2a))(d=*x*))", "(|(a>=1)(b<=2)(c~=3))"} {
		f.Add(seed, "typed")
	}
	f.Fuzz(func(t *testing.T, filter, typed string) {
		parsed, err := Parse(filter)
		if err != nil || typed == "" {
			return
		}
		values := map[string]string{}
		for _, name := range parsed.Variables() {
			values[name] = typed
		}
		filled, err := parsed.Fill(values)
		if err != nil {
			t.Fatal(err)
		}
		if packet, err := ldap.CompileFilter(filled); err != nil || packet == nil {
			t.Errorf("%q with %q is %q: %v", filter, typed, filled, err)
		}
	})
}
