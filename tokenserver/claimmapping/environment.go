package claimmapping

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// maxPattern bounds the instructions of a regular expression.
const maxPattern = 1000

// environment returns the language of the expressions.
var environment = sync.OnceValues(func() (*language, error) {
	env, err := cel.NewEnv(
		cel.Variable("upstream", cel.MapType(cel.StringType, cel.DynType)),
		cel.OptionalTypes(),
		ext.Strings(),
	)
	if err != nil {
		return nil, fmt.Errorf("building the CEL environment: %w", err)
	}
	guard, err := newGuard(env)
	if err != nil {
		return nil, err
	}
	return &language{env, guard}, nil
})

type language struct {
	env   *cel.Env
	guard *guard
}

// program returns what evaluates an expression within MaxCost.
func (l *language) program(checked *cel.Ast) (cel.Program, error) {
	patterns, err := patternsOf(checked.NativeRep().Expr())
	if err != nil {
		return nil, err
	}
	c := costs{patterns}
	program, err := l.env.Program(checked, cel.CostTracking(c), cel.CostLimit(MaxCost), cel.CustomDecoratorV2(l.guard.decorator(c)))
	if err != nil {
		return nil, fmt.Errorf("cannot be evaluated: %s", firstLine(err.Error()))
	}
	return program, nil
}

// compile returns an expression whose value may have one of the types; none: any type that JSON has.
func compile(source string, want ...*cel.Type) (x *expression, err error) {
	defer func() {
		if recover() != nil { // a fault of the compiler must not end the program
			x, err = nil, errors.New("cannot be compiled: write it in another way")
		}
	}()
	switch {
	case strings.TrimSpace(source) == "":
		return nil, errors.New("must not be empty")
	case len(source) > MaxExpression:
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(source), MaxExpression)
	case !utf8.ValidString(source):
		return nil, errors.New("must be UTF-8")
	}
	lang, err := environment()
	if err != nil {
		return nil, err
	}
	checked, issues := lang.env.Compile(source)
	if issues.Err() != nil {
		return nil, errors.New(firstIssue(issues))
	}
	if err := checkType(checked.OutputType(), want); err != nil {
		return nil, err
	}
	program, err := lang.program(checked)
	if err != nil {
		return nil, err
	}
	return &expression{program: program, mentions: mentionsOf(checked.NativeRep().Expr())}, nil
}

// firstIssue returns the first mistake in one line, with its place in the expression.
func firstIssue(issues *cel.Issues) string {
	all := issues.Errors()
	if len(all) == 0 {
		return firstLine(issues.Err().Error())
	}
	first := all[0]
	message := firstLine(first.Message)
	if what, isUndeclared := strings.CutSuffix(message, " (in container '')"); isUndeclared {
		message = what + ": the only variable is upstream, and the functions are those of CEL"
	}
	return fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, message)
}

func firstLine(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	return line
}

// checkType returns an error unless a value of the type, or of what is in it if it is an optional,
// can be of one of the types.
func checkType(got *cel.Type, want []*cel.Type) error {
	if parameters := got.Parameters(); got.TypeName() == types.OptionalType.TypeName() && len(parameters) == 1 {
		got = parameters[0]
	}
	anyType := len(want) == 0
	if anyType {
		want = jsonTypes
	}
	if got.Kind() == types.NullTypeKind || slices.ContainsFunc(want, func(t *cel.Type) bool { return t.IsAssignableType(got) || got.IsAssignableType(t) }) {
		return nil
	}
	if anyType {
		return fmt.Errorf("makes a %s, which is no value of JSON; string() makes a string of it", got)
	}
	var names []string
	for _, t := range want {
		names = append(names, t.String())
	}
	return fmt.Errorf("makes a %s, it must make a %s", got, strings.Join(names, " or "))
}

// jsonTypes are the types of values that JSON has.
var jsonTypes = []*cel.Type{
	cel.StringType, cel.BoolType, cel.IntType, cel.UintType, cel.DoubleType, cel.ListType(cel.DynType), cel.MapType(cel.StringType, cel.DynType),
}

// patternsOf returns the regular expressions in an expression, with the number of instructions that
// each has. One that is not a literal is an error, since a user could otherwise choose one that takes
// long.
func patternsOf(root ast.Expr) (map[string]int, error) {
	patterns := map[string]int{}
	var err error
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches || err != nil {
			return
		}
		args := e.AsCall().Args()
		last := args[len(args)-1]
		pattern, ok := "", last.Kind() == ast.LiteralKind
		if ok {
			pattern, ok = last.AsLiteral().Value().(string)
		}
		if !ok {
			err = errors.New("has a call of matches whose pattern is no literal string")
			return
		}
		patterns[pattern], err = countInstructions(pattern)
	}))
	return patterns, err
}

func countInstructions(pattern string) (int, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("has a pattern with a mistake: %s", firstLine(err.Error()))
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, fmt.Errorf("has a pattern with a mistake: %s", firstLine(err.Error()))
	}
	if len(program.Inst) > maxPattern {
		return 0, fmt.Errorf("has a pattern of %d instructions, at most %d are allowed: repeat less in it", len(program.Inst), maxPattern)
	}
	return len(program.Inst), nil
}
