package volume

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/dsorchard/granary"
)

// Headers of the block service. Numbers are decimal, the checksum has 8 hexadecimal digits.
const (
	headerEpoch        = "X-Granary-Epoch"
	headerDataShards   = "X-Granary-Data-Shards"
	headerParityShards = "X-Granary-Parity-Shards"
	headerPrev         = "X-Granary-Prev"
	headerOffset       = "X-Granary-Offset"
	headerCRC32C       = "X-Granary-Crc32c"
	headerShardLength  = "X-Granary-Shard-Length"
	headerBytes        = "X-Granary-Bytes"
	// headerLoan says in a request where its data lie, or shall go, and in the answer to an append or a read with a body that they might: see loan.
	headerLoan = "X-Granary-Loan"
	// headerPieces has the checksums of the pieces of what is lent: granary.Append.Pieces, 4 bytes each, little endian, in base64.
	headerPieces = "X-Granary-Pieces"
	// headerFile says in the answer to a read where the shard's file lies: see peek.
	headerFile = "X-Granary-File"
)

// statusNoLoan is the answer to a loan that the server cannot take.
const statusNoLoan = http.StatusMisdirectedRequest

const (
	errorSizeMax = 64 << 10
	listSizeMax  = 256 << 20
	jsonType     = "application/json"
)

// statusOf is the table from kinds to HTTP statuses of the block service. The status is for proxies and people; Client
// goes by the kind in the body.
func statusOf(kind granary.Kind) int {
	switch kind {
	case granary.KindNone:
		return http.StatusOK
	case granary.KindNotFound:
		return http.StatusNotFound
	case granary.KindStale, granary.KindExists:
		return http.StatusConflict
	case granary.KindInvalid:
		return http.StatusBadRequest
	case granary.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case granary.KindCorrupt:
		return http.StatusUnprocessableEntity
	case granary.KindNoSpace:
		return http.StatusInsufficientStorage
	case granary.KindUnavailable, granary.KindBusy, granary.KindCanceled:
		return http.StatusServiceUnavailable
	case granary.KindNotSupported:
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

// wireError is a *granary.Error as JSON.
type wireError struct {
	Op      string       `json:"op"`
	Subject string       `json:"subject"`
	Kind    granary.Kind `json:"kind"`
	Error   string       `json:"error"` // the cause, or ""
}

// writeError answers with an error.
func writeError(w http.ResponseWriter, err error) {
	var e *granary.Error
	if !errors.As(err, &e) {
		e = granary.Errorf(granary.KindInternal, "", "", "%w", err)
	}
	body := wireError{Op: e.Op, Subject: e.Subject, Kind: e.Kind}
	if e.Err != nil {
		body.Error = e.Err.Error()
	}
	writeJSON(w, statusOf(e.Kind), body)
}

// writeJSON answers with a value. A client that has gone away is not told.
func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

// readError restores the error of a response that is not a success.
func readError(op, subject string, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, errorSizeMax))
	if err != nil {
		return granary.Errorf(granary.KindUnavailable, op, subject, "%w", err)
	}
	var e wireError
	if err := json.Unmarshal(text, &e); err != nil || e.Kind == granary.KindNone {
		kind := granary.KindInternal
		if resp.StatusCode >= http.StatusBadGateway && resp.StatusCode <= http.StatusGatewayTimeout {
			kind = granary.KindUnavailable
		}
		return granary.Errorf(kind, op, subject, "the answer was %s, and not from a volume server", resp.Status)
	}
	if e.Error == "" {
		return granary.Errorf(e.Kind, e.Op, e.Subject, "")
	}
	return granary.Errorf(e.Kind, e.Op, e.Subject, "%s", e.Error)
}
