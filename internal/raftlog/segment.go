package raftlog

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

const (
	dataStart     = 4096 // of the records in a segment
	segmentSuffix = ".seg"
	spareSuffix   = ".spare"
	newName       = "new"
)

// segment is a file of the log.
type segment struct {
	head   segmentHeader
	file   disk.File
	end    int64 // of its records
	filled int64 // bytes that have been written once: to write there again takes no space

	firstEntry uint64   // index of the entry of offsets[0]
	offsets    []uint32 // of entries, in units of recordAlign; of those that were cut off the end none is left
}

func (s *segment) name() string { return segmentName(s.head.number) }

// endEntry is the index after that of its last entry.
func (s *segment) endEntry() uint64 { return s.firstEntry + uint64(len(s.offsets)) }

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

func spareName(number uint64) string { return fmt.Sprintf("%016x%s", number, spareSuffix) }

// parseName returns the number in a name, if it is one of these.
func parseName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, ok && err == nil && len(digits) == 16 && n > 0
}

// readAhead is read at once for a single entry: more than most have.
const readAhead = 512

// read reads the entry at an offset.
func (s *segment) read(off int64, want uint64, l *raft.Log) error {
	b := make([]byte, readAhead)
	n, err := s.file.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return storeError(s.name(), err)
	}
	size := 0
	if n >= headerBytes {
		size = sizeOf(b, s.head.generation)
	}
	if size > n {
		rest := make([]byte, size)
		copy(rest, b[:n])
		if _, err := s.file.ReadAt(rest[n:], off+int64(n)); err != nil {
			return storeError(s.name(), err)
		}
		b = rest
	}
	if size == 0 || !verified(b[:size]) || record(b).kind() != kindEntry || record(b).index() != want {
		return granary.Errorf(granary.KindCorrupt, "raftlog.read", s.name(), "the record of entry %d, at offset %d, does not verify", want, off)
	}
	record(b[:size]).entry(l)
	return nil
}

// createSegment makes a segment that follows another, from a spare if there is one. It has its name durably
// before it is returned, so its records may count at once. On an error nothing of it is in the way of another attempt.
func createSegment(d disk.FS, h segmentHeader, spare string) (_ *segment, err error) {
	from := spare
	var f disk.File
	if spare == "" {
		from = newName
		if err := d.Remove(newName); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		f, err = d.Create(newName)
	} else {
		f, err = d.Open(spare)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	h.generation = newGeneration()
	head := make([]byte, dataStart)
	copy(head, h.marshal())
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if err := d.Rename(from, segmentName(h.number)); err != nil {
		return nil, err
	}
	if err := d.SyncDir("."); err != nil {
		return nil, err
	}
	return &segment{head: h, file: f, end: dataStart, filled: size}, nil
}

func newGeneration() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
