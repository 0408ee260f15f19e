// Command dev is the program behind `make run`.
//
//	dev run            a control plane, the operator and the samples, until Ctrl-C           (run.go, flows.go)
//	dev token GRANT    get a token as the application of a sample client would, and show     (token.go, authorize.go,
//	                   the requests and answers                                              callback.go, shown.go)
//	dev controlplane   only build the control plane's programs, which can take a while
//	dev cluster        the same for the cluster of `make cluster` (hack/cluster), into bin/local/cluster
//
// Its state is in bin/local of the checkout: the kubeconfig, kubectl, and the data, which a later
// run takes up again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
)

func main() {
	if err := runUntilSignalled(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// runUntilSignalled runs the command until it ends or the program receives a signal, which is no
// error.
func runUntilSignalled() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once; its children die with it
	err := dispatch(ctx, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func dispatch(ctx context.Context, args []string) error {
	// Without a logger, controller-runtime prints the stack of the first caller that would log
	// after half a minute.
	log.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)))
	if len(args) == 0 {
		args = []string{"run"}
	}
	root, err := controlplane.Root()
	if err != nil {
		return err
	}
	p := paths{root}
	if err := os.MkdirAll(p.local(), 0o755); err != nil {
		return err
	}
	switch args[0] {
	case "run":
		return runCommand(ctx, p, args[1:])
	case "token":
		return tokenCommand(ctx, p, args[1:], os.Stdout)
	case "controlplane":
		_, err := linkPrograms(ctx, p, os.Stderr)
		return err
	case "cluster":
		return linkNodePrograms(ctx, filepath.Join(p.local(), "cluster"), os.Stderr)
	}
	return fmt.Errorf("there is no command %q; run, token, controlplane and cluster are the commands", args[0])
}

// paths are the places of everything, under the root of the checkout.
type paths struct{ root string }

func (p paths) local() string      { return filepath.Join(p.root, "bin", "local") }
func (p paths) data() string       { return filepath.Join(p.local(), "data") }
func (p paths) logs() string       { return filepath.Join(p.data(), "logs") }
func (p paths) kubeconfig() string { return filepath.Join(p.local(), "kubeconfig") }
func (p paths) kubectl() string    { return filepath.Join(p.local(), "kubectl") }

// linkPrograms builds the control plane and puts kubectl where people look for it.
func linkPrograms(ctx context.Context, p paths, log io.Writer) (controlplane.Binaries, error) {
	binaries, err := controlplane.Build(ctx, log)
	if err != nil {
		return binaries, err
	}
	return binaries, link(binaries.Kubectl, p.kubectl())
}

// linkNodePrograms builds the programs of a cluster with a node and puts them into a directory.
func linkNodePrograms(ctx context.Context, dir string, log io.Writer) error {
	programs, err := controlplane.BuildNode(ctx, log)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, program := range programs {
		if err := link(program, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// link makes a symbolic link to a program, and replaces what was at its place.
func link(program, path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(program, path)
}
