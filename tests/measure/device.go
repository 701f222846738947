package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Device is the block device that a directory lies on.
type Device struct{ stat string }

// DeviceOf returns the device of a directory; its Carried is an error where the system does not tell.
func DeviceOf(dir string) (*Device, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00
	return &Device{fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor)}, nil
}

// Carried returns how many bytes have been read from the device so far, and written to it.
func (d *Device) Carried() (read, written uint64, err error) {
	text, err := os.ReadFile(d.stat)
	if err != nil {
		return 0, 0, err
	}
	const sectorSize = 512
	fields := strings.Fields(string(text))
	if len(fields) < 7 {
		return 0, 0, fmt.Errorf("%s is too short", d.stat)
	}
	if read, err = strconv.ParseUint(fields[2], 10, 64); err != nil {
		return 0, 0, err
	}
	written, err = strconv.ParseUint(fields[6], 10, 64)
	return read * sectorSize, written * sectorSize, err
}
