package raftlog

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

const (
	headerBytes     = 64 // of a record, and of a segment as far as it is used
	recordAlign     = 8
	payloadBytesMax = 256 << 20
)

const (
	kindEntry byte = 1
	kindRange byte = 2
)

const flagLast byte = 1 // of its batch

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// recordBytes is the length on disk of a record with a payload.
func recordBytes(payload int) int {
	return (headerBytes + payload + recordAlign - 1) / recordAlign * recordAlign
}

func payloadBytes(l *raft.Log) int { return len(l.Extensions) + len(l.Data) }

// place is what a record says of where it belongs.
type place struct {
	generation uint64
	batch      uint64
	prev       uint32 // checksum of the record before
	last       bool   // of its batch
}

// appendRecord frames a record whose fields from offset 30 on set fills in, and returns its checksum.
func appendRecord(buf []byte, p place, kind byte, payload int, set func(rec []byte)) ([]byte, uint32) {
	at, size := len(buf), recordBytes(payload)
	buf = append(buf, make([]byte, size)...)
	rec := buf[at:]
	binary.LittleEndian.PutUint32(rec[4:], uint32(payload))
	binary.LittleEndian.PutUint64(rec[8:], p.generation)
	binary.LittleEndian.PutUint64(rec[16:], p.batch)
	binary.LittleEndian.PutUint32(rec[24:], p.prev)
	rec[28] = kind
	if p.last {
		rec[29] = flagLast
	}
	set(rec)
	sum := checksum(rec[4:])
	binary.LittleEndian.PutUint32(rec, sum)
	return buf, sum
}

func appendEntry(buf []byte, p place, l *raft.Log) ([]byte, uint32) {
	return appendRecord(buf, p, kindEntry, payloadBytes(l), func(rec []byte) {
		rec[30] = byte(l.Type)
		binary.LittleEndian.PutUint64(rec[32:], l.Index)
		binary.LittleEndian.PutUint64(rec[40:], l.Term)
		binary.LittleEndian.PutUint64(rec[48:], uint64(l.AppendedAt.Unix()))
		binary.LittleEndian.PutUint32(rec[56:], uint32(l.AppendedAt.Nanosecond()))
		binary.LittleEndian.PutUint32(rec[60:], uint32(len(l.Extensions)))
		copy(rec[headerBytes:], l.Extensions)
		copy(rec[headerBytes+len(l.Extensions):], l.Data)
	})
}

func appendRange(buf []byte, p place, first, last uint64) ([]byte, uint32) {
	return appendRecord(buf, p, kindRange, 0, func(rec []byte) {
		binary.LittleEndian.PutUint64(rec[32:], first)
		binary.LittleEndian.PutUint64(rec[40:], last)
	})
}

// record is a record that verified, as bytes.
type record []byte

func (r record) sum() uint32        { return binary.LittleEndian.Uint32(r) }
func (r record) payload() int       { return int(binary.LittleEndian.Uint32(r[4:])) }
func (r record) generation() uint64 { return binary.LittleEndian.Uint64(r[8:]) }
func (r record) batch() uint64      { return binary.LittleEndian.Uint64(r[16:]) }
func (r record) prev() uint32       { return binary.LittleEndian.Uint32(r[24:]) }
func (r record) kind() byte         { return r[28] }
func (r record) isLast() bool       { return r[29] == flagLast }
func (r record) index() uint64      { return binary.LittleEndian.Uint64(r[32:]) } // of a range: the first that remains
func (r record) term() uint64       { return binary.LittleEndian.Uint64(r[40:]) } // of a range: the last that remains

// entry decodes an entry. Its data are the record's own bytes.
func (r record) entry(l *raft.Log) {
	extensions := headerBytes + int(binary.LittleEndian.Uint32(r[60:]))
	end := headerBytes + r.payload()
	*l = raft.Log{
		Index: r.index(), Term: r.term(), Type: raft.LogType(r[30]),
		AppendedAt: time.Unix(int64(binary.LittleEndian.Uint64(r[48:])), int64(binary.LittleEndian.Uint32(r[56:]))).UTC(),
	}
	if extensions > headerBytes {
		l.Extensions = r[headerBytes:extensions:extensions]
	}
	if end > extensions {
		l.Data = r[extensions:end:end]
	}
}

// sizeOf returns the length of the record that a header announces, 0 if it is no header of this generation.
func sizeOf(header []byte, generation uint64) int {
	r := record(header)
	n := r.payload()
	extensions := uint64(binary.LittleEndian.Uint32(r[60:]))
	switch {
	case r.generation() != generation, n > payloadBytesMax, extensions > uint64(n):
		return 0
	case r.kind() != kindEntry && r.kind() != kindRange, r[29] > flagLast:
		return 0
	}
	return recordBytes(n)
}

// verified reports whether the bytes are a whole record.
func verified(b []byte) bool { return record(b).sum() == checksum(b[4:]) }

// segmentHeader is the head of a segment.
type segmentHeader struct {
	number, generation uint64
	batch              uint64 // number of the first
	prevEnd            int64
	first, last        uint64
	prevSum            uint32
	sum                uint32 // of the header itself
}

const segmentMagic = "granlog\x01"

func (h *segmentHeader) marshal() []byte {
	b := make([]byte, headerBytes)
	copy(b, segmentMagic)
	for i, v := range []uint64{h.number, h.generation, h.batch, uint64(h.prevEnd), h.first, h.last} {
		binary.LittleEndian.PutUint64(b[8+8*i:], v)
	}
	binary.LittleEndian.PutUint32(b[56:], h.prevSum)
	h.sum = checksum(b[:60])
	binary.LittleEndian.PutUint32(b[60:], h.sum)
	return b
}

// unmarshal reports whether the bytes are a header.
func (h *segmentHeader) unmarshal(b []byte) bool {
	if string(b[:len(segmentMagic)]) != segmentMagic || binary.LittleEndian.Uint32(b[60:]) != checksum(b[:60]) {
		return false
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8+8*i:]) }
	if at(3) > math.MaxInt64 {
		return false
	}
	*h = segmentHeader{
		number: at(0), generation: at(1), batch: at(2), prevEnd: int64(at(3)), first: at(4), last: at(5),
		prevSum: binary.LittleEndian.Uint32(b[56:]), sum: binary.LittleEndian.Uint32(b[60:]),
	}
	return true
}
