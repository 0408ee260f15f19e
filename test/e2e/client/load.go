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
// theirs, half of each over HTTP/1.1 and half over HTTP/2.
func loadCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	machineSecret := flags.String("machine-secret", "/machine", "directory of the Secret of a client with the grant client_credentials")
	userSecret := flags.String("user-secret", "/user", "directory of the Secret of a client with the grants password and refresh_token")
	username := flags.String("username", "", "who signs in")
	password := flags.String("password", "", "her password")
	caFile := flags.String("ca", "", "file of the certificate authority")
	machines := flags.Int("machines", 20, "how many machines ask for tokens")
	users := flags.Int("users", 10, "how many sessions are refreshed")
	interval := flags.Duration("interval", 200*time.Millisecond, "of the requests of each")
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
		transport, err := newTransport(*caFile, i%2 == 1)
		if err != nil {
			return err
		}
		w := worker{name: fmt.Sprintf("%s over HTTP/%d", nameOf(i, *machines), 1+i%2), http: &http.Client{Transport: transport}, interval: *interval, counts: shared}
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
	if i < machines {
		return fmt.Sprintf("machine %d", i)
	}
	return fmt.Sprintf("user %d", i-machines)
}
