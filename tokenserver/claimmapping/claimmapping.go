// Package claimmapping turns what an identity provider says of a user into the claims about the user,
// by the CEL expressions of an IdentityProvider. The manager compiles them to find mistakes, and the
// token server to evaluate them at each sign-in. The package is pure, and has no clock.
//
//	claimmapping.go  Mapping: compiles and evaluates
//	environment.go   the language: CEL's standard library, its strings and optionals, and its limits
//	cost.go          how much a call costs, which is known before it is made
//	mentions.go      what an expression reads of upstream
//	input.go         what a provider says, as values of CEL
//	claims.go        values of CEL as claims, and which may go out
//	errors.go        the errors, which quote nothing of a user
//	examples.go      examples that a mapping must fulfil
//
// An expression sees one variable, upstream. A mapping never makes a claim that the protocol or the
// server sets, and no string in its claims begins with "system:", which Kubernetes keeps for itself.
package claimmapping

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Limits.
const (
	MaxExpression = 4 << 10  // bytes of an expression
	MaxInput      = 64 << 10 // bytes of upstream, about as many as its JSON has
	MaxDepth      = 16       // of lists and objects in upstream
	MaxCost       = 100_000  // of the evaluation of a mapping, in units of CEL
	MaxClaims     = 32
	MaxClaimName  = 128     // bytes
	MaxClaimBytes = 8 << 10 // of all claims in JSON
	MaxGroups     = 200
	MaxGroup      = 256 // bytes
)

// Mapping is safe for concurrent use.
type Mapping struct {
	allow     *expression
	allowHash string
	claims    []*expression // sorted by claim
}

// expression is a compiled CEL expression, of a claim or of allow.
type expression struct {
	claim    string // empty: allow
	program  cel.Program
	mentions map[string]bool
}

// Compile returns the mapping of an allow expression and of an expression for each claim. Its errors
// join a line for each expression that has a mistake, which begins with allow or claims[<name>].
func Compile(allow string, claims map[string]string) (*Mapping, error) {
	m := &Mapping{}
	var err error
	var problems []error
	if m.allow, err = compile(allow, cel.BoolType); err != nil {
		problems = append(problems, fmt.Errorf("allow %w", err))
	}
	sum := sha256.Sum256([]byte(allow))
	m.allowHash = hex.EncodeToString(sum[:])
	if len(claims) > MaxClaims {
		problems = append(problems, fmt.Errorf("claims has %d names, at most %d are allowed", len(claims), MaxClaims))
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		e, err := compileClaim(name, claims[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("claims[%s] %w", name, err))
			continue
		}
		m.claims = append(m.claims, e)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return m, nil
}

func compileClaim(name, source string) (*expression, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	e, err := compile(source, claimTypes[withoutLanguage(name)]...)
	if err != nil {
		return nil, err
	}
	e.claim = name
	return e, nil
}

// AllowHash identifies the allow expression: it differs for another one.
func (m *Mapping) AllowHash() string { return m.allowHash }

// Result is what a mapping makes of what a provider says of a user.
type Result struct {
	// Allowed reports whether the user may sign in. Without it there are no claims.
	Allowed bool
	// Claims are as encoding/json decodes them with UseNumber.
	Claims map[string]any
	// Errors are about claims that are left out, or about parts of them, sorted by claim.
	Errors []ClaimError
}

// Evaluate maps what a provider says of a user. An error means that the user may not sign in, because
// upstream is too large or has a value that is not of JSON (ErrInput), or because allow cannot be
// evaluated. No error quotes a value of upstream.
//
// Values of upstream are those that encoding/json decodes, with UseNumber or without, and lists of
// strings. A number without a fraction is an int in CEL.
func (m *Mapping) Evaluate(upstream map[string]any) (Result, error) {
	input, err := normalizeInput(upstream)
	if err != nil {
		return Result{}, err
	}
	e := evaluation{input: map[string]any{"upstream": input}, moved: movedClaims(input), left: MaxCost}
	allowed, err := e.evaluate(m.allow)
	if err != nil {
		return Result{}, fmt.Errorf("evaluating allow: %w", err)
	}
	if isAllowed, ok := allowed.(types.Bool); !ok {
		return Result{}, fmt.Errorf("evaluating allow: %w", errNotBool)
	} else if !isAllowed {
		return Result{}, nil
	}
	made := newClaimSet()
	for _, claim := range m.claims {
		value, err := e.evaluate(claim)
		if err != nil {
			made.fail(claim.claim, err)
			continue
		}
		made.add(claim.claim, value)
	}
	made.setEmailVerified(m.maps("email_verified"), input)
	made.limitSize()
	return Result{Allowed: true, Claims: made.claims, Errors: made.sortedErrors()}, nil
}

// maps reports whether the mapping has an expression for a claim.
func (m *Mapping) maps(claim string) bool {
	return slices.ContainsFunc(m.claims, func(e *expression) bool { return e.claim == claim })
}

// evaluation is one call of Evaluate. Its expressions share the cost: the one that uses up what is left
// may still cost MaxCost, and none is evaluated after it.
type evaluation struct {
	input map[string]any
	moved map[string]bool
	left  uint64
}

// evaluate returns the value of an expression; nil for an optional without a value, and for null.
func (e *evaluation) evaluate(x *expression) (ref.Val, error) {
	for name := range e.moved {
		if x.mentions[name] {
			return nil, fmt.Errorf("%w: %s", ErrOverage, name)
		}
	}
	if e.left == 0 {
		return nil, ErrCost
	}
	value, details, err := x.program.Eval(e.input)
	e.pay(details, err)
	if err != nil {
		return nil, describeFailure(err, x.mentions)
	}
	if optional, ok := value.(*types.Optional); ok {
		if !optional.HasValue() {
			return nil, nil
		}
		value = optional.GetValue()
	}
	if value.Type() == types.NullType {
		return nil, nil
	}
	return value, nil
}

// pay takes the cost of an expression from what is left. One whose cost is not known has used it up.
func (e *evaluation) pay(details *cel.EvalDetails, err error) {
	cost := details.ActualCost()
	if cost == nil || isCostError(err) || *cost >= e.left {
		e.left = 0
		return
	}
	e.left -= *cost
}
