package httpserver_test

import (
	"net/http"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/httpserver/httpservertest"
)

func TestEachResponseSaysItsLength(t *testing.T) {
	for _, size := range []int{0, 1, 2047, 2048, 2049, 4096, 100_000} {
		s := httpservertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			body := make([]byte, size)
			_, _ = w.Write(body[:size/2])
			_, _ = w.Write(body[size/2:])
		}), nil)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Address()+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			// net/http does not know whether a HEAD without a body would have one as GET.
			if unknown := method == http.MethodHead && size == 0; !unknown && response.ContentLength != int64(size) || len(response.TransferEncoding) > 0 {
				t.Errorf("%s of %d bytes: the length is said to be %d, the encoding %q", method, size, response.ContentLength, response.TransferEncoding)
			}
		}
	}
}
