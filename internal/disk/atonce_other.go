//go:build !linux

package disk

import "os"

// readAtOnce is AtOnceReader.ReadAtOnce where no read is known not to wait.
func readAtOnce(*os.File, [][]byte, int64) bool { return false }
