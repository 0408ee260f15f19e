package compile

import "fmt"

// Problem is why an object cannot be used: the reason and the message of a condition that says so.
// The zero Problem is none. With the reason Pending it is one that passes by itself.
type Problem struct {
	Reason  string
	Message string
}

// IsSet reports whether there is a problem.
func (p Problem) IsSet() bool { return p.Reason != "" }

func newProblem(reason, format string, args ...any) Problem {
	return Problem{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
