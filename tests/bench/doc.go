// Command bench drives the doors of a file store and prints what it measured: any S3 endpoint (PUT,
// GET, LIST, DELETE of several sizes at several concurrencies) and any directory (create, stat,
// readdir, read, write, rename, unlink with several threads). It knows nothing of Granary, so the
// same numbers can be taken of a peer and of a plain disk in the same run.
//
// So "bench s3 --endpoint HOST:PORT --access-key … --secret-key … --sizes 4K,1M --callers 8 --each 10s" measures any
// endpoint, and beside.sh measures Granary and MinIO in turns.
//
// Each cell of the grid runs for a bounded time and a bounded count, and reports operations (of
// listings: keys) and MiB per second, the median and the 99th percentile of the latency, and, if a process id is
// given, the CPU seconds that the server spent for each thousand operations and for each GiB, and how much memory it had at most
// until then.
package main
