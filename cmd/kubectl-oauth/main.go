// Command kubectl-oauth is `kubectl oauth`, a plugin of kubectl for app developers and the owners of
// servers. It does nothing that its caller could not do with kubectl and curl: it uses the rights
// that the caller has at the API server, and says which one is missing. docs/kubectl-oauth.md
// describes it.
//
//	main.go         the commands, and the exit status
//	options.go      the flags of kubectl, and where the program reads and writes
//	explain.go      explain: would a request succeed
//	manifest.go     explain -f: objects that are not applied yet
//	gather.go       what explain has to know, as far as the caller may read it
//	token.go        token: by the flows that need no browser
//	credentials.go  how a client authenticates, and where
//	login.go        login: the browser flow; as a kubeconfig's exec credential plugin too
//	change.go       rotate, suspend, resume and revoke
//	identities.go   identities: the users of identity providers who signed in
//	subject.go      subject: the sub of such a user; the OAuthIdentity of one who has none
//	named.go        the Secrets and the ConfigMap that a client in a manifest names
//	names.go        completion of names in a shell
//
// The packages below it: cluster reads and changes objects, explain answers from objects, issuer
// talks to token servers, tokencache keeps the tokens of a login.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the ways to authenticate that a kubeconfig may name
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/terminal"
	"github.com/oauth-operator/oauth-operator/version"
)

// Exit statuses, which docs/kubectl-oauth.md lists.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitNo      = 3 // explain: a request would not succeed
	exitUnknown = 4 // explain: the caller may not read what decides, or a change is not served yet
)

func main() {
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run runs a command and returns the exit status.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRootCommand(&options{in: in, out: out, errOut: errOut})
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var status *exitStatus
	if err == nil {
		return 0
	}
	if errors.As(err, &status) && status.err == nil {
		return status.code
	}
	fmt.Fprintln(errOut, "error:", printable(err))
	if status != nil {
		return status.code
	}
	return exitFailed
}

// printable returns the text of an error, which may quote what a server said: it has no control
// characters but those that end lines.
func printable(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = terminal.Printable(line)
	}
	return strings.Join(lines, "\n")
}

// exitStatus is an error with an exit status of its own. Without an err nothing is printed: the
// output has said it.
type exitStatus struct {
	code int
	err  error
}

func (e *exitStatus) Error() string { return fmt.Sprint(e.err) }

// Unwrap returns the error.
func (e *exitStatus) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitStatus{exitUsage, fmt.Errorf(format, args...)}
}

func newRootCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-oauth",
		Short: "Explain, use and rotate the OAuth clients of oauth-operator",
		Long: `Explain, use and rotate the OAuth clients of oauth-operator.

It does what you may do: it sends its requests to the API server as you, and says
which right is missing.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl oauth"},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("there is no command %q: see kubectl oauth --help", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError("%w", err) })
	o.addFlags(root.PersistentFlags())
	root.AddCommand(newExplainCommand(o), newTokenCommand(o), newLoginCommand(o), newRotateCommand(o), newRevokeCommand(o),
		newSuspendCommand(o, true), newSuspendCommand(o, false), newIdentitiesCommand(o), newSubjectCommand(o), newVersionCommand(o))
	return root
}

func newVersionCommand(o *options) *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			if output == outputJSON {
				return o.printJSON(map[string]string{"version": version.Version(), "commit": version.Commit()})
			}
			fmt.Fprintln(o.out, version.String())
			return checkOutput(output)
		},
	}
	addOutputFlag(command, &output)
	return command
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("%q is too much: the command has no arguments", args[0])
	}
	return nil
}

// oneArgument returns a check that there is one argument, such as "client/NAME".
func oneArgument(form string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError("want %s, such as: kubectl oauth %s client/billing", form, c.Name())
		}
		return nil
	}
}
