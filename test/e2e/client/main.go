// Command client is what runs in Pods of the end-to-end tests, as the workloads of an app team would.
//
//	client token   get a token with the credentials of a mounted Secret, and print the answer    (token.go)
//	client load    ask for tokens and refresh them until told to end, over connections that are   (load.go, worker.go,
//	               kept, and serve the counts                                                      counts.go)
//	client kill    end the processes of a container of the node with SIGKILL                      (kill.go)
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "client: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "token":
			return tokenCommand(ctx, args[1:])
		case "load":
			return loadCommand(ctx, args[1:])
		case "kill":
			return killCommand(args[1:])
		}
	}
	return fmt.Errorf("the commands are token, load and kill, not %q", args)
}
