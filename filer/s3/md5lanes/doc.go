// Package md5lanes computes the MD5 of many streams at the same time, for a small part of what it costs to compute one after the other: each step of
// MD5 needs the result of the step before, so that most of a processor waits, and its wide registers (AVX-512) do a step of eight streams in the time
// of one.
//
// A stream is copied into pieces of pieceSize. Those that are full are offered, and more are filled meanwhile, up to piecesMax: uploads come in bursts.
// A stream that has no more room hashes its oldest piece itself, and with it the oldest of up to seven other streams that offer some at that time; so
// does the stream that is the eighth to offer one. If there are few, goroutines that can run go first, for they may offer some: else nobody waits for
// company. There are no goroutines, and a stream that is alone takes as long as it does with crypto/md5, which is what hashes it then.
package md5lanes
