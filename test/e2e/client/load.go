package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// loadCommand runs workers until ctx ends: machines that ask for tokens, and users who refresh
// theirs. Half of each keep their connection, half open one for each request.
func loadCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	machineSecret := flags.String("machine-secret", "/machine", "directory of the Secret of a client with the grant client_credentials")
	userSecret := flags.String("user-secret", "/user", "directory of the Secret of a client with the grants password and refresh_token")
	username := flags.String("username", "", "who signs in")
	password := flags.String("password", "", "her password")
	caFile := flags.String("ca", "", "file of the certificate authority")
	machines := flags.Int("machines", 20, "how many machines ask for tokens")
	users := flags.Int("users", 10, "how many sessions are refreshed")
	interval := flags.Duration("interval", 400*time.Millisecond, "of the requests of each")
	listen := flags.String("listen", ":8080", "address of the counts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	machine, err := readCredentials(*machineSecret)
	if err != nil {
		return err
	}
	user, err := readCredentials(*userSecret)
	if err != nil {
		return err
	}
	shared := newCounts()
	var workers sync.WaitGroup
	for i := range *machines + *users {
		transport, err := newTransport(*caFile, i%2 == 0)
		if err != nil {
			return err
		}
		w := worker{name: nameOf(i, *machines), http: &http.Client{Transport: transport}, interval: *interval, counts: shared}
		if i < *machines {
			w.credentials = machine
			workers.Go(func() { w.machine(ctx) })
			continue
		}
		w.credentials = user
		workers.Go(func() { w.user(ctx, *username, *password) })
	}
	server := &http.Server{Addr: *listen, Handler: shared, ReadHeaderTimeout: requestTimeout}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	err = server.ListenAndServe()
	workers.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func nameOf(i, machines int) string {
	connections := "one connection"
	if i%2 == 1 {
		connections = "new connections"
	}
	if i < machines {
		return fmt.Sprintf("machine %d with %s", i, connections)
	}
	return fmt.Sprintf("user %d with %s", i-machines, connections)
}
