// Package disktest is the conformance suite of disk.FS: what every implementation does alike, and what the rest of
// Granary relies on.
package disktest
