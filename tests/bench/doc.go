// Command bench drives the doors of a file store and prints what it measured: any S3 endpoint (PUT,
// GET, LIST, DELETE of several sizes at several concurrencies) and any directory (create, stat,
// readdir, read, write, rename, unlink with several threads). It knows nothing of Granary, so the
// same numbers can be taken of a peer and of a plain disk in the same run.
//
// Each cell of the grid runs for a bounded time and a bounded count, and reports operations and
// megabytes per second, the median and the 99th percentile of the latency, and, if a process id is
// given, the CPU seconds that the server spent for each thousand operations.
package main
