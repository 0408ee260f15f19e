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
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
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
	// refreshes is whether what was issued to its users is good: of a provider that is away, it is.
	refreshes Outcome
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
	a := ProviderAnswer{Name: name, Succeeds: Yes, refreshes: Yes}
	i := slices.IndexFunc(e.IdentityProviders, func(p v1alpha1.IdentityProvider) bool { return p.Name == name })
	switch {
	case name == documents.LocalProvider:
	case i < 0 && !e.AllIdentityProviders:
		a.refuse(Unknown, e.aboutProviders(fmt.Sprintf("you may not read the IdentityProvider %q", name)))
	case i < 0:
		a.refuse(No, e.aboutProviders(fmt.Sprintf("the server has no IdentityProvider %q: create it, or take it off the list", name)))
	case e.IdentityProviders[i].UID == "":
		a.checkManifest(&e.IdentityProviders[i])
	default:
		a.checkConditions(&e.IdentityProviders[i])
	}
	return a
}

// refuse notes that the users of a provider can neither sign in nor use what was issued to them, or
// that it is not known whether they can.
func (a *ProviderAnswer) refuse(outcome Outcome, reason Reason) {
	a.Succeeds, a.refreshes, a.Reason = outcome, outcome, &reason
}

// aboutProviders returns a reason in the list of the rule that accepts the client.
func (e *explanation) aboutProviders(message string) Reason {
	return Reason{Object: e.answer.Server, Field: "spec.allowedClients[" + e.answer.Rule + "].identityProviders", Message: message}
}

// checkManifest says what the manager would of an IdentityProvider that is not applied yet.
func (a *ProviderAnswer) checkManifest(p *v1alpha1.IdentityProvider) {
	_, findings := compile.IdentityProvider(p)
	switch {
	case p.Spec.Suspended:
		a.refuse(No, aboutProvider(p, "spec.suspended", "is true"))
	case len(findings) > 0:
		a.refuse(No, aboutProvider(p, findings[0].Field, findings[0].Message))
	default:
		if wrong := compile.MappingExamples(p); wrong != nil {
			a.refuse(No, aboutProvider(p, "spec.examples", wrong.Error()))
		}
	}
}

// checkConditions says what the conditions of an IdentityProvider do. With ResolvedRefs alone False it
// works with what was copied before.
func (a *ProviderAnswer) checkConditions(p *v1alpha1.IdentityProvider) {
	if p.Spec.Suspended {
		a.refuse(No, aboutProvider(p, "spec.suspended", "is true"))
		return
	}
	for _, conditionType := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionAvailable} {
		c := currentCondition(p, p.Status.Conditions, conditionType)
		if c == nil {
			a.refuse(Unknown, aboutProvider(p, "status.conditions["+conditionType+"]", fmt.Sprintf("the manager has not reported on generation %d yet", p.Generation)))
			return
		}
		if c.Status == metav1.ConditionTrue {
			continue
		}
		outcome := Unknown // token servers may answer by what was before
		if c.Status == metav1.ConditionFalse && conditionType != v1alpha1.ConditionProgrammed {
			outcome = No
		}
		a.refuse(outcome, aboutProvider(p, conditionField(*c), c.Reason+": "+c.Message))
		if conditionType == v1alpha1.ConditionAvailable {
			a.refreshes = Yes
		}
		return
	}
}

func aboutProvider(p *v1alpha1.IdentityProvider, field, message string) Reason {
	return Reason{Object: "IdentityProvider " + p.Namespace + "/" + p.Name, Field: field, Message: message}
}

// checkGrantUsers says whether a user can sign in where a grant type needs one, and if not, why.
func (e *explanation) checkGrantUsers(grant string) (Outcome, []Reason) {
	if grant == oauth.GrantClientCredentials {
		return Yes, nil
	}
	if e.answer.Users == nil { // the rule is not known: the manager knows it
		if c := e.condition(v1alpha1.ConditionReady); c != nil && c.Reason == v1alpha1.ReasonNoIdentityProvider {
			return No, []Reason{e.conditionReason(*c)}
		}
		return Yes, nil
	}
	best := No
	for _, p := range e.answer.Users.IdentityProviders {
		switch grant {
		case oauth.GrantPassword:
			if p.Name == documents.LocalProvider {
				best = Yes
			}
		case oauth.GrantRefreshToken:
			best = best.or(p.refreshes)
		default:
			best = best.or(p.Succeeds)
		}
	}
	switch {
	case best == Yes:
		return Yes, nil
	case grant == oauth.GrantPassword:
		return No, []Reason{e.aboutProviders("does not list local: the password grant is for OAuthUsers alone")}
	}
	return best, []Reason{e.aboutProviders("lists no provider of which it is known that its users can sign in: USERS OF says why")}
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
