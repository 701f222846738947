// Package sha256pair computes the SHA-256 of two messages of the same length in little more than the time of one: each step of SHA-256 needs the result
// of the step before, so that a processor's SHA instructions wait most of the time, and steps of another message fit in between. Where there are no such
// instructions, crypto/sha256 hashes one after the other.
package sha256pair
