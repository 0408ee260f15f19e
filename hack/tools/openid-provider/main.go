// Openid-provider runs the example server of github.com/zitadel/oidc, an OpenID provider that is not
// ours, with TLS. Tests of signing in at a provider start it. Its user is test-user@127.0.0.1 with the
// password "verysecure".
package main

import (
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	address := flag.String("address", "", "the `host:port` to listen at, which makes the issuer")
	certificate := flag.String("certificate", "", "the `file` with the certificate, in PEM")
	key := flag.String("key", "", "the `file` with its key, in PEM")
	id := flag.String("client-id", "", "the id of the client")
	redirectURI := flag.String("redirect-uri", "", "the redirect URI of the client")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	storage.RegisterClients(storage.WebClient(*id, os.Getenv("CLIENT_SECRET"), *redirectURI))
	issuer := "https://" + *address + "/"
	server := &http.Server{
		Addr: *address, ReadHeaderTimeout: 10 * time.Second,
		Handler: exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), log, false),
	}
	log.Error("ended", "error", server.ListenAndServeTLS(*certificate, *key))
	os.Exit(1)
}
