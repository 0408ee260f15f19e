package claimmapping

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

// identityProviderClaim is the claim that the server sets to the name of the provider.
const identityProviderClaim = "identity_provider"

// claimTypes are the types of claims that have one (OpenID Connect Core section 5.1), for the check
// at compile time. oauth.CheckClaims checks the values.
var claimTypes = func() map[string][]*cel.Type {
	result := map[string][]*cel.Type{
		"email_verified": {cel.BoolType}, "phone_number_verified": {cel.BoolType}, "updated_at": {cel.IntType, cel.DoubleType},
		"address": {cel.MapType(cel.StringType, cel.DynType)}, "groups": {cel.ListType(cel.StringType)},
	}
	for _, names := range oauth.ClaimsOfScope {
		for _, name := range names {
			if result[name] == nil {
				result[name] = []*cel.Type{cel.StringType}
			}
		}
	}
	return result
}()

// withoutLanguage returns the name of a claim without its language tag (OpenID Connect Core section
// 5.2).
func withoutLanguage(name string) string {
	name, _, _ = strings.Cut(name, "#")
	return name
}

// checkName returns an error if a mapping must not make a claim of this name.
func checkName(name string) error {
	base := withoutLanguage(name)
	lower := strings.ToLower(base)
	switch {
	case name == "" || base == "" || len(name) > MaxClaimName:
		return fmt.Errorf("must have a name of 1 to %d bytes", MaxClaimName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("must have a name of printable characters")
	case lower == identityProviderClaim:
		return errors.New("must not be mapped: the server sets this claim to the name of the provider")
	case oauth.IsReservedClaim(base):
		return errors.New("must not be mapped: the protocol sets this claim")
	case base != lower && claimTypes[lower] != nil:
		return fmt.Errorf("must be spelled %q: applications that ignore letter case would take the one for the other", lower)
	}
	return nil
}

// claimSet collects the claims that expressions make.
type claimSet struct {
	claims map[string]any
	errors []ClaimError
}

func newClaimSet() *claimSet { return &claimSet{claims: map[string]any{}} }

func (s *claimSet) fail(claim string, err error) {
	s.errors = append(s.errors, ClaimError{claim, err})
}

func (s *claimSet) sortedErrors() []ClaimError {
	slices.SortStableFunc(s.errors, func(a, b ClaimError) int { return cmp.Compare(a.Claim, b.Claim) })
	return s.errors
}

// add adds the claim that a value of CEL makes; nil: none.
func (s *claimSet) add(claim string, value ref.Val) {
	if value == nil {
		return
	}
	c := &converter{left: MaxClaimBytes}
	converted, err := c.convert(value, 0)
	if err != nil {
		s.fail(claim, err)
		return
	}
	if problems := oauth.CheckClaims(map[string]any{claim: converted}); len(problems) > 0 {
		s.fail(claim, fmt.Errorf("%w: %s", ErrType, problems[0].Message))
		return
	}
	if list, ok := converted.([]any); ok {
		kept := slices.DeleteFunc(list, hasSystemName)
		if len(kept) < c.items {
			s.fail(claim, fmt.Errorf("%d of its elements are left out: each %w", c.items-len(kept), ErrSystem))
		}
		converted = kept
	} else if hasSystemName(converted) {
		s.fail(claim, ErrSystem)
		return
	}
	if claim == "groups" {
		if err := checkGroups(converted.([]any)); err != nil {
			s.fail(claim, err)
			return
		}
	}
	s.claims[claim] = converted
}

// hasSystemName reports whether a string in a value begins with "system:". Any claim may be what a
// kube-apiserver takes for the username or the groups.
func hasSystemName(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.HasPrefix(v, "system:")
	case []any:
		return slices.ContainsFunc(v, hasSystemName)
	case map[string]any:
		for _, member := range v {
			if hasSystemName(member) {
				return true
			}
		}
	}
	return false
}

func checkGroups(groups []any) error {
	if len(groups) > MaxGroups {
		return fmt.Errorf("%w: it has %d groups, at most %d are allowed", ErrLimit, len(groups), MaxGroups)
	}
	for _, group := range groups {
		if name, ok := group.(string); ok && len(name) > MaxGroup {
			return fmt.Errorf("%w: a group has %d bytes, at most %d are allowed", ErrLimit, len(name), MaxGroup)
		}
	}
	return nil
}

// setEmailVerified has email_verified go out with email, and never without. If it is not mapped, it is
// true only if the provider says so of this very address.
func (s *claimSet) setEmailVerified(isMapped bool, upstream map[string]any) {
	email, ok := s.claims["email"]
	if !ok {
		delete(s.claims, "email_verified")
		return
	}
	if _, ok := s.claims["email_verified"]; !ok {
		s.claims["email_verified"] = !isMapped && upstream["email"] == email && upstream["email_verified"] == true
	}
}

// limitSize leaves out the largest claims until the others have MaxClaimBytes at most.
func (s *claimSet) limitSize() {
	sizes, total := map[string]int{}, 0
	for claim, value := range s.claims {
		encoded, _ := json.Marshal(map[string]any{claim: value}) // it was made of values of JSON
		sizes[claim] = len(encoded)
		total += len(encoded)
	}
	for total > MaxClaimBytes {
		largest := slices.MaxFunc(slices.Sorted(maps.Keys(sizes)), func(a, b string) int { return cmp.Compare(sizes[a], sizes[b]) })
		s.fail(largest, fmt.Errorf("%w: all claims together have %d bytes, at most %d are allowed", ErrLimit, total, MaxClaimBytes))
		total -= sizes[largest]
		delete(sizes, largest)
		delete(s.claims, largest)
	}
	if _, ok := s.claims["email"]; !ok {
		delete(s.claims, "email_verified")
	}
}

// converter makes values of JSON of values of CEL, as encoding/json decodes them with UseNumber.
type converter struct {
	left  int // bytes
	items int // of the outermost list
}

func (c *converter) pay(bytes int) error {
	if c.left -= bytes; c.left < 0 {
		return fmt.Errorf("%w: it has more than %d bytes", ErrLimit, MaxClaimBytes)
	}
	return nil
}

func (c *converter) convert(value ref.Val, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("%w: it is nested deeper than %d", ErrLimit, MaxDepth)
	}
	switch v := value.(type) {
	case types.Null:
		return nil, c.pay(len("null"))
	case types.Bool:
		return bool(v), c.pay(len("true"))
	case types.String:
		return string(v), c.pay(len(v) + 2)
	case types.Int:
		return json.Number(strconv.FormatInt(int64(v), 10)), c.pay(1)
	case types.Uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), c.pay(1)
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("%w: a number is not finite", ErrType)
		}
		return json.Number(strconv.FormatFloat(float64(v), 'g', -1, 64)), c.pay(1)
	case traits.Mapper:
		return c.convertMap(v, depth)
	case traits.Lister:
		return c.convertList(v, depth)
	}
	return nil, fmt.Errorf("%w: a %s is no value of JSON", ErrType, value.Type().TypeName())
}

func (c *converter) convertList(list traits.Lister, depth int) (any, error) {
	result := []any{}
	for it := list.Iterator(); it.HasNext() == types.True; {
		item, err := c.convert(it.Next(), depth+1)
		if err == nil {
			err = c.pay(1)
		}
		if err != nil {
			return nil, err
		}
		result = append(result, item)
	}
	if depth == 0 {
		c.items = len(result)
	}
	return result, nil
}

func (c *converter) convertMap(object traits.Mapper, depth int) (any, error) {
	result := map[string]any{}
	for it := object.Iterator(); it.HasNext() == types.True; {
		key, ok := it.Next().(types.String)
		if !ok {
			return nil, fmt.Errorf("%w: a name in an object is no string", ErrType)
		}
		member, err := c.convert(object.Get(key), depth+1)
		if err == nil {
			err = c.pay(len(key) + 4)
		}
		if err != nil {
			return nil, err
		}
		result[string(key)] = member
	}
	return result, nil
}
