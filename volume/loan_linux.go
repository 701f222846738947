package volume

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// loanSeals keep lent memory from shrinking.
const loanSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

func ownPID() int { return os.Getpid() }

// newRegion makes memory that can be lent.
func newRegion(size int) (*region, error) {
	var token [idSize / 2]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, err
	}
	name := loanPrefix + hex.EncodeToString(token[:])
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	memory, err := mapRegion(fd, size)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &region{memory: memory, fd: fd, name: name}, nil
}

func mapRegion(fd, size int) ([]byte, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, loanSeals); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // advice: that it is not taken changes nothing but the cost
	}
	return memory, err
}

// free gives the memory back. Its addresses stay, since the transport may read a while from the body of a request that was given up.
func (r *region) free() {
	_ = unix.Close(r.fd)                         // first: see loan
	_ = unix.Madvise(r.memory, unix.MADV_REMOVE) // what stays, stays until the process ends
}

// unmap gives the memory back with its addresses, which nobody may touch any more.
func (r *region) unmap() {
	if err := unix.Munmap(r.memory); err != nil {
		panic("volume: memory that was lent cannot be unmapped: " + err.Error())
	}
	_ = unix.Close(r.fd)
}

// open maps the memory of which a client lends a part, all of it. It is that of the client: unmap lets go of it. write tells whether it is to be
// written to.
func (l loan) open(write bool) (memory []byte, unmap func() error, err error) {
	mode, access, flags := unix.O_RDONLY, unix.PROT_READ, unix.MAP_SHARED
	if write { // all pages at once, or each costs a fault of its own
		mode, access, flags = unix.O_RDWR, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE
	}
	path := l.path()
	if err := l.named(path); err != nil { // nothing else is opened, unless it takes that place just now
		return nil, nil, err
	}
	fd, err := unix.Open(path, mode|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fd) // of no consequence: nothing was written
	size, err := l.check(fd)
	if err != nil {
		return nil, nil, err
	}
	memory, err = unix.Mmap(fd, 0, int(size), access, flags)
	if err != nil {
		return nil, nil, err
	}
	return memory, func() error { return unix.Munmap(memory) }, nil
}

// check tells whether the file is the memory that was meant, and cannot shrink. It returns its size.
func (l loan) check(fd int) (int64, error) {
	if err := l.named(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
		return 0, err
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	if seals&unix.F_SEAL_SHRINK == 0 || st.Size > regionSizeMax {
		return 0, errShortLoan
	}
	return st.Size, nil
}

// path is where the client's descriptor is.
func (l loan) path() string { return fmt.Sprintf("/proc/%d/fd/%d", l.pid, l.fd) }

// named tells whether a descriptor, by its path in /proc, is of the memory that was meant.
func (l loan) named(path string) error {
	is, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if is != "/memfd:"+l.name+" (deleted)" {
		return errors.New("it is not the memory that was meant")
	}
	return nil
}
