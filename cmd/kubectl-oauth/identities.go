package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/terminal"
)

type identitiesCommand struct {
	*options

	provider string
	output   string
}

// listedUser is the output of identities -o json, for each user. It is documented in
// docs/kubectl-oauth.md, and stable.
type listedUser struct {
	Name              string     `json:"name"`
	Server            string     `json:"server"`
	Subject           string     `json:"subject"`
	Provider          string     `json:"provider,omitempty"`
	PreferredUsername string     `json:"preferredUsername,omitempty"`
	LastSignIn        *time.Time `json:"lastSignIn,omitempty"`
	Suspended         bool       `json:"suspended"`
}

func newIdentitiesCommand(o *options) *cobra.Command {
	i := &identitiesCommand{options: o}
	command := &cobra.Command{
		Use: "identities", Short: "List the users of identity providers who signed in, the last first",
		Long: `List the users of identity providers who signed in at the AuthorizationServers of a
namespace, the last first. A sign-in may be a day younger than what is listed. Servers
that keep their records elsewhere than in Kubernetes have here only the users about
whom their owner said something.`,
		Example: `  kubectl oauth identities -n identity --provider acme
  kubectl oauth suspend -n identity identity/~47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return i.run(c.Context()) },
	}
	command.Flags().StringVar(&i.provider, "provider", "", "List the users of this IdentityProvider alone.")
	addOutputFlag(command, &i.output)
	return command
}

func (i *identitiesCommand) run(ctx context.Context) error {
	if err := checkOutput(i.output); err != nil {
		return err
	}
	c, namespace, err := i.cluster()
	if err != nil {
		return err
	}
	var list v1alpha1.OAuthIdentityList
	if err := c.List(ctx, &list, namespace); err != nil {
		return err
	}
	found := []listedUser{}
	for n := range list.Items {
		if user := newListedUser(&list.Items[n]); i.provider == "" || user.Provider == i.provider {
			found = append(found, user)
		}
	}
	slices.SortStableFunc(found, func(a, b listedUser) int { return -cmp.Compare(a.lastSignIn(), b.lastSignIn()) })
	if i.output == outputJSON {
		return i.printJSON(found)
	}
	table := tabwriter.NewWriter(i.out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "PROVIDER\tUSERNAME\tSUBJECT\tLAST SIGN-IN\tSERVER\tSUSPENDED")
	for _, user := range found {
		at := "-"
		if user.LastSignIn != nil {
			at = user.LastSignIn.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%t\n", cmp.Or(user.Provider, "-"), cmp.Or(terminal.Printable(user.PreferredUsername), "-"),
			user.Subject, at, user.Server, user.Suspended)
	}
	return table.Flush()
}

func newListedUser(o *v1alpha1.OAuthIdentity) listedUser {
	user := listedUser{
		Name: o.Name, Server: o.Spec.ServerRef.Name, Subject: o.Spec.Subject, Provider: o.Status.Provider,
		Suspended: o.Spec.Suspended && o.Name == v1alpha1.OAuthIdentityName(o.Spec.Subject), // with another name it is of no effect
	}
	if at := o.Status.LastSignIn; at != nil {
		utc := at.UTC().Truncate(time.Second)
		user.LastSignIn = &utc
	}
	if o.Status.Claims != nil {
		var claims struct {
			PreferredUsername string `json:"preferred_username"`
		}
		if json.Unmarshal(o.Status.Claims.Raw, &claims) == nil { // else the mapping makes it of another type
			user.PreferredUsername = claims.PreferredUsername
		}
	}
	return user
}

func (u listedUser) lastSignIn() int64 {
	if u.LastSignIn == nil {
		return 0
	}
	return u.LastSignIn.Unix()
}
