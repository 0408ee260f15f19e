// Command client is what runs in Pods of the end-to-end tests, as the workloads of an app team would.
//
//	client token   get a token with the credentials of a mounted Secret, and print the answer   (token.go)
//	client login   try to sign in with a browser, and print where that leads                      (login.go)
//	client load    ask for tokens and refresh them until told to end, and serve the counts        (load.go, worker.go,
//	               of what came of it                                                             counts.go)
//	client kill    end the processes of a container of the node with SIGKILL                     (kill.go)
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
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "client: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "token":
			return tokenCommand(ctx, args[1:])
		case "login":
			return loginCommand(ctx, args[1:])
		case "load":
			return loadCommand(ctx, args[1:])
		case "kill":
			return killCommand(args[1:])
		}
	}
	return fmt.Errorf("the commands are token, login, load and kill, not %q", args)
}
