package master

import "github.com/prometheus/client_golang/prometheus"

// attendMetrics are those of sessions that cache what they were told.
type attendMetrics struct {
	attending prometheus.Gauge
	notes     prometheus.Gauge
	told      prometheus.Counter
	lapsed    prometheus.Counter
	held      prometheus.Histogram
}

func newAttendMetrics() *attendMetrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "granary", Subsystem: "master", Name: name, Help: help}
	}
	return &attendMetrics{
		attending: prometheus.NewGauge(prometheus.GaugeOpts(opts("attending_sessions", "Sessions that cache what this leader tells them."))),
		notes:     prometheus.NewGauge(prometheus.GaugeOpts(opts("cache_notes", "Inodes and names that sessions may have cached."))),
		told:      prometheus.NewCounter(prometheus.CounterOpts(opts("cache_changes_total", "Changes that sessions were told of because they may have cached what was there before."))),
		lapsed: prometheus.NewCounter(prometheus.CounterOpts(opts("cache_leases_lapsed_total",
			"Sessions that did not take in a change in time: others waited for their leases to run out."))),
		held: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "granary", Subsystem: "master", Name: "cache_wait_seconds",
			Help:    "Time for which results and answers were held back until sessions had taken in what had changed.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 14),
		}),
	}
}

func (m *attendMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.attending, m.notes, m.told, m.lapsed, m.held}
}
