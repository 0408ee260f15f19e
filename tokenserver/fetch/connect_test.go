package fetch_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
)

// Such as the IPv6 address of a host, where IPv6 leads nowhere.
func TestAnAddressThatDoesNotAnswerLeavesTimeForTheNext(t *testing.T) {
	n := newNetwork(t, answerOK)
	n.names["example.com"] = []string{"10.0.0.1", "10.0.0.2"}
	client := n.client(&documents.Fetch{JWKSHosts: []string{"example.com"}, CABundle: n.bundle()})
	dial := client.Dial
	client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "10.0.0.1:") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return dial(ctx, network, address)
	}
	response, err := client.Get(t.Context(), fetch.ForClient, "https://example.com/jwks")
	if err != nil || string(response.Body) != "ok" {
		t.Errorf("%q, %v", response.Body, err)
	}
}
