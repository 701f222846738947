// Package cluster runs real Granary processes for tests: an all-in-one server, or a cluster of
// processes, with mounts and clients, and the means to kill them. Everything is on loopback, in
// directories of the test, and gone when the test ends.
package cluster
