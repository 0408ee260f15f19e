package postgres

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

func (s *Store) registerMetrics(metrics prometheus.Registerer) error {
	if metrics == nil {
		return nil
	}
	if err := storage.RegisterLiveGrants(metrics, s.liveGrants.lastCount); err != nil {
		return err
	}
	if err := metrics.Register(newPoolMetrics(s)); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// poolMetrics are the metrics of the connections to the database. While there is no database, all
// are zero. With another DSN, the counters begin anew.
type poolMetrics struct {
	store                               *Store
	connections, limit, waits, waitTime *prometheus.Desc
}

func newPoolMetrics(s *Store) *poolMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("oauth_operator_tokenserver_postgresql_"+name, help, labels, nil)
	}
	return &poolMetrics{
		store:       s,
		connections: describe("connections", "Connections to the database: in use, idle, or being opened (connecting).", "state"),
		limit:       describe("connections_limit", "How many connections to the database there may be."),
		waits:       describe("connection_waits_total", "Operations that waited for a connection because none was idle."),
		waitTime:    describe("connection_wait_seconds_total", "How long operations waited for a connection, all together."),
	}
}

// Describe implements prometheus.Collector.
func (m *poolMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.connections, m.limit, m.waits, m.waitTime} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *poolMetrics) Collect(out chan<- prometheus.Metric) {
	var inUse, idle, connecting, limit, waits, waited float64
	if db := m.store.database.Load(); db != nil {
		stat := db.pool.Stat()
		inUse, idle, connecting = float64(stat.AcquiredConns()), float64(stat.IdleConns()), float64(stat.ConstructingConns())
		limit, waits, waited = float64(stat.MaxConns()), float64(stat.EmptyAcquireCount()), stat.EmptyAcquireWaitTime().Seconds()
	}
	for state, n := range map[string]float64{"in_use": inUse, "idle": idle, "connecting": connecting} {
		out <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, n, state)
	}
	out <- prometheus.MustNewConstMetric(m.limit, prometheus.GaugeValue, limit)
	out <- prometheus.MustNewConstMetric(m.waits, prometheus.CounterValue, waits)
	out <- prometheus.MustNewConstMetric(m.waitTime, prometheus.CounterValue, waited)
}
