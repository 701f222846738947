package disk

// AtOnceReader is a File whose bytes the system may hold in memory.
type AtOnceReader interface {
	// ReadAtOnce fills parts, one after the other, with the bytes from an offset on, and reports true, if memory has all of them. It
	// never waits for the disk. What is in parts after false is anything.
	ReadAtOnce(parts [][]byte, off int64) bool
}

// ReadAtOnce implements AtOnceReader.
func (f *osFile) ReadAtOnce(parts [][]byte, off int64) bool { return readAtOnce(f.f, parts, off) }

// ReadAtOnce implements AtOnceReader.
func (c *ColdFile) ReadAtOnce(parts [][]byte, off int64) bool { return readAtOnce(c.f, parts, off) }
