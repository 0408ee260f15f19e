package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
)

// changeCommand changes one field of an object.
type changeCommand struct {
	*options

	force  bool
	output string
}

// changed is the output of the commands that change something. Its JSON is documented in
// docs/kubectl-oauth.md, and stable.
type changed struct {
	Object string `json:"object"`
	Field  string `json:"field,omitempty"`
	Value  any    `json:"value,omitempty"`
	// Changed is whether the object was another before.
	Changed bool `json:"changed"`
	// AppliedBy are other programs that apply the object, such as those of GitOps.
	AppliedBy []string `json:"appliedBy,omitempty"`
}

func (c *changeCommand) addFlags(command *cobra.Command, what string) {
	command.Flags().BoolVar(&c.force, "force", false, "Change "+what+" although another manager applies the field and will revert it.")
	addOutputFlag(command, &c.output)
}

// set changes a field, and prints what it did.
func (c *changeCommand) set(ctx context.Context, argument string, kinds []cluster.Kind, changeOf func(*cluster.Cluster, cluster.Kind) cluster.Change, says string) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	reference, err := cluster.ParseReference(argument, kinds...)
	if err != nil {
		return usageError("%w", err)
	}
	reached, namespace, err := c.cluster()
	if err != nil {
		return err
	}
	object, change := reference.Kind.New(), changeOf(reached, reference.Kind)
	change.Force = c.force
	value, err := reached.Set(ctx, object, reference, namespace, change)
	if err != nil {
		return err
	}
	result := changed{
		Object: reference.Kind.Name + " " + namespace + "/" + reference.Name, Field: strings.Join(change.Field, "."),
		Value: value, Changed: value != nil, AppliedBy: cluster.Appliers(object),
	}
	return c.print(result, says)
}

func (c *changeCommand) print(result changed, says string) error {
	if c.output == outputJSON {
		return c.printJSON(result)
	}
	if !result.Changed {
		fmt.Fprintf(c.out, "%s: nothing to do, %s\n", result.Object, says)
		return nil
	}
	fmt.Fprintf(c.out, "%s: %s\n", result.Object, says)
	if len(result.AppliedBy) > 0 && result.Field != "" {
		fmt.Fprintf(c.errOut, "note: %s applies the object. It keeps %s, which is not in what it applies; write it there too, so that a new object has it.\n",
			strings.Join(result.AppliedBy, " and "), result.Field)
	}
	return nil
}

// newSuspendCommand returns suspend, or resume.
func newSuspendCommand(o *options, suspend bool) *cobra.Command {
	c := &changeCommand{options: o}
	name, short, says := "suspend", "Have token servers refuse a client, deleting nothing", "it is suspended, and refused within a second"
	if !suspend {
		name, short, says = "resume", "Have token servers serve a suspended client again", "it is not suspended"
	}
	kinds := []cluster.Kind{cluster.KindClient}
	command := &cobra.Command{
		Use: name + " client/NAME", Short: short,
		Args:              oneArgument("client/NAME"),
		ValidArgsFunction: o.completeNames(kinds...),
		RunE: func(command *cobra.Command, args []string) error {
			return c.set(command.Context(), args[0], kinds, func(*cluster.Cluster, cluster.Kind) cluster.Change {
				return cluster.Change{Field: []string{"spec", "suspended"}, Value: func(object client.Object) (any, bool, error) {
					return suspend, isSuspended(object) != suspend, nil
				}}
			}, says)
		},
	}
	c.addFlags(command, "spec.suspended")
	return command
}

func isSuspended(object client.Object) bool {
	c, ok := object.(*v1alpha1.OAuthClient)
	return ok && c.Spec.Suspended
}

func newRevokeCommand(o *options) *cobra.Command {
	c := &changeCommand{options: o}
	kinds := []cluster.Kind{cluster.KindGrant}
	command := &cobra.Command{
		Use: "revoke grant/NAME", Short: "End what was issued",
		Args:              oneArgument("grant/NAME"),
		ValidArgsFunction: o.completeNames(kinds...),
		RunE: func(command *cobra.Command, args []string) error {
			return c.revokeGrant(command.Context(), args[0])
		},
	}
	addOutputFlag(command, &c.output)
	return command
}

// revokeGrant deletes an OAuthGrant, which ends its tokens.
func (c *changeCommand) revokeGrant(ctx context.Context, argument string) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	reference, err := cluster.ParseReference(argument, cluster.KindGrant)
	if err != nil {
		return usageError("%w", err)
	}
	reached, namespace, err := c.cluster()
	if err != nil {
		return err
	}
	if err := reached.Delete(ctx, reference.Kind.New(), namespace, reference.Name); err != nil {
		return err
	}
	return c.print(changed{Object: "OAuthGrant " + namespace + "/" + reference.Name, Changed: true}, "deleted, and its tokens are void")
}
