package web

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the door's counters, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	received prometheus.Counter
	sent     prometheus.Counter
}

func newMetrics() (*metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "granary", Subsystem: "web", Name: name, Help: help}
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(opts("requests_total", "Requests answered, by method and status; 0 where the connection was cut before."), []string{"method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "granary", Subsystem: "web", Name: "request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(250e-6, 4, 11),
		}, []string{"method", "status"}),
		received: prometheus.NewCounter(opts("received_bytes_total", "Bytes of request bodies.")),
		sent:     prometheus.NewCounter(opts("sent_bytes_total", "Bytes of answers' bodies.")),
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.requests, m.seconds, m.received, m.sent,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		errs = append(errs, m.registry.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// observe counts a request that has ended.
func (m *metrics) observe(q *request, begun time.Time) {
	method, status := methodLabel(q.r.Method), strconv.Itoa(q.w.status)
	m.requests.WithLabelValues(method, status).Inc()
	m.seconds.WithLabelValues(method, status).Observe(time.Since(begun).Seconds())
	m.received.Add(float64(q.received.bytes.Load()))
	m.sent.Add(float64(q.w.bytes))
}

// methodLabel bounds the number of labels, whatever clients send.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPatch, "MKCOL", "MOVE", "COPY", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK":
		return method
	default:
		return "other"
	}
}
