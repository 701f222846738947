package volume

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/crc32c"
)

const (
	// bufferedBytesMax bounds the bytes of appends and reads that a handler holds at once; others wait.
	bufferedBytesMax = 512 << 20
	// bodyWithin is how long a client may take to send the body of an append, or to take that of a read, so that one that stalls does not
	// keep a buffer for ever.
	bodyWithin = time.Minute
)

// handler serves a Store over HTTP/1.1:
//
//	PUT    /v1/disks/DISK/shards/VOLUME/SHARD              append; the body is the data, see the headers in status.go
//	GET    /v1/disks/DISK/shards/VOLUME/SHARD?off=&len=    read; the answer is shorter where the stream ends; with &sealed=1 compared with the page table
//	POST   /v1/disks/DISK/shards/VOLUME/SHARD/read?off=&len=    read into memory that the client lends, see loan_read.go
//	POST   /v1/disks/DISK/shards/VOLUME/SHARD/seal?epoch=&k=&m=&length=&end=
//	POST   /v1/disks/DISK/shards/VOLUME/SHARD/build?epoch=&k=&m=&length=   make a whole shard; the body is records, see pieces.go
//	POST   /v1/disks/DISK/shards/VOLUME/SHARD/verify       compare a sealed shard with its page table
//	GET    /v1/disks/DISK/shards/VOLUME/SHARD/sums?length=&blocks=    JSON: granary.ShardSums
//	DELETE /v1/disks/DISK/shards/VOLUME/SHARD?epoch=&created=    drop
//	GET    /v1/disks/DISK/shards                           JSON: array of granary.ShardInfo
//	POST   /v1/disks/DISK/scrub                            begin to verify all of it
//	GET    /v1/disks                                       JSON: array of granary.DiskUsage
//	GET    /healthz
type handler struct {
	store   *Store
	buffers bufferPool
	memory  *semaphore.Weighted
	mapped  *mappings
}

// NewHandler returns the block service of a store, over HTTP/1.1: what Client speaks, and curl too. Errors are JSON: op,
// subject, kind, error.
func NewHandler(s *Store) http.Handler {
	h := &handler{store: s, memory: semaphore.NewWeighted(bufferedBytesMax), mapped: newMappings()}
	const shard = "/v1/disks/{disk}/shards/{volume}/{shard}"
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+shard, h.append)
	mux.HandleFunc("GET "+shard, h.read)
	mux.HandleFunc("POST "+shard+"/read", h.readLent)
	mux.HandleFunc("POST "+shard+"/seal", h.seal)
	mux.HandleFunc("POST "+shard+"/verify", h.verify)
	mux.HandleFunc("GET "+shard+"/sums", h.sums)
	mux.HandleFunc("POST "+shard+"/build", h.build)
	mux.HandleFunc("POST /v1/disks/{disk}/scrub", h.scrub)
	mux.HandleFunc("DELETE "+shard, h.drop)
	mux.HandleFunc("GET /v1/disks/{disk}/shards", h.list)
	mux.HandleFunc("GET /v1/disks", h.usage)
	mux.HandleFunc("GET /healthz", h.health)
	return freshDeadline(mux)
}

// freshDeadline undoes the write deadline that an earlier request on the same connection has left.
func freshDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := setDeadline(http.NewResponseController(w).SetWriteDeadline, time.Time{}); err != nil {
			writeError(w, granary.Errorf(granary.KindInternal, "", r.URL.Path, "%w", err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// params reads the numbers of a request; the first that is wrong is remembered.
type params struct {
	op, subject string
	err         error
}

func (p *params) number(name, text string, base, bitSize int) uint64 {
	v, err := strconv.ParseUint(text, base, bitSize)
	if err != nil && p.err == nil {
		p.err = granary.Errorf(granary.KindInvalid, p.op, p.subject, "%s: %w", name, err)
	}
	return v
}

// ref reads the shard that the path names.
func (p *params) ref(r *http.Request) granary.ShardRef {
	ref := granary.ShardRef{
		Disk:   granary.DiskID(r.PathValue("disk")),
		Volume: granary.VolumeID(p.number("volume", r.PathValue("volume"), 10, 64)),
		Shard:  uint8(p.number("shard", r.PathValue("shard"), 10, 8)),
	}
	p.subject = ref.String()
	return ref
}

func (h *handler) append(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opAppend, subject: r.URL.Path}
	header := func(name string, base, bitSize int) uint64 { return p.number(name, r.Header.Get(name), base, bitSize) }
	a := &granary.Append{
		Ref:          p.ref(r),
		Epoch:        granary.Epoch(header(headerEpoch, 10, 64)),
		DataShards:   int(header(headerDataShards, 10, 8)),
		ParityShards: int(header(headerParityShards, 10, 8)),
		Prev:         header(headerPrev, 10, 64),
		Offset:       header(headerOffset, 10, 64),
		CRC32C:       uint32(header(headerCRC32C, 16, 32)),
	}
	switch {
	case p.err != nil:
	case r.ContentLength < 0:
		p.err = granary.Errorf(granary.KindInvalid, opAppend, p.subject, "the request has no Content-Length")
	case r.ContentLength > appendSizeMax:
		p.err = granary.Errorf(granary.KindTooLarge, opAppend, p.subject, "%d bytes, over the limit of %d", r.ContentLength, appendSizeMax)
	}
	if p.err != nil {
		writeError(w, p.err)
		return
	}
	if lent := r.Header.Get(headerLoan); lent != "" {
		h.appendLent(w, r, a, lent)
		return
	}
	buf, err := h.borrow(r.Context(), p, int(r.ContentLength))
	if err != nil {
		writeError(w, err)
		return
	}
	defer h.giveBack(buf)
	sums, err := receive(w, r, *buf, a.Offset)
	if err != nil {
		writeError(w, granary.Errorf(granary.KindUnavailable, opAppend, p.subject, "the request ends early: %w", err))
		return
	}
	a.Data = *buf
	w.Header().Set(headerLoan, "1")
	h.answer(w, h.store.append(r.Context(), a, origin{sums: sums}))
}

// appendLent appends what lies in memory of the client.
func (h *handler) appendLent(w http.ResponseWriter, r *http.Request, a *granary.Append, lent string) {
	l, err := parseLoan(lent)
	if err != nil {
		writeError(w, granary.Errorf(granary.KindInvalid, opAppend, a.Ref.String(), "what is lent is %q: %w", lent, err))
		return
	}
	if a.Pieces, err = parsePieces(r.Header.Get(headerPieces)); err != nil {
		writeError(w, granary.Errorf(granary.KindInvalid, opAppend, a.Ref.String(), "the checksums of its pieces: %w", err))
		return
	}
	memory, give, err := h.mapped.borrow(l, false)
	if err != nil {
		http.Error(w, err.Error(), statusNoLoan)
		return
	}
	defer give()
	a.Data = memory
	h.answer(w, h.store.append(r.Context(), a, origin{lent: l.stands}))
}

// receive reads a body of len(p) bytes, which are for an offset of a stream, and returns their checksums: of what has just come, as long as
// the processor's caches have it.
func receive(w http.ResponseWriter, r *http.Request, p []byte, offset uint64) (*crc32c.Pieces, error) {
	set := http.NewResponseController(w).SetReadDeadline
	if err := setDeadline(set, time.Now().Add(bodyWithin)); err != nil {
		return nil, err
	}
	sums := crc32c.NewPieces(offset, len(p))
	for rest := p; len(rest) > 0; {
		n := crc32c.Cut(offset, len(rest))
		if _, err := io.ReadFull(r.Body, rest[:n]); err != nil {
			return nil, err
		}
		sums.Add(rest[:n])
		rest, offset = rest[n:], offset+uint64(n)
	}
	return sums, setDeadline(set, time.Time{}) // or it would end the wait for a slow disk
}

// setDeadline sets a deadline, where the connection has them.
func setDeadline(set func(time.Time) error, at time.Time) error {
	if err := set(at); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// borrow returns a buffer, once there is room for it.
func (h *handler) borrow(ctx context.Context, p *params, size int) (*[]byte, error) {
	if err := h.memory.Acquire(ctx, int64(size)); err != nil {
		return nil, interrupted(p.op, p.subject, err)
	}
	return h.buffers.get(size), nil
}

func (h *handler) giveBack(buf *[]byte) {
	size := len(*buf)
	h.buffers.put(buf)
	h.memory.Release(int64(size))
}

// answer sends 204 or the error.
func (h *handler) answer(w http.ResponseWriter, err error) {
	if err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) read(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opRead, subject: r.URL.Path}
	ref, query := p.ref(r), r.URL.Query()
	off := p.number("off", query.Get("off"), 10, 63)
	size := p.number("len", query.Get("len"), 10, 63)
	if p.err == nil && size > appendSizeMax {
		p.err = granary.Errorf(granary.KindTooLarge, opRead, p.subject, "%d bytes, over the limit of %d", size, appendSizeMax)
	}
	if p.err != nil {
		writeError(w, p.err)
		return
	}
	buf, err := h.borrow(r.Context(), p, int(size))
	if err != nil {
		writeError(w, err)
		return
	}
	defer h.giveBack(buf)
	read := h.store.ReadAt
	if query.Get("sealed") != "" {
		read = h.store.ReadSealed
	}
	n, length, err := read(r.Context(), ref, *buf, int64(off))
	if err == nil {
		err = setDeadline(http.NewResponseController(w).SetWriteDeadline, time.Now().Add(bodyWithin))
	}
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set(headerLoan, "1")
	h.sayWhere(w, r, ref)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.Header().Set(headerShardLength, strconv.FormatUint(length, 10))
	w.Write((*buf)[:n]) // fails only if the client has gone away
}

func (h *handler) seal(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opSeal, subject: r.URL.Path}
	ref, query := p.ref(r), r.URL.Query()
	seal := &granary.Seal{
		Ref:          ref,
		Epoch:        granary.Epoch(p.number("epoch", query.Get("epoch"), 10, 64)),
		DataShards:   int(p.number("k", query.Get("k"), 10, 8)),
		ParityShards: int(p.number("m", query.Get("m"), 10, 8)),
		Length:       p.number("length", query.Get("length"), 10, 64),
		End:          p.number("end", query.Get("end"), 10, 64),
	}
	if p.err == nil {
		p.err = h.store.Seal(r.Context(), seal)
	}
	h.answer(w, p.err)
}

func (h *handler) verify(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opVerify, subject: r.URL.Path}
	ref := p.ref(r)
	if p.err == nil {
		p.err = h.store.Verify(r.Context(), ref)
	}
	h.answer(w, p.err)
}

func (h *handler) sums(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opSums, subject: r.URL.Path}
	ref, query := p.ref(r), r.URL.Query()
	q := &granary.SumShard{Ref: ref, Length: p.number("length", query.Get("length"), 10, 64), Blocks: query.Get("blocks") == "true"}
	var sums *granary.ShardSums
	if p.err == nil {
		sums, p.err = h.store.Sums(r.Context(), q)
	}
	if p.err != nil {
		writeError(w, p.err)
		return
	}
	writeJSON(w, http.StatusOK, sums)
}

func (h *handler) drop(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opDrop, subject: r.URL.Path}
	ref := p.ref(r)
	epoch := granary.Epoch(p.number("epoch", r.URL.Query().Get("epoch"), 10, 64))
	created := granary.Time(p.number("created", r.URL.Query().Get("created"), 10, 63))
	if p.err == nil {
		p.err = h.store.Drop(r.Context(), ref, epoch, created)
	}
	h.answer(w, p.err)
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	infos, err := h.store.List(granary.DiskID(r.PathValue("disk")))
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, infos)
}

func (h *handler) usage(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, h.store.Usage())
}

// health answers 200 as long as a disk takes writes, else 503 with the disks.
func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	usages := h.store.Usage()
	status := http.StatusServiceUnavailable
	for _, u := range usages {
		if u.ReadOnly == "" {
			status = http.StatusOK
		}
	}
	writeJSON(w, status, usages)
}
