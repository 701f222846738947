package main

import "github.com/dsorchard/granary"

// memoryShare is how a mount divides its memory: the rest is for what is under way and for the garbage collector.
type memoryShare struct {
	cache  int64 // decoded chunks
	writes int64 // dirty data
	kept   int64 // attributes, names and listings
	nodes  int   // files and directories that the kernel remembers
}

const (
	memoryLeast = 128 << 20
	// memoryProgram is what the program itself takes: its code, and what it needs before it does anything.
	memoryProgram = 32 << 20
	// nodeBytes is what a file or directory that the kernel remembers takes in this process: measured, 980 bytes with what the garbage collector has not
	// come to yet. Files beyond the share are forgotten, however many there are.
	nodeBytes = 1 << 10
)

// shareMemory divides memory, and has the garbage collector keep to it.
func shareMemory(bytes int64) (memoryShare, error) {
	if bytes < memoryLeast {
		return memoryShare{}, usagef("--memory %s is less than the %s that a mount needs", byteText(uint64(bytes)), byteText(memoryLeast))
	}
	bytes -= memoryProgram
	limitMemory(bytes / 10 * 9) // what the collector does not know of, such as memory that servers fill, comes on top
	return memoryShare{cache: max(bytes/4, 2*granary.ChunkSizeMax), writes: bytes / 5, kept: bytes / 10, nodes: int(bytes / 5 / nodeBytes)}, nil
}
