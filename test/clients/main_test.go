// Package clients tests the token server with clients of other projects: a Kubernetes API server,
// oauth2-proxy, Apache's mod_auth_openidc, and oidc-client-ts in a browser. (test/features uses
// golang.org/x/oauth2 and go-oidc.)
//
//	kubernetes_test.go   kube-apiserver, by ID tokens
//	oauth2proxy_test.go  oauth2-proxy, by its recipe
//	recipes_test.go      what the recipes for other programs name is there
//	apache_test.go       a confidential web application (build tag apache)
//	browser_test.go      a browser application without a server (build tag browser)
package clients

import (
	"os"
	"testing"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
	"github.com/oauth-operator/oauth-operator/test/testenv"
)

func TestMain(m *testing.M) {
	os.Exit(testenv.Main(m, testenv.Options{ControlPlane: controlplane.Options{NoFsync: true}}))
}
