package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Bounds of what is logged and not yet delivered: the lines of one log, after which it is delivered, and those of all, beyond which lines are
// left out.
const (
	logSizeMax    = 1 << 20
	logPendingMax = 16 << 20
	// logTries is how often the delivery of a log is tried.
	logTries = 3
	// logsParsedMax is how many configurations are kept parsed.
	logsParsedMax = 256
)

// logDestination is where lines go together.
type logDestination struct {
	source      string // bucket
	bucket      string
	prefix      string
	partitioned bool
	eventTime   bool
}

// accessLog gathers lines about requests, and delivers them as objects: when there are enough for one, at intervals, and when it is closed.
// What is gathered is lost with the process, what cannot be delivered is left out: best effort, as AWS's.
type accessLog struct {
	store  store
	region string
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	pending map[logDestination]*gathered
	size    int // bytes of all lines that are not delivered
	left    int // lines that were left out since the last delivery
	parsed  map[string]*loggingEnabled

	full   chan struct{} // has a token if a log may be large enough
	cancel context.CancelFunc
	done   chan struct{}
}

// gathered are the lines for one destination.
type gathered struct {
	lines bytes.Buffer
	since time.Time // of the first line
	tries int
}

// newAccessLog starts the delivery of logs, every so often. Close ends it.
func newAccessLog(s store, region string, every time.Duration, log *slog.Logger, now func() time.Time) *accessLog {
	ctx, cancel := context.WithCancel(context.Background())
	l := &accessLog{
		store: s, region: region, log: log, now: now, pending: map[logDestination]*gathered{}, parsed: map[string]*loggingEnabled{},
		full: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(l.done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.full:
				l.deliver(ctx, logSizeMax)
			case <-ticker.C:
				l.deliver(ctx, 0)
			}
		}
	}()
	return l
}

// close delivers what there is, as far as ctx lets it.
func (l *accessLog) close(ctx context.Context) {
	l.cancel()
	<-l.done
	l.deliver(ctx, 0)
}

// configured returns where the requests to a bucket are logged, by its configuration; nil for nowhere.
func (l *accessLog) configured(document []byte) *loggingEnabled {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.parsed[string(document)]; ok {
		return known
	}
	var c loggingStatus
	if err := xml.Unmarshal(document, &c); err != nil {
		l.log.Warn("the configuration of a bucket's log cannot be read", "error", err)
	}
	if len(l.parsed) >= logsParsedMax {
		clear(l.parsed)
	}
	l.parsed[string(document)] = c.Enabled
	return c.Enabled
}

// add adds a line about a request to a bucket, if there is room.
func (l *accessLog) add(source string, c *loggingEnabled, line []byte) {
	to := logDestination{source: source, bucket: c.TargetBucket, prefix: c.TargetPrefix}
	if f := c.KeyFormat; f != nil && f.Partitioned != nil {
		to.partitioned, to.eventTime = true, f.Partitioned.DateSource == partitionEventTime
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+len(line) > logPendingMax {
		l.left++
		return
	}
	g := l.pending[to]
	if g == nil {
		g = &gathered{since: l.now()}
		l.pending[to] = g
	}
	g.lines.Write(line)
	if l.size += len(line); g.lines.Len() >= logSizeMax {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// deliver makes objects of the logs that have at least so many bytes.
func (l *accessLog) deliver(ctx context.Context, sizeMin int) {
	l.mu.Lock()
	ready := map[logDestination]*gathered{}
	for to, g := range l.pending {
		if g.lines.Len() >= sizeMin {
			ready[to] = g
			delete(l.pending, to)
		}
	}
	left := l.left
	l.left = 0
	l.mu.Unlock()
	if left > 0 {
		l.log.Warn("lines of access logs are left out: too many are waiting to be delivered", "lines", left)
	}
	for to, g := range ready {
		err := l.put(ctx, to, g)
		l.mu.Lock()
		if g.tries++; err != nil && g.tries < logTries && l.pending[to] == nil && granary.IsKind(err, granary.KindUnavailable) {
			l.pending[to] = g
		} else {
			l.size -= g.lines.Len()
		}
		l.mu.Unlock()
		if err != nil {
			l.log.Warn("access log not delivered", "bucket", to.source, "target", to.bucket, "try", g.tries, "error", err)
		}
	}
}

// put makes an object of a log.
func (l *accessLog) put(ctx context.Context, to logDestination, g *gathered) error {
	info, err := l.store.Stat(ctx, granary.BucketsInode, to.bucket, filer.StatOptions{Xattrs: true})
	if err != nil {
		return err
	}
	sealed, err := sealByDefault(ctx, l.store, info)
	if err != nil {
		return err
	}
	up, err := l.store.Upload(ctx, filer.UploadOptions{
		Root: info.Attr.Inode, Path: l.key(to, g), Key: true, Mode: fileMode, Seal: sealed,
		Xattrs: []granary.Xattr{{Name: xattrPrefix + "content-type", Value: []byte("text/plain")}},
	})
	if err != nil {
		return err
	}
	defer up.Abort()
	content := &body{in: bytes.NewReader(g.lines.Bytes()), size: int64(g.lines.Len())}
	content.computeMD5()
	content.addDefault()
	if _, err := io.Copy(onlyWriter{up}, content); err != nil {
		return err
	}
	_, err = up.Commit(content.xattrs())
	return err
}

// key names the object of a log as AWS does.
func (l *accessLog) key(to logDestination, g *gathered) string {
	now := l.now().UTC()
	name := now.Format("2006-01-02-15-04-05-") + strings.ToUpper(randomID()[:16])
	if !to.partitioned {
		return to.prefix + name
	}
	date := now
	if to.eventTime {
		date = g.since.UTC()
	}
	return to.prefix + accountID + "/" + l.region + "/" + to.source + "/" + date.Format("2006/01/02/") + name
}
