package sha256pair

import "github.com/klauspost/cpuid/v2"

// supported reports whether blocks can be used.
func supported() bool { return cpuid.CPU.Supports(cpuid.SHA, cpuid.SSSE3) }

// blocks hashes count blocks, at least one, of each message into its state.
//
//go:noescape
func blocks(stateA, stateB *state, dataA, dataB *byte, count int)
