// Command blockbench measures the block path of a running cluster: what a client and the servers do with content, without a door
// in front of it.
//
//	write   one stream of unique data, cut by content, until it is durable and named
//	read    the same, from start to end
//	random  reads of 4 KiB of it anywhere, and what shard reads they cost
//	thin    many files of 16 KiB by 16 writers
//	repair  a disk is taken away from a running server: how soon that is noticed, how fast its shards are made anew on other disks,
//	        and, with files to read, what is left for those who read
//	fill    a disk with a terabyte of shards is made, nearly all of it holes
//	serve   a volume server with that disk: how soon it answers, and how much memory it takes
//
// The processes that are named by --pids are charged together with blockbench itself, which comes first. What it writes is made before the clock runs, but
// for a counter every 32 KiB.
package main
