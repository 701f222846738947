package backup

import (
	"context"
	"io"
	"time"

	"github.com/dsorchard/granary"
)

// Source is a master that backups are read from. A wire.Master is one.
type Source interface {
	// ReadBackup begins a backup, or reads a piece of one. An ID that the node no longer keeps is KindNotFound.
	ReadBackup(ctx context.Context, req *granary.ReadBackup) (*granary.BackupPiece, error)
}

// Patience says how a lost connection is borne.
type Patience struct {
	For        time.Duration // one piece is asked for again and again for so long
	First, Max time.Duration // pauses: the first, and how long they grow
}

// DefaultPatience outlasts the restart of a network, and not much more.
func DefaultPatience() Patience {
	return Patience{For: 2 * time.Minute, First: 100 * time.Millisecond, Max: 5 * time.Second}
}

// askTimeout bounds one question; the first has a checkpoint made.
const askTimeout = time.Minute

// Stream reads a backup's stream from the node that keeps it. A piece that does not arrive is asked for again.
type Stream struct {
	ctx      context.Context
	from     Source
	patience Patience
	header   Header
	offset   int64 // of what follows data
	data     []byte
}

// Begin begins a backup at a node.
func Begin(ctx context.Context, from Source, patience Patience, now time.Time) (*Stream, error) {
	return open(ctx, from, patience, &granary.ReadBackup{}, granary.Time(now.UnixNano()))
}

// Continue goes on with a backup that the node may still keep, from an offset of its stream on. KindNotFound says
// that it does not, or has another under that id.
func Continue(ctx context.Context, from Source, patience Patience, h *Header, offset int64) (*Stream, error) {
	s, err := open(ctx, from, patience, &granary.ReadBackup{ID: h.ID, Offset: offset}, h.Time)
	if err != nil {
		return nil, err
	}
	if s.header != *h {
		return nil, granary.Errorf(granary.KindNotFound, "backup", h.ID, "the node has another backup of that id")
	}
	return s, nil
}

func open(ctx context.Context, from Source, patience Patience, req *granary.ReadBackup, begun granary.Time) (*Stream, error) {
	s := &Stream{ctx: ctx, from: from, patience: patience}
	p, err := s.ask(req)
	if err != nil {
		return nil, err
	}
	s.header = Header{ID: p.ID, Cluster: p.Cluster, Index: p.Index, Size: p.Size, Time: begun}
	s.data, s.offset = p.Data, req.Offset+int64(len(p.Data))
	return s, nil
}

// Header returns what the backup is of.
func (s *Stream) Header() *Header { return &s.header }

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.data) == 0 && s.offset < s.header.Size {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *Stream) next() error {
	h := &s.header
	p, err := s.ask(&granary.ReadBackup{ID: h.ID, Offset: s.offset})
	if err != nil {
		return err
	}
	if p.ID != h.ID || p.Size != h.Size || p.Index != h.Index || len(p.Data) == 0 || int64(len(p.Data)) > h.Size-s.offset {
		return granary.Errorf(granary.KindInternal, "backup", h.ID, "the master's piece at %d does not belong there", s.offset)
	}
	s.data, s.offset = p.Data, s.offset+int64(len(p.Data))
	return nil
}

// ask sends a question until it is answered. Reading again is harmless; a backup begun twice is one that nobody reads, and
// ends by itself.
func (s *Stream) ask(req *granary.ReadBackup) (*granary.BackupPiece, error) {
	end := time.Now().Add(s.patience.For)
	pause := s.patience.First
	for {
		ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
		p, err := s.from.ReadBackup(ctx, req)
		cancel()
		if err == nil || s.ctx.Err() != nil || !passing(err) || time.Now().Add(pause).After(end) {
			return p, err
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return nil, err
		}
		pause = min(2*pause, s.patience.Max)
	}
}

// passing says whether an error may be gone at the next try.
func passing(err error) bool {
	switch granary.KindOf(err) {
	case granary.KindUnavailable, granary.KindIndeterminate, granary.KindCanceled:
		return true
	}
	return false
}
