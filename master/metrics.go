package master

import (
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the node's counters.
type metrics struct {
	proposals    prometheus.Counter   // entries proposed
	itemsBatched prometheus.Histogram // items of an entry
	applied      prometheus.Counter   // entries applied
	appliedIndex prometheus.Gauge     // of the last of them
	skipped      prometheus.Counter   // entries met again after a restart
	applySeconds prometheus.Histogram // a batch

	snapshotSeconds prometheus.Histogram // until it is durable
	snapshotPause   prometheus.Histogram // of them, while nothing was applied
	snapshotBytes   prometheus.Gauge     // of the newest taken here

	queries  prometheus.Counter
	verified prometheus.Counter // rounds of asking the others whether this node leads
	leading  prometheus.Gauge
	sessions prometheus.Gauge
	curator  *curatorMetrics
	attend   *attendMetrics
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "granary", Subsystem: "master", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "granary", Subsystem: "master", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "granary", Subsystem: "master", Name: name, Help: help, Buckets: buckets,
		})
	}
	m := &metrics{
		proposals:    counter("proposals_total", "Entries proposed to Raft by this node."),
		itemsBatched: histogram("proposal_items", "Items packed into one entry.", prometheus.ExponentialBuckets(1, 2, 9)),
		applied:      counter("applied_entries_total", "Raft entries applied to the state."),
		appliedIndex: gauge("applied_index", "Raft index of the last entry applied to the state."),
		skipped:      counter("skipped_entries_total", "Raft entries that the state held already."),
		applySeconds: histogram("apply_seconds", "Time to apply one batch of entries.", prometheus.ExponentialBuckets(50e-6, 2, 14)),
		snapshotSeconds: histogram("snapshot_seconds", "Time to take a snapshot of the state, until it was durable.",
			prometheus.ExponentialBuckets(5e-3, 2, 14)),
		snapshotPause: histogram("snapshot_pause_seconds", "Part of that time during which no entry was applied.",
			prometheus.ExponentialBuckets(5e-3, 2, 14)),
		snapshotBytes: gauge("snapshot_bytes", "Size of the newest snapshot that this node has taken."),
		queries:       counter("queries_total", "Queries answered."),
		verified:      counter("leader_checks_total", "Rounds in which a quorum confirmed this leader for waiting readers."),
		leading:       gauge("leader", "1 while this node leads."),
		sessions:      gauge("sessions", "Sessions known to this leader."),
	}
	m.curator = newCuratorMetrics()
	m.attend = newAttendMetrics()
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range append(slices.Concat(m.curator.collectors(), m.attend.collectors()), m.proposals, m.itemsBatched, m.applied, m.appliedIndex, m.skipped, m.applySeconds,
		m.snapshotSeconds, m.snapshotPause, m.snapshotBytes,
		m.queries, m.verified, m.leading, m.sessions) {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}
