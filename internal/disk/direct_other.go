//go:build !linux

package disk

import "os"

const directFlag = 0

func reopen(*os.File, int) *os.File { return nil }

// Memory returns a buffer that is written to a disk at the least cost, if it is large.
func Memory(size int) []byte { return make([]byte, size) }
