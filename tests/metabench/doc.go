// Command metabench measures the metadata master: operations and queries through the client library against masters
// that run, the same entries through bare hashicorp/raft in as many processes, and what ten million inodes cost.
//
//	metabench ops   --cluster HOST:PORT,…   mutations and queries at 1, 16, 64 and 256 callers
//	metabench raft                          bare Raft: three processes, the master's log store, a Pebble batch an entry
//	metabench load  --cluster … --inodes N  fills a cluster, and says how fast
//	metabench big   --cluster …             one directory of a million entries, one tree of 100,000 files
//	metabench wide  --cluster …             that directory alone
//	metabench blocks --cluster … --blocks N files of 64 blocks that nobody has, which takes no volume servers
//	metabench failover --dir …              leaders that fail under a stream of creates, and how long nobody is answered
//
// run.sh runs all of it in one go, beside the processes whose CPU time and memory it reports.
package main
