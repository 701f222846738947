package volume

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dsorchard/granary"
)

// diskMetrics are what is measured of each disk.
type diskMetrics struct {
	store                                              *Store
	free, used, shards, damaged, readOnly, failing     *prometheus.Desc
	latency, scrubBytes, scrubBegan, scrubEnded, finds *prometheus.Desc
}

// Metrics returns the figures of the disks, for a registry.
func (s *Store) Metrics() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("granary", "disk", name), help, []string{"disk", "path"}, nil)
	}
	return &diskMetrics{
		store:      s,
		free:       desc("free_bytes", "Bytes that may still be written, reserve deducted."),
		used:       desc("used_bytes", "Bytes that shards take."),
		shards:     desc("shards", "Shards on the disk."),
		damaged:    desc("damaged_shards", "Shards of which bytes are lost, and that were not built anew yet."),
		readOnly:   desc("read_only", "1 while nothing may be written to the disk."),
		failing:    desc("failing", "1 while the disk should be emptied."),
		latency:    desc("access_seconds", "What 95 of 100 accesses to shards took at most, in the last five minutes."),
		scrubBytes: desc("scrub_bytes", "Bytes verified in the scrub that is under way."),
		scrubBegan: desc("scrub_began_seconds", "When the last scrub began, in seconds since 1970."),
		scrubEnded: desc("scrub_ended_seconds", "When the last whole scrub ended, in seconds since 1970."),
		finds:      desc("scrub_findings", "Damaged shards found since the disk was formatted."),
	}
}

// Describe implements prometheus.Collector.
func (m *diskMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *diskMetrics) Collect(ch chan<- prometheus.Metric) {
	now := m.store.clock.now() / minuteSeconds
	for _, u := range m.store.Usage() {
		d := m.store.diskOf(u.Disk)
		_, damaged := d.troubled()
		p95, _ := d.latency.quantile(now-minutesKept+1, now)
		gauge := func(desc *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, string(u.Disk), u.Path)
		}
		gauge(m.free, float64(u.Free))
		gauge(m.used, float64(u.Used))
		gauge(m.shards, float64(u.Shards))
		gauge(m.damaged, float64(len(damaged)))
		gauge(m.readOnly, oneIf(u.ReadOnly))
		gauge(m.failing, oneIf(u.Failing))
		gauge(m.latency, p95.Seconds())
		gauge(m.scrubBytes, float64(u.Scrub.Bytes))
		gauge(m.scrubBegan, seconds(u.Scrub.Began))
		gauge(m.scrubEnded, seconds(u.Scrub.Ended))
		gauge(m.finds, float64(u.Scrub.Findings))
	}
}

// oneIf is 1 if there is a reason.
func oneIf(reason string) float64 {
	if reason != "" {
		return 1
	}
	return 0
}

func seconds(t granary.Time) float64 { return float64(t) / 1e9 }
