//go:build monitoring

package monitoring

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
)

// getManagerMetrics reads the manager's metrics with a token.
func getManagerMetrics(token string) (*http.Response, error) {
	request, err := http.NewRequest(http.MethodGet, "https://"+managerAddress+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it is self-signed
	return insecure.Do(request)
}

func readBody(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s: %s", response.Request.URL, response.Status, body)
	}
	return string(body)
}
