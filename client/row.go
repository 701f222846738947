package client

import (
	"cmp"
	"slices"

	"github.com/dsorchard/granary"
)

// row is what a writer adds to a volume in one flush.
type row struct {
	blocks []*placed
	bytes  int
	wanted bool // someone waits for it to be durable
}

// spot is where a block of a row lies.
type spot struct {
	shard  int
	offset uint64 // from the row's start
}

// layRow places blocks of the given lengths on k streams, each contiguous, the largest first on the
// shortest stream. Among equally short streams it takes the one of the shard that holds the least
// so far, so that rows of single blocks use all disks. It returns each block's spot and each
// stream's length.
func layRow(lengths []int, held []uint64) ([]spot, []uint64) {
	order := make([]int, len(lengths))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lengths[b], lengths[a]) })
	spots := make([]spot, len(lengths))
	streams := make([]uint64, len(held))
	for _, i := range order {
		best := 0
		for s := range streams {
			if streams[s] < streams[best] || streams[s] == streams[best] && held[s] < held[best] {
				best = s
			}
		}
		spots[i] = spot{best, streams[best]}
		streams[best] += uint64(lengths[i])
	}
	return spots, streams
}

// alignUp rounds up to granary.RowAlignment.
func alignUp(n uint64) uint64 {
	return (n + granary.RowAlignment - 1) &^ (granary.RowAlignment - 1)
}

// padMin is the least size of a stream that is worth to be padded: what is shorter is not written past the system's memory, and may be one of
// very many.
const padMin = 1 << 20

// padded returns how much of a shard a stream of a row takes. It ends with zeros where the next row may begin, which is what is read there in
// any case: a disk takes whole pages past the system's memory, and the rest of one costs a write of its own before it is durable.
func padded(n uint64) uint64 {
	if n < padMin {
		return n
	}
	return alignUp(n)
}
