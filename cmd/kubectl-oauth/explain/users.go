package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/terminal"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// UsersAnswer says which users may sign in to a client, by the rule that accepts it.
type UsersAnswer struct {
	IdentityProviders []ProviderAnswer `json:"identityProviders"`
	// Groups are those of which a user has to be in one. Empty: in any or none.
	Groups []string `json:"groups,omitempty"`
}

// ProviderAnswer is about the users of an IdentityProvider, or about the OAuthUsers, which are those
// of the provider local.
type ProviderAnswer struct {
	Name     string  `json:"name"`
	Succeeds Outcome `json:"succeeds"`
	// Reason is why its users cannot sign in, or why that is not known.
	Reason *Reason `json:"reason,omitempty"`
}

// SignsUsersIn reports whether users sign in to a client.
func SignsUsersIn(c *v1alpha1.OAuthClient) bool {
	return slices.ContainsFunc(c.Spec.GrantTypes, func(g v1alpha1.GrantType) bool {
		return g == v1alpha1.GrantTypeAuthorizationCode || g == v1alpha1.GrantTypeImplicit || g == v1alpha1.GrantTypePassword
	})
}

// checkUsers says which users may sign in. Nil if none do, or if the rule is not known.
func (e *explanation) checkUsers() *UsersAnswer {
	if !SignsUsersIn(e.Client) || !e.decision.Accepted {
		return nil
	}
	users := e.decision.Users
	a := &UsersAnswer{Groups: users.Groups}
	names := users.IdentityProviders
	if len(names) == 0 {
		names = []string{documents.LocalProvider}
		for i := range e.IdentityProviders {
			if p := &e.IdentityProviders[i]; p.Spec.Clients == v1alpha1.ProviderClientsAll {
				names = append(names, p.Name)
			}
		}
	}
	for _, name := range names {
		a.IdentityProviders = append(a.IdentityProviders, e.checkProvider(name))
	}
	return a
}

func (e *explanation) checkProvider(name string) ProviderAnswer {
	a := ProviderAnswer{Name: name, Succeeds: Yes}
	i := slices.IndexFunc(e.IdentityProviders, func(p v1alpha1.IdentityProvider) bool { return p.Name == name })
	switch {
	case name == documents.LocalProvider:
	case i < 0 && !e.AllIdentityProviders:
		a.Succeeds, a.Reason = Unknown, e.aboutRule(fmt.Sprintf("you may not read the IdentityProvider %q", name))
	case i < 0:
		a.Succeeds, a.Reason = No, e.aboutRule(fmt.Sprintf("the server has no IdentityProvider %q: create it, or take it off the list", name))
	default:
		a.Succeeds, a.Reason = checkReady(&e.IdentityProviders[i])
	}
	return a
}

// aboutRule returns a reason in the list of the rule that accepts the client.
func (e *explanation) aboutRule(message string) *Reason {
	return &Reason{Object: e.answer.Server, Field: "spec.allowedClients[" + e.answer.Rule + "].identityProviders", Message: message}
}

// checkReady says what an IdentityProvider itself says.
func checkReady(p *v1alpha1.IdentityProvider) (Outcome, *Reason) {
	object := "IdentityProvider " + p.Namespace + "/" + p.Name
	c := currentCondition(p, p.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case p.Spec.Suspended:
		return No, &Reason{Object: object, Field: "spec.suspended", Message: "is true"}
	case c == nil:
		return Unknown, &Reason{Object: object, Field: "status.conditions[Ready]", Message: fmt.Sprintf("the manager has not reported on generation %d yet", p.Generation)}
	case c.Status == metav1.ConditionTrue:
		return Yes, nil
	case c.Status == metav1.ConditionFalse:
		return No, &Reason{Object: object, Field: conditionField(*c), Message: c.Reason + ": " + c.Message}
	}
	return Unknown, &Reason{Object: object, Field: conditionField(*c), Message: c.Reason + ": " + c.Message}
}

func (a *UsersAnswer) print(out io.Writer) {
	if a == nil {
		return
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "USERS OF\tMAY SIGN IN\tGROUPS")
	for _, p := range a.IdentityProviders {
		fmt.Fprintf(table, "%s\t%s\t%s\n", p.Name, p.Succeeds, terminal.Printable(orDash(strings.Join(a.Groups, ","))))
	}
	_ = table.Flush() // the terminal may be gone
	for _, p := range a.IdentityProviders {
		if p.Reason != nil {
			printReasons(out, "\nusers of "+p.Name+":\n", []Reason{*p.Reason})
		}
	}
}
