package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/explain"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
)

// changeCommand changes one field of an object.
type changeCommand struct {
	*options

	force  bool
	output string
	// creates is whether the command creates the OAuthIdentity of a user who has none, and authServer
	// the AuthorizationServer of the user then; empty: the only one of the namespace.
	creates    bool
	authServer string
}

// changed is the output of the commands that change something. Its JSON is documented in
// docs/kubectl-oauth.md, and stable.
type changed struct {
	Object string `json:"object"`
	Field  string `json:"field,omitempty"`
	Value  any    `json:"value,omitempty"`
	// Changed is whether the object was another before, or none.
	Changed bool `json:"changed"`
	// Created is whether there was none.
	Created bool `json:"created,omitempty"`
	// AppliedBy are other programs that apply the object, such as those of GitOps.
	AppliedBy []string `json:"appliedBy,omitempty"`
}

func (c *changeCommand) addFlags(command *cobra.Command, what string) {
	command.Flags().BoolVar(&c.force, "force", false,
		"Change "+what+" although another manager applies the field and will revert it.")
	addOutputFlag(command, &c.output)
}

// set makes a change, and prints what it did in the words of says.
func (c *changeCommand) set(
	ctx context.Context, argument string, kinds []cluster.Kind,
	change func(*cluster.Cluster) cluster.Change, says func(client.Object) string,
) error {
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
	object := reference.Kind.New()
	field, value, err := reached.Set(ctx, object, reference, namespace, change(reached), c.force)
	created := c.creates && reference.Subject != "" && errors.Is(err, cluster.ErrNotFound)
	if created {
		if object, err = c.newIdentity(ctx, reached, reference, namespace); err != nil {
			return err
		}
		field, value, err = reached.CreateWith(ctx, object, change(reached))
		if apierrors.IsAlreadyExists(err) { // the user has signed in just now
			created = false
			field, value, err = reached.Set(ctx, object, reference, namespace, change(reached), c.force)
		}
	}
	if err != nil {
		return err
	}
	result := changed{
		Object: reference.Kind.Name + " " + namespace + "/" + reference.Name, Field: strings.Join(field, "."),
		Value: value, Changed: value != nil, Created: created, AppliedBy: cluster.Appliers(object),
	}
	return c.print(result, says(object))
}

func (c *changeCommand) print(result changed, says string) error {
	if c.output == outputJSON {
		return c.printJSON(result)
	}
	if !result.Changed {
		fmt.Fprintf(c.out, "%s: nothing to do, %s\n", result.Object, says)
		return nil
	}
	if result.Created {
		says = "created, since there is no record of the user here (compare the sub if the user has signed in): " + says
	}
	fmt.Fprintf(c.out, "%s: %s\n", result.Object, says)
	switch managers := strings.Join(result.AppliedBy, " and "); {
	case len(result.AppliedBy) == 0 || result.Field == "":
	case c.force:
		fmt.Fprintf(c.errOut, "note: %s applies the object, and may revert %s: change it there too.\n", managers, result.Field)
	default:
		fmt.Fprintf(c.errOut, "note: %s applies the object without %s, which stays. "+
			"Write it there too, so that the object has it when it is created again.\n",
			managers, result.Field)
	}
	return nil
}

// newSuspendCommand returns suspend, or resume.
func newSuspendCommand(o *options, suspend bool) *cobra.Command {
	c := &changeCommand{options: o}
	name, short := "suspend", "Have token servers refuse a client or a user, deleting nothing"
	says := "suspended, and refused within a second"
	if !suspend {
		name, short, says = "resume", "Have token servers serve a suspended client or user again", "not suspended"
	}
	kinds := []cluster.Kind{cluster.KindClient, cluster.KindUser, cluster.KindIdentity}
	command := &cobra.Command{
		Use: name + " client/NAME | user/NAME | identity/NAME", Short: short,
		Args:              oneArgument("client/NAME, user/NAME or identity/NAME"),
		ValidArgsFunction: o.completeNames(kinds...),
		RunE: func(command *cobra.Command, args []string) error {
			change := func(object client.Object) ([]string, any, error) {
				if isSuspended(object) == suspend {
					return nil, nil, nil
				}
				return []string{"spec", "suspended"}, suspend, nil
			}
			return c.set(command.Context(), args[0], kinds,
				func(*cluster.Cluster) cluster.Change { return change }, func(client.Object) string { return says })
		},
	}
	c.addFlags(command, "spec.suspended")
	if suspend {
		c.addCreationFlags(command)
	}
	return command
}

func isSuspended(object client.Object) bool {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		return o.Spec.Suspended
	case *v1alpha1.OAuthUser:
		return o.Spec.Suspended
	case *v1alpha1.OAuthIdentity:
		return o.Spec.Suspended
	}
	return false
}

func newRotateCommand(o *options) *cobra.Command {
	c := &changeCommand{options: o}
	kinds := []cluster.Kind{cluster.KindClient}
	command := &cobra.Command{
		Use: "rotate client/NAME", Short: "Replace a client's secret now, with an overlap",
		Long: `Replace a client's secret now, by raising spec.secret.rotation.revision. The secret
before stays good for spec.secret.rotation.overlap.`,
		Args:              oneArgument("client/NAME"),
		ValidArgsFunction: o.completeNames(kinds...),
		RunE: func(command *cobra.Command, args []string) error {
			return c.set(command.Context(), args[0], kinds,
				func(*cluster.Cluster) cluster.Change { return raiseRevision }, describeRotation)
		},
	}
	c.addFlags(command, "spec.secret.rotation.revision")
	return command
}

// raiseRevision raises the revision of a client's secret by one.
func raiseRevision(object client.Object) (field []string, value any, err error) {
	c := object.(*v1alpha1.OAuthClient)
	name := "OAuthClient " + c.Namespace + "/" + c.Name
	secret := c.Spec.Secret
	switch {
	case compile.SecretTarget(c) == nil && (secret == nil || secret.FromSecret == nil):
		return nil, nil, fmt.Errorf("%s has no secret to rotate (spec.tokenEndpointAuthMethod: %s)",
			name, c.Spec.TokenEndpointAuthMethod)
	case secret == nil: // which needs a source, here its default
		first := map[string]any{"source": v1alpha1.SecretGenerate, "rotation": map[string]any{"revision": 1}}
		return []string{"spec", "secret"}, first, nil
	case secret.Source == v1alpha1.SecretFromSecret:
		return nil, nil, fmt.Errorf("the secret of %s is the key %s of the Secret %s (spec.secret.source: FromSecret): "+
			"write another value there, and it is rotated",
			name, secret.FromSecret.Key, secret.FromSecret.Name)
	}
	return []string{"spec", "secret", "rotation", "revision"}, compile.SecretRotationOf(c).Revision + 1, nil
}

func describeRotation(object client.Object) string {
	c := object.(*v1alpha1.OAuthClient)
	return fmt.Sprintf("the Secret %s gets another value, and the one before stays good for %s",
		compile.SecretTarget(c).Name, explain.ShortDuration(compile.Overlap(c).String()))
}

func newRevokeCommand(o *options) *cobra.Command {
	c := &changeCommand{options: o}
	kinds := []cluster.Kind{cluster.KindClient, cluster.KindUser, cluster.KindIdentity, cluster.KindGrant}
	command := &cobra.Command{
		Use: "revoke client/NAME | user/NAME | identity/NAME | grant/NAME", Short: "Void what was issued until now",
		Long: `Void what was issued until now: to a client, to all clients for a user (who is signed
out everywhere), or by one authorization. The first three set spec.tokensNotBefore to
the time of the API server, and the last deletes the OAuthGrant. identity/NAME is a user
of an identity provider, by the name of the OAuthIdentity or the sub of the user's tokens.`,
		Args:              oneArgument("client/NAME, user/NAME, identity/NAME or grant/NAME"),
		ValidArgsFunction: o.completeNames(kinds...),
		RunE: func(command *cobra.Command, args []string) error {
			reference, err := cluster.ParseReference(args[0], kinds...)
			if err != nil {
				return usageError("%w", err)
			}
			if reference.Kind.Word == cluster.KindGrant.Word {
				return c.revokeGrant(command.Context(), reference)
			}
			return c.set(command.Context(), args[0], kinds, voidUntilNow, describeRevocation)
		},
	}
	c.addFlags(command, "spec.tokensNotBefore")
	c.addCreationFlags(command)
	return command
}

// voidUntilNow sets tokensNotBefore to the time of the API server.
func voidUntilNow(reached *cluster.Cluster) cluster.Change {
	return func(object client.Object) (field []string, value any, err error) {
		now, err := reached.Now()
		if err != nil {
			return nil, nil, err
		}
		switch before := tokensNotBefore(object); {
		case before == nil || before.Time.Before(now):
			return []string{"spec", "tokensNotBefore"}, now.Format(time.RFC3339), nil
		case before.Time.Equal(now):
			return nil, nil, nil
		default: // to set an earlier time would make good again what is to be void then
			return nil, nil, fmt.Errorf("spec.tokensNotBefore is %s already, which is in the future: "+
				"edit it, if what was issued has to be void before then",
				before.UTC().Format(time.RFC3339))
		}
	}
}

func tokensNotBefore(object client.Object) *metav1.Time {
	switch o := object.(type) {
	case *v1alpha1.OAuthClient:
		return o.Spec.TokensNotBefore
	case *v1alpha1.OAuthUser:
		return o.Spec.TokensNotBefore
	case *v1alpha1.OAuthIdentity:
		return o.Spec.TokensNotBefore
	}
	return nil
}

func describeRevocation(object client.Object) string {
	next := "it may get new ones: suspend stops that"
	if _, isClient := object.(*v1alpha1.OAuthClient); !isClient {
		next = "the user may sign in again: suspend stops that"
	}
	return fmt.Sprintf("what was issued until %s is void; %s", tokensNotBefore(object).UTC().Format(time.RFC3339), next)
}

// revokeGrant deletes an OAuthGrant, which ends its tokens.
func (c *changeCommand) revokeGrant(ctx context.Context, reference cluster.Reference) error {
	if err := checkOutput(c.output); err != nil {
		return err
	}
	reached, namespace, err := c.cluster()
	if err != nil {
		return err
	}
	if err := reached.Delete(ctx, reference.Kind.New(), namespace, reference.Name); err != nil {
		return err
	}
	return c.print(changed{Object: "OAuthGrant " + namespace + "/" + reference.Name, Changed: true},
		"deleted, and its tokens are void")
}
