package httpserver

import (
	"crypto/x509"

	"github.com/prometheus/client_golang/prometheus"
)

// certificateExpiry is the metric of when the TLS certificate expires. It is absent while the
// server has no certificate.
type certificateExpiry struct {
	certificate *certificate
	desc        *prometheus.Desc
}

func newCertificateExpiry(c *certificate) prometheus.Collector {
	return &certificateExpiry{c, prometheus.NewDesc("oauth_operator_tokenserver_certificate_expiry_timestamp_seconds",
		"When the TLS certificate expires, or an intermediate certificate that is served with it, whichever is first.", nil, nil)}
}

// Describe implements prometheus.Collector.
func (e *certificateExpiry) Describe(out chan<- *prometheus.Desc) { out <- e.desc }

// Collect implements prometheus.Collector.
func (e *certificateExpiry) Collect(out chan<- prometheus.Metric) {
	if e.certificate == nil {
		return
	}
	pair := e.certificate.current.Load()
	if pair == nil {
		return
	}
	expiry := pair.Leaf.NotAfter
	for _, der := range pair.Certificate[1:] {
		if issuer, err := x509.ParseCertificate(der); err == nil && issuer.NotAfter.Before(expiry) {
			expiry = issuer.NotAfter
		}
	}
	out <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, float64(expiry.Unix()))
}
