package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// answerMax is the most that a mount answers.
const answerMax = 64 << 10

// askMount asks the process of a mount, which answers as the extended attribute of its root.
func askMount[A any](ctx context.Context, point, name string) (A, error) {
	type reply struct {
		a   A
		err error
	}
	got := make(chan reply, 1)
	go func() { // the call cannot be ended: a mount that stands still keeps it until the process ends
		var r reply
		buf := make([]byte, answerMax)
		n, err := unix.Getxattr(point, name, buf)
		if err == nil {
			err = json.Unmarshal(buf[:n], &r.a)
		}
		r.err = err
		got <- r
	}()
	select {
	case r := <-got:
		return r.a, r.err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// mountEntry is a mount of Granary as the system lists it.
type mountEntry struct {
	point, source, options string
}

// listMounts returns the mounts of Granary that this process can see.
func listMounts() ([]mountEntry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []mountEntry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if e, ok := parseMount(lines.Text()); ok {
			list = append(list, e)
		}
	}
	return list, lines.Err()
}

// parseMount reads a line of mountinfo (proc(5)): ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPER.
func parseMount(line string) (mountEntry, bool) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 6 || len(right) < 2 || right[0] != "fuse.granary" {
		return mountEntry{}, false
	}
	return mountEntry{point: unescape(left[4]), source: unescape(right[1]), options: left[5]}, true
}

// unescape reads \ooo for bytes that would end a field.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// condition says in a word what an error of askMount tells of a mount.
func condition(err error) string {
	switch {
	case err == nil:
		return "up"
	case errors.Is(err, syscall.ENOTCONN):
		return "dead"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "not yours"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.Is(err, syscall.ENODATA), errors.Is(err, syscall.EOPNOTSUPP):
		return "older release"
	}
	return err.Error()
}
