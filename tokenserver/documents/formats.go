package documents

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Kinds of documents: the part of a format before the slash.
const (
	KindServer         = "server"
	KindClient         = "client"
	KindUser           = "user"
	KindResourceServer = "resourceserver"
	KindNamespace      = "namespace"
)

// The first format of each kind of document.
const (
	FormatServer         = KindServer + "/v1"
	FormatClient         = KindClient + "/v1"
	FormatUser           = KindUser + "/v1"
	FormatResourceServer = KindResourceServer + "/v1"
	FormatNamespace      = KindNamespace + "/v1"
)

// formatTag is the struct tag by which a field belongs to a later format than the first:
//
//	TokensNotBefore int64  `json:"tokensNotBefore,omitempty" format:"client/v2"`
//	AuthMethod      string `json:"authMethod" format:"client/v3=private_key_jwt|WorkloadIdentity"`
//
// A document in which the first is set has at least that format; so has one in which the second, or
// an element of the list, has one of the values. A format has all the fields of those before it. A
// type that is in documents of several kinds names a format of each, separated by commas.
const formatTag = "format"

// documentKind is a kind of document, and the number of its newest format.
type documentKind struct {
	name   string
	typ    reflect.Type
	newest int
}

var documentKinds = []documentKind{
	kindOf(KindServer, Server{}), kindOf(KindClient, Client{}), kindOf(KindUser, User{}),
	kindOf(KindResourceServer, ResourceServer{}), kindOf(KindNamespace, Namespace{}),
}

func kindOf(name string, doc any) documentKind {
	k := documentKind{name: name, typ: reflect.TypeOf(doc), newest: 1}
	walkFields(k.typ, "", func(_ string, field reflect.StructField) {
		for _, rule := range rulesOf(field, name) {
			k.newest = max(k.newest, rule.version)
		}
	})
	return k
}

// Formats that this version reads and writes.
func Formats() []string {
	var formats []string
	for _, k := range documentKinds {
		for version := 1; version <= k.newest; version++ {
			formats = append(formats, k.format(version))
		}
	}
	return formats
}

// Reads reports whether this version reads documents of a format.
func Reads(format string) bool { return slices.Contains(Formats(), format) }

// Kind is the kind of document that has the format; empty where there is none.
func Kind(format string) string {
	kind, _, _ := strings.Cut(format, "/")
	return kind
}

// Format is the oldest format that can say what doc says; empty if doc is no document.
func Format(doc any) string {
	v := reflect.ValueOf(doc)
	for _, k := range documentKinds {
		if v.IsValid() && v.Type() == k.typ {
			return k.format(k.version(v))
		}
	}
	return ""
}

func (k documentKind) format(version int) string { return k.name + "/v" + strconv.Itoa(version) }

// number of a format of the kind, if it is one that this version reads.
func (k documentKind) number(format string) (int, bool) {
	for version := 1; version <= k.newest; version++ {
		if k.format(version) == format {
			return version, true
		}
	}
	return 0, false
}

// version is the number of the oldest format that can say what a value of a document says.
func (k documentKind) version(v reflect.Value) int {
	if k.newest == 1 {
		return 1
	}
	version := 1
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			version = k.version(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			version = max(version, k.version(v.Index(i)))
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			version = max(version, k.version(entries.Value()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			for _, rule := range rulesOf(v.Type().Field(i), k.name) {
				if rule.concerns(v.Field(i)) {
					version = max(version, rule.version)
				}
			}
			version = max(version, k.version(v.Field(i)))
		}
	}
	return version
}

// formatRule is what one part of a tag says: which format a field, or some of its values, belongs to.
type formatRule struct {
	version int
	values  []string // nil: any value
}

// rulesOf a field in documents of a kind.
func rulesOf(field reflect.StructField, kind string) []formatRule {
	var rules []formatRule
	for _, part := range strings.Split(field.Tag.Get(formatTag), ",") {
		format, values, some := strings.Cut(part, "=")
		number, ok := strings.CutPrefix(format, kind+"/v")
		version, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		rule := formatRule{version: version}
		if some {
			rule.values = strings.Split(values, "|")
		}
		rules = append(rules, rule)
	}
	return rules
}

func (r formatRule) concerns(v reflect.Value) bool {
	switch {
	case r.values == nil && (v.Kind() == reflect.Slice || v.Kind() == reflect.Map):
		return v.Len() > 0 // an empty list is left out of the document
	case r.values == nil:
		return !v.IsZero()
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if r.concerns(v.Index(i)) {
				return true
			}
		}
		return false
	default:
		return slices.Contains(r.values, v.String())
	}
}

// walkFields calls visit with each field below a type, and its path in JSON. An interface is free
// JSON and has none.
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
