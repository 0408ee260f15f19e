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
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// maxPattern bounds the instructions of a regular expression.
const maxPattern = 1000

// environment returns the language of the expressions, and what its functions cost.
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
	return &language{env, []cel.ProgramOption{
		cel.CostTracking(costs{}), cel.CostLimit(MaxCost), cel.CustomDecoratorV2(guard.decorate),
	}}, nil
})

type language struct {
	env     *cel.Env
	options []cel.ProgramOption
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
	root := checked.NativeRep().Expr()
	if err := checkPatterns(root); err != nil {
		return nil, err
	}
	program, err := lang.env.Program(checked, lang.options...)
	if err != nil {
		return nil, fmt.Errorf("cannot be evaluated: %s", firstLine(err.Error()))
	}
	return &expression{program: program, mentions: mentionsOf(root)}, nil
}

// firstIssue returns the first mistake in one line, with its place in the expression.
func firstIssue(issues *cel.Issues) string {
	for _, e := range issues.Errors() {
		return fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, firstLine(e.Message))
	}
	return firstLine(issues.Err().Error())
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

// checkPatterns returns an error if a regular expression is not a literal, since a user could
// otherwise choose one that takes long, or if it is wrong or large.
func checkPatterns(root ast.Expr) error {
	var err error
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches || err != nil {
			return
		}
		args := e.AsCall().Args()
		if pattern := args[len(args)-1]; pattern.Kind() == ast.LiteralKind {
			err = checkPattern(pattern.AsLiteral())
		} else {
			err = errors.New("has a call of matches whose pattern is no literal string")
		}
	}))
	return err
}

func checkPattern(literal ref.Val) error {
	pattern, ok := literal.(types.String)
	if !ok {
		return errors.New("has a call of matches whose pattern is no literal string")
	}
	parsed, err := syntax.Parse(string(pattern), syntax.Perl)
	if err != nil {
		return fmt.Errorf("has a pattern with a mistake: %s", firstLine(err.Error()))
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fmt.Errorf("has a pattern with a mistake: %s", firstLine(err.Error()))
	}
	if len(program.Inst) > maxPattern {
		return fmt.Errorf("has a pattern of %d instructions, at most %d are allowed: repeat less in it", len(program.Inst), maxPattern)
	}
	return nil
}
