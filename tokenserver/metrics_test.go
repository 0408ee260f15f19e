package tokenserver_test

import (
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/oauth-operator/oauth-operator/test/documented"
	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/test/testenv"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// metrics returns what the program answers at /metrics, by name; nil if it does not answer.
func (r *testProgram) metrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	status, body := r.get(t, r.options.StatusListen, "/metrics")
	if status != http.StatusOK {
		return nil
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestEveryMetricOfATokenServerIsDocumented(t *testing.T) {
	r := startProgram(t)
	provider := documents.IdentityProvider{UID: "acme-uid", Name: "acme", DisplayName: "Acme", NotAccepted: true}
	r.api.Put(t, serverDocument(r.api.ServerUID, r.issuer(), r.keys), documents.Namespace{Name: "apps"}, serviceClient(), provider)
	eventually.True(t, "ready", func() bool { return r.readiness(t) == "ok" })
	eventually.True(t, "a token", func() bool { status, _ := r.token(t); return status == http.StatusOK })
	r.get(t, r.options.Listen, "/none")
	all := r.metrics(t)
	r.stop()

	// Some are there only with PostgreSQL, or with a certificate. The database need not be there.
	r.options.Storage, r.options.DSNFile, r.options.TLSDir = "postgresql", filepath.Join(t.TempDir(), "dsn"), t.TempDir()
	writeFile(t, r.options.DSNFile, []byte("postgres://unknown@127.0.0.1:1/none?sslmode=disable"))
	certificate, key := testenv.NewAuthority(t).Issue(t)
	writeFile(t, filepath.Join(r.options.TLSDir, "tls.crt"), []byte(certificate))
	writeFile(t, filepath.Join(r.options.TLSDir, "tls.key"), []byte(key))
	r.run(t)
	eventually.True(t, "metrics", func() bool {
		more := r.metrics(t)
		maps.Copy(all, more)
		return more != nil
	})
	documented.CheckMetrics(t, "monitoring.md", "## Metrics of token servers", slices.Collect(maps.Values(all)))
}
