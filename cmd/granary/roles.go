package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/notify"
	"github.com/dsorchard/granary/filer/s3"
	"github.com/dsorchard/granary/filer/web"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
	"github.com/dsorchard/granary/volume"
)

// shutdownWithin bounds how long a role waits for requests under way when it stops.
const shutdownWithin = 10 * time.Second

// process is the roles that run in this process. They are stopped in the reverse order of their
// start; the first that fails by itself stops the others.
type process struct {
	log    *slog.Logger
	closes []func(context.Context) error
	failed chan error
}

func newProcess(log *slog.Logger) *process {
	return &process{log: log, failed: make(chan error, 16)}
}

func (p *process) onStop(f func(context.Context) error) { p.closes = append(p.closes, f) }

// fail reports that a role died by itself.
func (p *process) fail(err error) {
	select {
	case p.failed <- err:
	default: // somebody reported before: one reason is enough
	}
}

// wait blocks until ctx ends or a role fails.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}

// stop stops everything that was started.
func (p *process) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWithin)
	defer cancel()
	var errs []error
	for i := len(p.closes) - 1; i >= 0; i-- {
		errs = append(errs, p.closes[i](ctx))
	}
	p.closes = nil
	return errors.Join(errs...)
}

// goServe runs a server until it is stopped.
func (p *process) goServe(what string, serve func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) && !errors.Is(err, context.Canceled) {
			p.fail(fmt.Errorf("%s: %w", what, err))
		}
	}()
	p.onStop(func(ctx context.Context) error {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%s did not stop within %s", what, shutdownWithin)
		}
	})
}

// serveHTTP serves a handler on a listener.
func (p *process) serveHTTP(what string, ln net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	if c, ok := h.(interface{ Closing() }); ok { // it has answers that end only when they are told to
		srv.RegisterOnShutdown(c.Closing)
	}
	p.goServe(what, func() error { return srv.Serve(ln) })
	p.onStop(func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return srv.Close()
		}
		return err
	})
}

// masterRole is what a master needs beyond the addresses.
type masterRole struct {
	dir    string
	id     string
	peers  []master.Peer
	join   []string // gRPC addresses of masters of the cluster to be added to
	root   granary.User
	owner  granary.Cred // of the first directories, if the cluster is founded
	shards master.ShardControl
	cache  int64 // bytes of the metadata that are kept in memory; 0: the default

	clockSkew time.Duration // for tests
}

// startMaster starts a master with its gRPC, Raft and HTTP services.
func (p *process) startMaster(l listenOptions, r masterRole) (*master.Server, error) {
	grpcListener, err := listen(l.addr(portMaster), "master")
	if err != nil {
		return nil, err
	}
	httpListener, err := listen(l.addr(portMasterHTTP), "master HTTP")
	if err != nil {
		return nil, errors.Join(err, grpcListener.Close())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o := master.Options{
		Dir: r.dir, ID: r.id, GRPCAddr: l.addr(portMaster), RaftAddr: l.addr(portRaft),
		Peers: r.peers, Join: r.join, RootUser: r.root, Owner: r.owner, Shards: r.shards, CacheBytes: r.cache, Log: p.log, Registerer: registry, ClockSkew: r.clockSkew,
		Dial: func(addr string) (wire.Master, func() error, error) { return wire.DialMaster(addr) },
	}
	m, err := master.Open(o)
	if err != nil {
		return nil, errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	srv := grpc.NewServer(wire.ServerOptions()...)
	wire.ServeMaster(srv, m)
	p.goServe("master", func() error { return srv.Serve(grpcListener) })
	p.onStop(func(ctx context.Context) error {
		defer context.AfterFunc(ctx, srv.Stop)()
		srv.GracefulStop() // callers get their answers, and go elsewhere
		return nil
	})
	p.onStop(func(context.Context) error { return m.Close() }) // it hands over, and says so to who calls meanwhile

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintln(w, "ok")
	})
	p.serveHTTP("master HTTP", httpListener, mux)
	return m, nil
}

// volumeRole is what a volume server needs beyond the addresses.
type volumeRole struct {
	dirs       []string
	classes    map[string]string // by directory
	format     []string
	zone, rack string
	reserve    uint64
	scrubEvery time.Duration // negative: only when asked
}

// openVolume opens a volume server's disks and its block service. heartbeat starts the rest, once
// there are masters to talk to.
func (p *process) openVolume(l listenOptions, r volumeRole) (*volume.Store, error) {
	ln, err := listen(l.addr(portVolume), "volume server")
	if err != nil {
		return nil, err
	}
	store, err := volume.Open(volume.Options{
		Dirs: r.dirs, Classes: r.classes, Format: r.format, ReserveBytes: r.reserve, ScrubEvery: r.scrubEvery, Log: p.log,
	})
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	p.onStop(func(context.Context) error { return store.Close() })
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), store.Metrics())
	mux := http.NewServeMux()
	mux.Handle("/", volume.NewHandler(store))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	p.serveHTTP("volume server", ln, mux)
	return store, nil
}

// heartbeat tells the masters about the store until the process stops.
func (p *process) heartbeat(store *volume.Store, addr string, r volumeRole, masters []string, dial volume.Dialer) {
	ctx, cancel := context.WithCancel(context.Background())
	p.goServe("volume server on "+strings.Join(r.dirs, ", "), func() error { return store.Heartbeats(ctx, addr, r.zone, r.rack, masters, dial) })
	p.onStop(func(context.Context) error { cancel(); return nil })
}

// filerOptions are the settings of a filer's doors.
type filerOptions struct {
	lifecycleDay time.Duration
	plainKeys    bool
	httpAuth     bool
	httpOrigins  []string
	uploadTTL    time.Duration
	website      string // HOST:PORT; "" for none
	siteDomain   string
	logEvery     time.Duration
	tls          tlsOptions
	secured      func(net.Listener) net.Listener // has a door speak TLS, if that is asked for (prepare)
}

func (o *filerOptions) flags(cmd *cobra.Command) {
	o.tls.flags(cmd)
	cmd.Flags().BoolVar(&o.httpAuth, "http-auth", false, "have every HTTP request bring an access key, and do what its user may in the file system")
	cmd.Flags().StringSliceVar(&o.httpOrigins, "http-origin", nil, "origins besides its own, such as https://example.org, whose pages may change things by HTTP")
	cmd.Flags().DurationVar(&o.uploadTTL, "upload-ttl", 24*time.Hour, "how long a resumable upload is kept to which nothing comes")
	cmd.Flags().StringVar(&o.website, "s3-website-listen", "", "`HOST:PORT` at which buckets that have a website's configuration are served to browsers")
	cmd.Flags().StringVar(&o.siteDomain, "s3-website-domain", "", "have BUCKET.DOMAIN be the website of that bucket; other hosts are that of the bucket that is called as they are")
	cmd.Flags().DurationVar(&o.logEvery, "s3-log-every", 5*time.Minute, "how often access logs of buckets are delivered; a log of 1 MiB is delivered at once")
	cmd.Flags().BoolVar(&o.plainKeys, "s3-plain-keys", false, "take keys of customers (SSE-C) from other machines without TLS, too")
	cmd.Flags().DurationVar(&o.lifecycleDay, "lifecycle-day", 24*time.Hour, "how long the days of lifecycle rules last; shorter ones are for tests")
}

// prepare checks what can be checked before anything is started or made. Roles without these doors have nothing to check.
func (o *filerOptions) prepare(insecure bool, log *slog.Logger) (err error) {
	if err := o.checkWebsite(insecure); err != nil {
		return err
	}
	o.secured, err = o.tls.wrapper(log)
	return err
}

// startFiler starts the HTTP and S3 doors, which are prepared, over a client, which it owns from then on. What is made through them belongs to
// owner.
func (p *process) startFiler(l listenOptions, o filerOptions, c *client.Client, owner granary.Cred) error {
	p.onStop(func(context.Context) error { return c.Close() })
	fs := filer.New(filer.Options{Client: c, Log: p.log, Owner: &owner})
	p.onStop(fs.Close)
	notifier, err := notify.NewRunner(notify.RunnerOptions{Client: c, Log: p.log})
	if err != nil {
		return err
	}
	p.onStop(func(context.Context) error { return notifier.Close() })
	webHandler, err := web.NewHandler(web.Options{FS: fs, Log: p.log, Auth: o.httpAuth, Origins: o.httpOrigins, UploadTTL: o.uploadTTL,
		Metrics: []prometheus.Collector{notifier.Metrics()}})
	if err != nil {
		return err
	}
	p.onStop(func(context.Context) error { return webHandler.Close() })
	s3Handler, err := s3.NewHandler(s3.Options{FS: fs, Log: p.log, LogEvery: o.logEvery, PlainKeys: o.plainKeys, Notify: notify.New(c, p.log)})
	if err != nil {
		return err
	}
	p.onStop(s3Handler.Close)
	lifecycle, err := s3.NewLifecycle(s3.LifecycleOptions{FS: fs, Log: p.log, Day: o.lifecycleDay})
	if err != nil {
		return err
	}
	p.onStop(func(context.Context) error { return lifecycle.Close() })
	webListener, err := listen(l.addr(portFilerHTTP), "filer HTTP")
	if err != nil {
		return err
	}
	s3Listener, err := listen(l.addr(portS3), "S3")
	if err != nil {
		return errors.Join(err, webListener.Close())
	}
	p.serveHTTP("filer HTTP", o.secured(webListener), webHandler)
	p.serveHTTP("S3", o.secured(s3Listener), s3Handler)
	if o.website == "" {
		return nil
	}
	siteListener, err := listen(o.website, "S3 websites")
	if err != nil {
		return err
	}
	p.serveHTTP("S3 websites", o.secured(siteListener), s3Handler.Website(o.siteDomain))
	return nil
}

// checkWebsite refuses to serve websites beyond loopback without TLS unless --insecure is given.
func (o *filerOptions) checkWebsite(insecure bool) error {
	if o.website == "" {
		return nil
	}
	host, _, err := splitAddr(o.website)
	if err != nil {
		return usagef("--s3-website-listen: %w", err)
	}
	ip := net.ParseIP(host)
	if ip == nil && host != "localhost" {
		return usagef("--s3-website-listen %q is not at an IP address", o.website)
	}
	if ip != nil && !ip.IsLoopback() && !insecure && !o.tls.on() {
		return usagef("--s3-website-listen %s is beyond loopback: give --tls-cert and --tls-key, or --insecure to listen without them", o.website)
	}
	return nil
}
