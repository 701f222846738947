package disk

import (
	"errors"
	"os"
	"sync"
	"unsafe"
)

const (
	// coldMin is the size from which a read of what the system's memory does not hold is direct. Smaller ones cost little, or are random.
	coldMin = 256 << 10
	// coldPiece is how much of it the device is asked for at once.
	coldPiece = 1 << 20
	// The system reads ahead if in each of so many pieces of what follows there is a page of: readers ask for no more than such a piece at once.
	aheadPiece, aheadPieces = 4 << 20, 4
)

// ColdReader reads large pieces of files that are in the system's memory, or are not. To bring a stream there takes pages for it,
// which others then lose, and more CPU time than all the rest of reading it; and most streams are read once. So the first read of a range asks the
// device, past the system's memory, but for one page of it, the mark; the next read, by whichever process, finds that page there, and reads
// by way of the system's memory, as all further ones do. Marks are forgotten as other pages are: as a list of what was read
// lately they cost no memory of their own.
type ColdReader struct{ buffers sync.Pool }

// ColdFile is a file that a ColdReader reads.
type ColdFile struct {
	f      *os.File // which is read as it is asked for: nothing is read ahead
	direct second
	whole  second // which is read ahead
}

// NewColdFile makes one of a file that is open to be read, and closes it from then on.
func NewColdFile(f *os.File) *ColdFile {
	_ = control(f, randomly) // advice: that it is not taken only makes marks where nothing was read
	_ = control(f, quietly)  // only its owner may: others may wait for the disk's journal
	return &ColdFile{f: f, direct: second{flags: os.O_RDONLY | directFlag}, whole: second{flags: os.O_RDONLY}}
}

// Close closes the file.
func (c *ColdFile) Close() error {
	return errors.Join(c.direct.close(), c.whole.close(), c.f.Close())
}

// ReadAt is that of io.ReaderAt, from a ColdFile.
func (r *ColdReader) ReadAt(c *ColdFile, p []byte, off int64) (int, error) {
	mark := (off + directAlignment - 1) / directAlignment * directAlignment
	if len(p) < coldMin {
		return c.f.ReadAt(p, off)
	}
	if c.cached(mark, directAlignment) {
		return c.again(off+int64(len(p))).ReadAt(p, off)
	}
	d := c.direct.open(c.f)
	if d == nil {
		return c.f.ReadAt(p, off)
	}
	from := mark + directAlignment
	to := (off + int64(len(p))) / directAlignment * directAlignment
	n, err := c.f.ReadAt(p[:from-off], off)
	if err != nil {
		return n, err
	}
	n += r.readDirect(d, p[n:to-off], from)
	if n == len(p) {
		return n, nil
	}
	more, err := c.f.ReadAt(p[n:], off+int64(n))
	return n + more, err
}

// again returns the file for a read, up to end, of what has been read before. What is read ahead comes in large folios, which cost a third of
// the CPU time of single pages. But where only this range was read before, or has just been written, all that follows would look so too, one read
// ahead after the other: up to 8 MiB each.
func (c *ColdFile) again(end int64) *os.File {
	end = (end + directAlignment - 1) / directAlignment * directAlignment
	for i := range int64(aheadPieces) {
		if !c.cached(end+i*aheadPiece, aheadPiece) {
			return c.f
		}
	}
	if whole := c.whole.open(c.f); whole != nil {
		return whole
	}
	return c.f
}

// readDirect reads whole pages from the device into p, and returns how many bytes. Where p does not begin with a page they go by way of a
// buffer. They are less than len(p) where the file ends, where the device wants another alignment, and where it fails: the usual read of the rest tells.
func (r *ColdReader) readDirect(d *os.File, p []byte, off int64) (n int) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(p)))%directAlignment == 0 {
		n, _ = d.ReadAt(p, off)
		return n
	}
	buf, ok := r.buffers.Get().(*[]byte)
	if !ok {
		fresh := Memory(coldPiece)
		buf = &fresh
	}
	defer r.buffers.Put(buf)
	for n < len(p) {
		piece := (*buf)[:min(len(p)-n, coldPiece)]
		got, err := d.ReadAt(piece, off+int64(n))
		n += copy(p[n:], piece[:got])
		if err != nil {
			break
		}
	}
	return n
}

// Scattered is a File whose readers ask for all that they want.
type Scattered interface {
	// ReadScattered has the system read no more of the file than it is asked for, and nothing ahead, as far as it takes advice.
	ReadScattered()
}

// ReadScattered implements Scattered.
func (f *osFile) ReadScattered() {
	_ = control(f.f, randomly) // advice: that it is not taken changes nothing but the cost
	_ = control(f.f, quietly)  // as in NewColdFile
}
