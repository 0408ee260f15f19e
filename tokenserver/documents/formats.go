package documents

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Kinds of documents, the part of a format before the slash. The kinds of the objects that they are
// compiled from, such as compile.KindClient, are others.
const (
	KindServer           = "server"
	KindClient           = "client"
	KindUser             = "user"
	KindResourceServer   = "resourceserver"
	KindNamespace        = "namespace"
	KindIdentityProvider = "identityprovider"
	KindIdentity         = "identity"
)

// The first format of each kind of documents.
const (
	FormatServer         = KindServer + "/v1"
	FormatClient         = KindClient + "/v1"
	FormatUser           = KindUser + "/v1"
	FormatResourceServer = KindResourceServer + "/v1"
	FormatNamespace      = KindNamespace + "/v1"

	FormatIdentityProvider = KindIdentityProvider + "/v1"
	FormatIdentity         = KindIdentity + "/v1"
)

// formatTag is the struct tag that assigns a field, or some of its values, to a later format than
// the first:
//
//	TokensNotBefore int64  `json:"tokensNotBefore,omitempty" format:"client/v2"`
//	AuthMethod      string `json:"authMethod" format:"client/v3=private_key_jwt|WorkloadIdentity"`
//
// A document in which the first field is set needs at least client/v2. One in which the second
// field, or an element of it if it is a list, has one of the values needs at least client/v3. A
// format has all fields of those before it. The tag of a type that documents of several kinds
// contain has a format of each, separated by commas.
const formatTag = "format"

// documentKind is a kind of document, and its formats, of which the first is the oldest.
type documentKind struct {
	name    string
	typ     reflect.Type
	rules   *typeRules
	formats []string
}

var documentKinds = []documentKind{
	kindOf(KindServer, Server{}), kindOf(KindClient, Client{}), kindOf(KindUser, User{}),
	kindOf(KindResourceServer, ResourceServer{}), kindOf(KindNamespace, Namespace{}),
	kindOf(KindIdentityProvider, IdentityProvider{}), kindOf(KindIdentity, Identity{}),
}

func kindOf(name string, doc any) documentKind {
	k, newest := documentKind{name: name, typ: reflect.TypeOf(doc), rules: rulesIn(reflect.TypeOf(doc), name)}, 1
	walkFields(k.typ, "", func(_ string, field reflect.StructField) {
		for _, rule := range rulesOf(field, name) {
			newest = max(newest, rule.version)
		}
	})
	for version := 1; version <= newest; version++ {
		k.formats = append(k.formats, name+"/v"+strconv.Itoa(version))
	}
	return k
}

// Formats returns the formats that this version reads and writes.
func Formats() (all []string) {
	for _, k := range documentKinds {
		all = append(all, k.formats...)
	}
	return all
}

// Reads reports whether this version reads documents of a format.
func Reads(format string) bool {
	return slices.ContainsFunc(documentKinds, func(k documentKind) bool { return slices.Contains(k.formats, format) })
}

// Kind returns the kind of documents that have a format.
func Kind(format string) string {
	kind, _, _ := strings.Cut(format, "/")
	return kind
}

// Format returns the oldest format that has all fields and values of doc; empty if doc is no
// document.
func Format(doc any) string {
	v := reflect.ValueOf(doc)
	for _, k := range documentKinds {
		if v.IsValid() && v.Type() == k.typ {
			return k.format(k.rules.neededVersion(v))
		}
	}
	return ""
}

// format returns a format that has a version.
func (k documentKind) format(version int) string { return k.formats[version-1] }

// versionOf returns the version in a format, and reports whether this version reads the format.
func (k documentKind) versionOf(format string) (int, bool) {
	i := slices.Index(k.formats, format)
	return i + 1, i >= 0
}

// formatRule is one format of a tag.
type formatRule struct {
	version int
	values  []string // nil: any value
}

// rulesOf returns the rules in the tag of a field for documents of a kind.
func rulesOf(field reflect.StructField, kind string) []formatRule {
	var rules []formatRule
	for _, part := range strings.Split(field.Tag.Get(formatTag), ",") {
		format, values, hasValues := strings.Cut(part, "=")
		number, ok := strings.CutPrefix(format, kind+"/v")
		version, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		rule := formatRule{version: version}
		if hasValues {
			rule.values = strings.Split(values, "|")
		}
		rules = append(rules, rule)
	}
	return rules
}

// appliesTo reports whether a field with value v needs the format.
func (r formatRule) appliesTo(v reflect.Value) bool {
	switch {
	case r.values == nil && (v.Kind() == reflect.Slice || v.Kind() == reflect.Map):
		return v.Len() > 0 // an empty list is left out of the document
	case r.values == nil:
		return !v.IsZero()
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if r.appliesTo(v.Index(i)) {
				return true
			}
		}
		return false
	default:
		return slices.Contains(r.values, v.String())
	}
}

// walkFields calls visit with each field of a type, and of the types in it, and its path in JSON.
func walkFields(t reflect.Type, path string, visit func(path string, field reflect.StructField)) {
	switch t.Kind() {
	case reflect.Pointer:
		walkFields(t.Elem(), path, visit)
	case reflect.Slice, reflect.Array:
		walkFields(t.Elem(), path+"[]", visit)
	case reflect.Map:
		walkFields(t.Elem(), path+"{}", visit)
	case reflect.Struct:
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			visit(path+"."+name, field)
			walkFields(field.Type, path+"."+name, visit)
		}
	}
}
