package master

import "testing"

// TestMemoryTablesLeaveRoom: what is written takes no more than three quarters of the block cache, however small the memory is that a server is given.
func TestMemoryTablesLeaveRoom(t *testing.T) {
	for _, cacheBytes := range []int64{24 << 20, 60 << 20, 128 << 20, cacheBytesDefault, 4 << 30} {
		if tables, blocks := 2*int64(memTableBytes(cacheBytes)), blockCacheBytes(cacheBytes); tables > blocks*3/4 {
			t.Errorf("of a cache of %d bytes, two memory tables take %d of %d", cacheBytes, tables, blocks)
		}
	}
}
