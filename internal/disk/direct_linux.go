package disk

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directFlag is that of open for what passes the system's memory by.
const directFlag = syscall.O_DIRECT

// reopen opens a file another time, by its descriptor: its name may have changed.
func reopen(f *os.File, flags int) *os.File {
	var d *os.File
	err := control(f, func(fd int) (err error) {
		d, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), flags, 0)
		return err
	})
	if err != nil {
		return nil
	}
	return d
}

// Memory returns a buffer that is written to a disk at the least cost, if it is large: of large pages, where the system has them.
func Memory(size int) []byte {
	p := make([]byte, size)
	const page = 2 << 20
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & (page - 1)
	if whole := (size - skip) &^ (page - 1); whole > 0 {
		_ = unix.Madvise(p[skip:skip+whole], unix.MADV_HUGEPAGE) // advice: that it is not taken changes nothing but the cost
	}
	return p
}
