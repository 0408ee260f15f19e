package claimmapping

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/interpreter"
)

var (
	// ErrInput means that what the provider says is too large, too deep, or no JSON.
	ErrInput = errors.New("unacceptable upstream")
	// ErrCost means that the evaluation would cost more than MaxCost.
	ErrCost = errors.New("the evaluation costs too much")
	// ErrOverage means that the provider has replaced what the expression reads by a link to it,
	// because it is too long. It says nothing about what is behind the link.
	ErrOverage = errors.New("the provider sends a link in place of the claim")
	// ErrSystem means that a string begins with "system:". Kubernetes keeps these names of users and
	// groups for itself.
	ErrSystem = errors.New(`begins with "system:"`)
	// ErrLimit means that a claim is larger than is allowed.
	ErrLimit = errors.New("too large")
	// ErrType means that the value of a claim is not of the type that it must have.
	ErrType = errors.New("wrong type")

	errNotBool = fmt.Errorf("%w: it is not true or false", ErrType)
)

// ClaimError is about a claim that is left out, or about elements of it that are.
type ClaimError struct {
	Claim string
	Err   error
}

// Error implements error.
func (e ClaimError) Error() string { return "claims[" + e.Claim + "]: " + e.Err.Error() }

// Unwrap returns the reason.
func (e ClaimError) Unwrap() error { return e.Err }

func isCostError(err error) bool {
	cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err)
	return ok && cancelled.Cause == interpreter.CostLimitExceeded
}

// describeFailure returns an error for that of an evaluation. CEL's messages may quote values: what
// is kept of them is what the expression itself mentions.
func describeFailure(err error, mentions map[string]bool) error {
	if isCostError(err) {
		return ErrCost
	}
	message := err.Error()
	if key, ok := strings.CutPrefix(message, "no such key: "); ok {
		if mentions[key] {
			return fmt.Errorf("there is no %s", key)
		}
		return errors.New("there is no such key")
	}
	for part, reason := range map[string]string{
		"no such overload":    "a function or operator does not take a value of this type",
		"index out of bounds": "an index is out of bounds",
		"index out of range":  "an index is out of bounds",
		"division by zero":    "it divides by zero",
		"modulus by zero":     "it divides by zero",
		"overflow":            "a number is too large",
		"none dereference":    "an optional has no value",
		"unsupported":         "a value has a type that cannot be used so",
	} {
		if strings.Contains(message, part) {
			return errors.New(reason)
		}
	}
	return errors.New("a function fails for this value")
}
