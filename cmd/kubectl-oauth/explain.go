package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
)

type explainCommand struct {
	*options

	file   string
	query  explain.Query
	output string
}

// explained is the output of explain -o json: an answer for each client, and the rights that would
// say more.
type explained struct {
	explain.Answer

	// MissingRights are what the caller may not do, and what would say more.
	MissingRights []cluster.MissingRight `json:"missingRights,omitempty"`
}

func newExplainCommand(o *options) *cobra.Command {
	e := &explainCommand{options: o}
	command := &cobra.Command{
		Use:   "explain [client/NAME] [-f FILE]",
		Short: "Say whether token requests of a client would succeed, and if not, why",
		Long: `Say whether token requests of a client would succeed, by grant type and by scope,
and if not, which field of which object says so.

With -f it answers about a manifest that is not applied yet. Other objects in the
file (AuthorizationServer, ResourceServer, Namespace) count as applied too.

The exit status is 3 if a request would not succeed, and 4 if that is not known: you
may not read what decides (the output names the rights that are missing), the API server
has not checked the manifest, or token servers do not serve the latest change yet.`,
		Example: `  kubectl oauth explain client/billing -n shop
  kubectl oauth explain client/billing --grant-type client_credentials --scope orders:read
  kubectl oauth explain -f client.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.run(c.Context(), args) },
	}
	command.ValidArgsFunction = o.completeNames(cluster.KindClient)
	flags := command.Flags()
	flags.StringVarP(&e.file, "filename", "f", "", "Manifest of the client, not applied yet; - for standard input.")
	flags.StringVar(&e.query.GrantType, "grant-type", "", "Answer about requests with this grant type alone.")
	flags.StringArrayVar(&e.query.Scopes, "scope", nil, "Answer about requests for this scope; may be repeated.")
	addOutputFlag(command, &e.output)
	return command
}

// grantTypes are the values of --grant-type.
var grantTypes = []string{
	oauth.GrantAuthorizationCode, oauth.GrantClientCredentials, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantImplicit,
}

func (e *explainCommand) run(ctx context.Context, args []string) error {
	if err := checkOutput(e.output); err != nil {
		return err
	}
	if len(args) == 0 && e.file == "" {
		return usageError("want client/NAME or -f FILE, such as: kubectl oauth explain client/billing")
	}
	if e.query.GrantType != "" && !slices.Contains(grantTypes, e.query.GrantType) {
		return usageError("there is no grant type %q: the grant types are %q", e.query.GrantType, grantTypes)
	}
	name := ""
	if len(args) > 0 {
		reference, err := cluster.ParseReference(args[0], cluster.KindClient)
		if err != nil {
			return usageError("%w", err)
		}
		name = reference.Name
	}
	c, namespace, err := e.cluster()
	if err != nil {
		return err
	}
	g := &gatherer{cluster: c, now: e.now()}
	if err := g.readManifest(e.options, e.file, namespace); err != nil {
		return err
	}
	clients, err := g.clients(ctx, namespace, name)
	if err != nil {
		return err
	}
	var answers []explained
	for _, found := range clients {
		objects, err := g.gather(ctx, found, e.query)
		if err != nil {
			return err
		}
		answers = append(answers, explained{explain.Explain(objects, e.query), g.takeMissing()})
	}
	return e.print(answers)
}

// print prints the answers, and returns an exitStatus if one of them is not Yes.
func (e *explainCommand) print(answers []explained) error {
	status := 0
	for i, a := range answers {
		switch a.Succeeds {
		case explain.No:
			status = exitNo
		case explain.Unknown:
			if status == 0 {
				status = exitUnknown
			}
		}
		if e.output == outputJSON {
			if err := e.printJSON(a); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(e.out)
		}
		a.Print(e.out)
		if len(a.MissingRights) > 0 {
			fmt.Fprintln(e.out, "\nRights that you do not have:")
		}
		for _, missing := range a.MissingRights {
			fmt.Fprintf(e.out, "  %s\n", missing.Error())
		}
	}
	if status != 0 {
		return &exitStatus{code: status}
	}
	return nil
}
