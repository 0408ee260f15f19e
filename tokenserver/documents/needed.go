package documents

import "reflect"

// typeRules are the rules in a type, for documents of one kind. They are found once: a token server
// that starts asks them about each document.
type typeRules struct {
	fields []fieldRules // of a struct: those that have rules, or rules in them
	elem   *typeRules   // of a pointer, list or map
}

type fieldRules struct {
	index int
	rules []formatRule
	in    *typeRules // nil if there are none
}

// rulesIn returns the rules in a type; nil if it has none.
func rulesIn(t reflect.Type, kind string) *typeRules {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if elem := rulesIn(t.Elem(), kind); elem != nil {
			return &typeRules{elem: elem}
		}
	case reflect.Struct:
		var fields []fieldRules
		for i := range t.NumField() {
			f := fieldRules{i, rulesOf(t.Field(i), kind), rulesIn(t.Field(i).Type, kind)}
			if len(f.rules) > 0 || f.in != nil {
				fields = append(fields, f)
			}
		}
		if len(fields) > 0 {
			return &typeRules{fields: fields}
		}
	}
	return nil
}

// neededVersion returns the version of the oldest format that has all fields and values of v.
func (t *typeRules) neededVersion(v reflect.Value) int {
	version := 1
	if t == nil {
		return version
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			version = t.elem.neededVersion(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			version = max(version, t.elem.neededVersion(v.Index(i)))
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			version = max(version, t.elem.neededVersion(entries.Value()))
		}
	case reflect.Struct:
		for _, f := range t.fields {
			for _, rule := range f.rules {
				if rule.appliesTo(v.Field(f.index)) {
					version = max(version, rule.version)
				}
			}
			version = max(version, f.in.neededVersion(v.Field(f.index)))
		}
	}
	return version
}
