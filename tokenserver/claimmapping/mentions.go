package claimmapping

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// mentionsOf returns the names of fields and the literal strings in an expression: everything that it
// may read of upstream by name.
func mentionsOf(root ast.Expr) map[string]bool {
	mentions := map[string]bool{}
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			mentions[e.AsSelect().FieldName()] = true
		case ast.LiteralKind:
			if s, ok := e.AsLiteral().(types.String); ok {
				mentions[string(s)] = true
			}
		}
	}))
	return mentions
}

// movedClaims returns the claims that the provider replaced by a link (OpenID Connect Core section
// 5.6.2). Entra ID does so with groups if a user has more than 200, or says hasgroups in their place.
func movedClaims(input map[string]any) map[string]bool {
	moved := map[string]bool{}
	if names, ok := input["_claim_names"].(map[string]any); ok {
		for name := range names {
			moved[name] = true
		}
	}
	if input["hasgroups"] == true {
		moved["groups"] = true
	}
	for name := range moved {
		if _, ok := input[name]; ok {
			delete(moved, name)
		}
	}
	return moved
}
