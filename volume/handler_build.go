package volume

import (
	"io"
	"net/http"
	"time"

	"github.com/dsorchard/granary"
)

// build takes the records of pieces.go as its body.
func (h *handler) build(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opBuild, subject: r.URL.Path}
	ref, query := p.ref(r), r.URL.Query()
	b := &granary.Build{
		Ref:          ref,
		Epoch:        granary.Epoch(p.number("epoch", query.Get("epoch"), 10, 64)),
		DataShards:   int(p.number("k", query.Get("k"), 10, 8)),
		ParityShards: int(p.number("m", query.Get("m"), 10, 8)),
		Length:       p.number("length", query.Get("length"), 10, 64),
	}
	if p.err == nil {
		p.err = checkBuild(b)
	}
	if p.err != nil {
		writeError(w, p.err)
		return
	}
	buf, err := h.borrow(r.Context(), p, buildPieceSize)
	if err != nil {
		writeError(w, err)
		return
	}
	defer h.giveBack(buf)
	body := &patientBody{body: r.Body, set: http.NewResponseController(w).SetReadDeadline}
	h.answer(w, h.store.build(r.Context(), b, &recordPieces{op: opBuild, subject: ref.String(), r: body, length: b.Length, buf: *buf}))
}

// patientBody is a body that may take long in all, but not between two reads: whoever sends it computes it meanwhile, and
// one that is gone must not keep the place for ever.
type patientBody struct {
	body io.Reader
	set  func(time.Time) error
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	if err := setDeadline(b.set, time.Now().Add(bodyWithin)); err != nil {
		return 0, err
	}
	n, err := b.body.Read(p)
	if clearErr := setDeadline(b.set, time.Time{}); err == nil {
		err = clearErr // or it would end the wait for a slow disk
	}
	return n, err
}

// scrub begins a pass of a disk.
func (h *handler) scrub(w http.ResponseWriter, r *http.Request) {
	h.answer(w, h.store.Scrub(r.Context(), granary.DiskID(r.PathValue("disk"))))
}
