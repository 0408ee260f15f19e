// Command floor is what the token server is measured against: the least that a server written with
// the same libraries can do and still answer. It has the settings of the token server, those of HTTP
// and of the garbage collector, and a path for each thing that a request cannot do without.
//
//	/parse  reads the form and answers
//	/sign   reads the form, signs one JWT with ES256 and answers
//	/sign-rs256  the same with RS256
//	/assertion-es256, -rs256, -eddsa  verifies the JWT of a client as well, and signs one with ES256
//	/verify  reads the form, verifies one JWT with ES256 and answers
//	/static/<size>  answers with a fixed document of that many bytes
//	/hash   reads the form, hashes a password and answers
//	/read   reads the form and one record, and answers
//	/swap   reads the form, changes one record by compare-and-swap and answers
//
//	main.go  flags, the HTTP server, reading and answering
//	sign.go  one JWT
//	assertion.go  the JWT by which a client authenticates; a password
//	static.go  a fixed document
//	swap.go  one read or compare-and-swap: in memory, through client-go, through pgx
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/tokenserver/memorylimit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var listen string
	var o swapOptions
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	flags.StringVar(&listen, "listen", "127.0.0.1:8090", "address to listen on")
	flags.IntVar(&o.records, "records", 16, "how many records /swap has: as many requests can change one at the same time")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "where the API server is: /swap changes OAuthGrants")
	flags.StringVar(&o.namespace, "namespace", "", "where the OAuthGrants are: copies are made of those that are there")
	flags.StringVar(&o.dsn, "dsn", "", "where the database is: /swap changes a copy of its grants")
	if err := flags.Parse(args); err != nil {
		return err
	}
	_, restore := memorylimit.Set(os.DirFS("/"))
	defer restore()
	mux := http.NewServeMux()
	if err := addSignatures(mux); err != nil {
		return err
	}
	swap, err := newSwapper(ctx, o)
	if err != nil {
		return err
	}
	mux.Handle("/parse", answering(func(context.Context) (string, error) { return "", nil }))
	mux.Handle("/read", answering(swap.read))
	mux.Handle("/swap", answering(swap.one))
	mux.Handle("/hash", answering(hash))
	mux.Handle("/static/", static())
	return serve(ctx, listen, mux)
}

// addSignatures adds the paths that sign a token, for a client that has a secret and for one that
// has a key.
func addSignatures(mux *http.ServeMux) error {
	sign, err := newSigner(jwt.SigningMethodES256)
	if err != nil {
		return err
	}
	mux.Handle("/sign", answering(func(context.Context) (string, error) { return sign.token() }))
	signRS256, err := newSigner(jwt.SigningMethodRS256)
	if err != nil {
		return err
	}
	mux.Handle("/sign-rs256", answering(func(context.Context) (string, error) { return signRS256.token() }))
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodES256, jwt.SigningMethodRS256, jwt.SigningMethodEdDSA} {
		v, err := newVerifier(method)
		if err != nil {
			return err
		}
		if method == jwt.SigningMethodES256 {
			mux.Handle("/verify", answering(authenticating(v, func() (string, error) { return "", nil })))
		}
		mux.Handle("/assertion-"+strings.ToLower(method.Alg()), answering(authenticating(v, sign.token)))
	}
	return nil
}

// answering reads the form, does the work, and answers as a token endpoint does.
func answering(work func(context.Context) (token string, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") == "" {
			http.Error(w, "no form", http.StatusBadRequest)
			return
		}
		token, err := work(r.Context())
		if err != nil {
			fmt.Fprintln(os.Stderr, "floor: "+err.Error())
			http.Error(w, "failed", http.StatusInternalServerError)
			return
		}
		body, err := json.Marshal(struct {
			AccessToken string `json:"access_token"`
			TokenType   string `json:"token_type"`
			ExpiresIn   int64  `json:"expires_in"`
		}{token, "Bearer", 300})
		if err != nil {
			http.Error(w, "failed", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(body) // the client may be gone
	})
}

// serve with the token server's settings.
func serve(ctx context.Context, listen string, handler http.Handler) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	server := &http.Server{
		Addr: listen, Handler: handler, Protocols: protocols,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 12 << 10,
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
