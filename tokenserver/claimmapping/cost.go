package claimmapping

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// costs are the costs of calls in one expression.
//
// CEL's own are not good enough. It knows a cost by the overload, and so only for arguments whose types
// it knows at compile time, while those in upstream are dynamic. And it counts the cost of a call after
// the call, which is too late where a call takes minutes or gigabytes. The costs here are by the name
// of the function and known before the call: guard asks them.
type costs struct {
	// patterns are the regular expressions, with the instructions that each has.
	patterns map[string]int
}

// CallCost implements interpreter.ActualCostEstimator.
func (c costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	cost := c.of(function, args)
	return &cost
}

// of returns the cost of a call. It takes no longer than a call of cost MaxCost.
func (c costs) of(function string, args []ref.Val) uint64 {
	switch function {
	case operators.Equals, operators.NotEquals, "format":
		return 1 + deepSize(args...) // they go down into lists and maps
	case operators.In:
		if _, isMap := args[1].(traits.Mapper); isMap {
			return 1
		}
		return 1 + deepSize(args[1])
	case "join":
		return times(deepSize(args[0]), length(args[1:])/lengthUnit)
	case "replace", "indexOf", "lastIndexOf", "contains":
		return times(length(args[:1])/lengthUnit, length(args[1:]))
	case overloads.Matches:
		pattern, _ := args[1].(types.String)
		return times(length(args[:1])/lengthUnit, uint64(c.patterns[string(pattern)]))
	}
	return 1 + length(args)/lengthUnit
}

// lengthUnit is how many bytes of a string, or elements of a list, cost one unit.
const lengthUnit = 10

func times(a, b uint64) uint64 { return min((1+a)*(1+b), 2*MaxCost) }

// length returns the number of bytes of strings, and of elements of others, or 2 * MaxCost *
// lengthUnit if there are more.
func length(values []ref.Val) (n uint64) {
	for _, value := range values {
		switch v := value.(type) {
		case types.String:
			n += uint64(len(v))
		case types.Bytes:
			n += uint64(len(v))
		case traits.Sizer:
			if size, ok := v.Size().(types.Int); ok && size >= 0 {
				n += uint64(size)
			} else {
				n += 2 * MaxCost * lengthUnit
			}
		}
	}
	return min(n, 2*MaxCost*lengthUnit)
}

// deepSize returns a number for each of the values and of those in them, plus one for each 64 bytes
// of a string, and stops beyond MaxCost: counting a list that has another one many times, which has
// another one many times, would never end.
func deepSize(values ...ref.Val) uint64 {
	c := &sizeCounter{}
	for _, value := range values {
		c.count(value)
	}
	return c.size
}

type sizeCounter struct{ size uint64 }

func (c *sizeCounter) count(value ref.Val) {
	c.size++
	switch v := value.(type) {
	case types.String:
		c.size += uint64(len(v)) / 64
	case types.Bytes:
		c.size += uint64(len(v)) / 64
	case *types.Optional:
		if v.HasValue() {
			c.count(v.GetValue())
		}
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True && c.size <= MaxCost; {
			key := it.Next()
			c.count(key)
			if value, ok := v.Find(key); ok {
				c.count(value)
			}
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True && c.size <= MaxCost; {
			c.count(it.Next())
		}
	}
}

// guard has the implementations of the functions that must not be called before their cost is known.
type guard struct {
	functions map[string]functions.FunctionOp
}

var guarded = []string{operators.In, operators.Add, "format", "join", "replace", "indexOf", "lastIndexOf", "contains", overloads.Matches}

func newGuard(env *cel.Env) (*guard, error) {
	g := &guard{map[string]functions.FunctionOp{
		operators.Equals:    func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) },
		operators.NotEquals: func(args ...ref.Val) ref.Val { return negate(types.Equal(args[0], args[1])) },
	}}
	for _, name := range guarded {
		declared := env.Functions()[name]
		overloads, err := declared.Bindings()
		if err != nil || len(overloads) == 0 {
			return nil, fmt.Errorf("finding the CEL function %s: %w", name, err)
		}
		for _, o := range overloads {
			if o.Operator == name { // the one that chooses among the others
				g.functions[name] = implementationOf(name, o)
			}
		}
		if g.functions[name] == nil {
			return nil, fmt.Errorf("finding the CEL function %s: it has no binding of its name", name)
		}
	}
	return g, nil
}

func negate(value ref.Val) ref.Val {
	if b, ok := value.(types.Bool); ok {
		return !b
	}
	return value
}

func implementationOf(name string, o *functions.Overload) functions.FunctionOp {
	return func(args ...ref.Val) ref.Val {
		switch {
		case o.OperandTrait != 0 && !args[0].Type().HasTrait(o.OperandTrait):
		case o.Binary != nil && len(args) == 2:
			return o.Binary(args[0], args[1])
		case o.Unary != nil && len(args) == 1:
			return o.Unary(args[0])
		case o.Function != nil:
			return o.Function(args...)
		}
		return types.NewErr("no such overload: %s", name)
	}
}

// decorator makes the call of a guarded function cancel the evaluation if the call alone costs more
// than MaxCost.
func (g *guard) decorator(c costs) interpreter.InterpretableDecoratorV2 {
	return func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		call, ok := i.(interpreter.InterpretableCall)
		if !ok || g.functions[call.Function()] == nil {
			return i, nil
		}
		name, implementation := call.Function(), g.functions[call.Function()]
		return interpreter.NewCall(call.ID(), name, call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
			if c.of(name, args) > MaxCost {
				panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "the call of " + name + " costs too much"})
			}
			return implementation(args...)
		}), nil
	}
}
