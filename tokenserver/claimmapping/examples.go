package claimmapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
)

// Example is what a provider could say of a user who does not exist, and what must come of it.
type Example struct {
	Name     string
	Upstream map[string]any
	// Claims are all the claims that must come out. Denied is true if the user must not sign in.
	Claims map[string]any
	Denied bool
}

// CheckExamples returns an error about the first example that does not come out as it should.
func (m *Mapping) CheckExamples(examples []Example) error {
	for _, example := range examples {
		if err := m.checkExample(example); err != nil {
			return fmt.Errorf("example %q: %w", example.Name, err)
		}
	}
	return nil
}

func (m *Mapping) checkExample(example Example) error {
	result, err := m.Evaluate(example.Upstream)
	switch {
	case errors.Is(err, ErrInput), errors.Is(err, ErrCost), err != nil && !example.Denied:
		return err
	case example.Denied && result.Allowed:
		return errors.New("the user is allowed, want denied")
	case example.Denied:
		return nil
	case !result.Allowed:
		return errors.New("the user is denied, want allowed")
	case len(result.Errors) > 0:
		return result.Errors[0]
	}
	normal, err := normalizeInput(example.Claims)
	if err != nil {
		return fmt.Errorf("the claims: %w", err)
	}
	c := &converter{left: MaxInput}
	converted, err := c.convert(types.DefaultTypeAdapter.NativeToValue(normal), 0)
	if err != nil {
		return fmt.Errorf("the claims: %w", err)
	}
	return compareClaims(result.Claims, converted.(map[string]any))
}

func compareClaims(got, want map[string]any) error {
	all := maps.Clone(got)
	maps.Copy(all, want)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		gotValue, isGot := got[name]
		wantValue, isWanted := want[name]
		switch {
		case !isGot:
			return fmt.Errorf("the claim %s is not there, want %s", name, quote(wantValue))
		case !isWanted:
			return fmt.Errorf("the claim %s is %s, want none", name, quote(gotValue))
		case !reflect.DeepEqual(gotValue, wantValue):
			return fmt.Errorf("the claim %s is %s, want %s", name, quote(gotValue), quote(wantValue))
		}
	}
	return nil
}

// quote returns a value in JSON, shortened for a message.
func quote(value any) string {
	const maxQuoted = 200
	encoded, _ := json.Marshal(value)
	if len(encoded) > maxQuoted {
		return strings.ToValidUTF8(string(encoded[:maxQuoted]), "") + "…"
	}
	return string(encoded)
}
