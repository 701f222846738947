package md5lanes

import "golang.org/x/sys/cpu"

// supported reports whether blocks can be used.
func supported() bool { return cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL }

// blocks hashes count blocks of each lane, at least one, into its state. The first index of the state is the word, a to d.
//
//go:noescape
func blocks(state *[4][width]uint32, data *[width]*byte, count int)
