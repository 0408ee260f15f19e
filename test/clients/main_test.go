// Package clients has programs of other people sign users in with our tokens, as they are: a Kubernetes API server, Apache's
// mod_auth_openidc, and oidc-client-ts in a browser. (golang.org/x/oauth2 and go-oidc are the clients of test/features.)
//
//	kubernetes_test.go  kube-apiserver, by ID tokens
//	apache_test.go      a confidential web application (build tag apache)
//	browser_test.go     a browser application without a server (build tag browser)
package clients

import (
	"os"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/world"
)

func TestMain(m *testing.M) { os.Exit(world.Main(m)) }
