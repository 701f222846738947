package notify

import "github.com/prometheus/client_golang/prometheus"

// metrics are what a runner counts, by target.
type metrics struct {
	delivered *prometheus.CounterVec
	failures  *prometheus.CounterVec
	missed    *prometheus.CounterVec
	down      *prometheus.GaugeVec
	age       *prometheus.GaugeVec
}

func newMetrics() *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "granary", Subsystem: "notify", Name: name, Help: help}, []string{"target"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "granary", Subsystem: "notify", Name: name, Help: help}, []string{"target"})
	}
	return &metrics{
		delivered: counter("delivered_total", "Events that were acknowledged."),
		failures:  counter("failures_total", "Attempts to deliver that failed."),
		missed:    counter("missed_total", "How often the change log did not keep what was to be delivered."),
		down:      gauge("target_down", "1 while a target does not acknowledge what it is sent."),
		age:       gauge("age_seconds", "Age of the change that was read last, when it was read; 0 if none waits."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.delivered, m.failures, m.missed, m.down, m.age}
}
