// Zitadel runs the example server of github.com/zitadel/oidc as it is, but for two settings that
// make it comparable: it signs with ES256, and its access tokens are JWTs. It keeps all records in
// memory, and has no sessions: users sign in each time. Its user is test-user@127.0.0.1 with the
// password "verysecure", its service user sid1 with the secret "verysecret".
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	address := flag.String("address", "", "the `host:port` to listen at, which makes the issuer")
	redirectURI := flag.String("redirect-uri", "", "the redirect URI of the client")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Error("no key", "error", err)
		os.Exit(1)
	}
	storage.RegisterClients(storage.WebClient("web", "secret", *redirectURI))
	issuer := "http://" + *address + "/"
	records := &withES256{storage.NewStorage(storage.NewUserStore(issuer)), signingKey{key}}
	server := &http.Server{
		Addr: *address, ReadHeaderTimeout: 10 * time.Second,
		Handler: exampleop.SetupServer(issuer, records, log, false),
	}
	log.Error("ended", "error", server.ListenAndServe())
	os.Exit(1)
}

// withES256 is the storage of the example with another key, whose clients get JWTs.
type withES256 struct {
	*storage.Storage
	key signingKey
}

func (s *withES256) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *withES256) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *withES256) KeySet(context.Context) ([]op.Key, error) { return []op.Key{publicKey(s.key)}, nil }

func (s *withES256) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	return withJWT(s.Storage.GetClientByClientID(ctx, id))
}

func (s *withES256) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	return withJWT(s.Storage.ClientCredentials(ctx, id, secret))
}

// jwtClient is a client that gets JWTs.
type jwtClient struct{ op.Client }

func withJWT(c op.Client, err error) (op.Client, error) {
	if err != nil {
		return nil, err
	}
	return jwtClient{c}, nil
}

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

type signingKey struct{ key *ecdsa.PrivateKey }

func (signingKey) ID() string                                  { return "es256" }
func (signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                  { return k.key }

type publicKey signingKey

func (publicKey) ID() string                         { return "es256" }
func (publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                         { return &k.key.PublicKey }
