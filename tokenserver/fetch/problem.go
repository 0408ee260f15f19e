package fetch

import (
	"errors"
	"net"
)

// Problem is why an identity provider cannot be asked, for its Replica. Its owner is the server's, who
// may know more than who names a URL.
type Problem struct {
	ProviderUID string
	// Reason is a Reason, Unresolvable, or one of the package that asked.
	Reason string
	// Address is the private address that the provider has and the server's rules of fetching do not
	// list; empty if that is not the problem.
	Address string
}

// Unresolvable is the reason of a Problem with the name of the host.
const Unresolvable = "Unresolvable"

// NewProblem returns the Problem of a provider whose error is err. The reason is reason, if that is
// not empty.
func NewProblem(uid string, err error, reason string) Problem {
	problem := Problem{ProviderUID: uid, Reason: reason}
	if address, ok := NotAllowedAddress(err); ok {
		problem.Address = address.String()
	}
	var name *net.DNSError
	switch {
	case reason != "":
	case errors.As(err, &name):
		problem.Reason = Unresolvable
	default:
		problem.Reason = string(ReasonOf(err))
	}
	return problem
}
