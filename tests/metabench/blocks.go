package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/internal/wire"
)

// Files whose blocks nobody has: what the master stores is that of real ones, but no byte of them was ever written, and
// the volume servers are heartbeats alone. A cluster that this ran against is of no other use.
const (
	blockServers   = 6  // so that volumes are 4+2
	blocksOfFile   = 64 // of 1 MiB
	blocksOfRow    = 16
	blockRaw       = 1 << 20
	blockStored    = blockRaw + 16*16 + 64 // with the trailers of its frames, and about a header
	heartbeatEvery = time.Second
)

// commitBlocks makes files of 64 MiB until they have so many blocks.
func commitBlocks(ctx context.Context, s settings, c *client.Client) error {
	beating, stop := context.WithCancel(ctx)
	var servers sync.WaitGroup
	defer servers.Wait()
	defer stop()
	beats := make(chan error, 1) // the outcome of the first round
	servers.Go(func() { beat(beating, s, c.Cluster(), beats) })
	if err := <-beats; err != nil {
		return err
	}
	root, err := mkdir(ctx, c, granary.RootInode, unique("blocks"))
	if err != nil {
		return err
	}
	files := (s.blocks + blocksOfFile - 1) / blocksOfFile
	var next atomic.Int64
	errs := make([]error, loadCallers)
	var callers sync.WaitGroup
	start := time.Now()
	for w := range loadCallers {
		callers.Go(func() { errs[w] = commitFiles(ctx, c, root, &next, files) })
	}
	callers.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Printf("blocks: %d of 1 MiB in %d files in %v, %.0f/s\n", files*blocksOfFile, files, took.Round(time.Second), float64(files*blocksOfFile)/took.Seconds())
	return nil
}

// beat sends the heartbeats of servers that do not exist to every master, and the outcome of the first to first.
func beat(ctx context.Context, s settings, cluster granary.ClusterID, first chan<- error) {
	masters, hangUp, err := dialAll(s)
	defer func() { _ = hangUp() }() // nothing is under way any more
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for round := 0; ; round++ {
		if err == nil {
			err = beatAll(ctx, masters, cluster)
		}
		if round == 0 {
			first <- err
		}
		if err = nil; ctx.Err() != nil { // of later rounds: the next one is soon
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// dialAll returns all masters, and what hangs up.
func dialAll(s settings) (masters []wire.Master, hangUp func() error, err error) {
	var closes []func() error
	hangUp = func() error {
		var errs []error
		for _, c := range closes {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, addr := range strings.Split(s.cluster, ",") {
		m, c, err := wire.DialMaster(addr)
		if err != nil {
			return nil, hangUp, err
		}
		masters, closes = append(masters, m), append(closes, c)
	}
	return masters, hangUp, nil
}

// beatAll sends one heartbeat of each server to each master. One that answers as the leader is enough.
func beatAll(ctx context.Context, masters []wire.Master, cluster granary.ClusterID) error {
	led := false
	var errs []error
	for _, m := range masters {
		for i := range blockServers {
			name := fmt.Sprintf("nobody-%d", i)
			reply, err := m.Heartbeat(ctx, &granary.Heartbeat{
				Server: granary.ServerID(name), Cluster: cluster, Addr: fmt.Sprintf("127.0.0.1:%d", i+1),
				Disks: []granary.DiskUsage{{Disk: granary.DiskID(name + "-disk"), Total: 1 << 50, Free: 1 << 49}},
			})
			led = led || err == nil && reply.Leader
			errs = append(errs, err)
		}
	}
	if led {
		return nil
	}
	return errors.Join(append(errs, errors.New("no master leads"))...)
}

// commitFiles makes files in a volume of its own.
func commitFiles(ctx context.Context, c *client.Client, root granary.InodeID, next *atomic.Int64, files int) error {
	r, err := c.Do(ctx, granary.Cred{}, &granary.OpenVolume{Policy: 1})
	if err != nil {
		return err
	}
	rows := uint64(0)
	for {
		n := int(next.Add(1)) - 1
		if n >= files || ctx.Err() != nil {
			return nil
		}
		content := contentOf(n, r.Volume, rows)
		rows += blocksOfFile / blocksOfRow
		_, err := c.Do(ctx, granary.Cred{}, &granary.Create{
			Parent: root, Name: fmt.Sprintf("file-%08d", n), Type: granary.TypeRegular, Mode: 0o644, Content: content})
		if err != nil {
			return err
		}
	}
}

// contentOf is the content of file n, whose blocks lie in a volume from a row on.
func contentOf(n int, v *granary.Volume, row uint64) *granary.Content {
	perShard := (blocksOfRow + v.DataShards - 1) / v.DataShards
	rowBytes := (uint64(perShard)*blockStored + granary.RowAlignment - 1) / granary.RowAlignment * granary.RowAlignment
	content := &granary.Content{Size: blocksOfFile * blockRaw}
	for i := range blocksOfFile {
		begin := (row + uint64(i/blocksOfRow)) * rowBytes
		k := i % blocksOfRow
		chunk := granary.Chunk{
			Hash: hashOf(uint64(n*blocksOfFile + i)), RawLength: blockRaw, New: true, Watermark: begin + rowBytes,
			Location: granary.Location{Volume: v.ID, Epoch: v.Epoch, Shard: uint8(k % v.DataShards),
				Offset: begin + uint64(k/v.DataShards)*blockStored, Length: blockStored},
		}
		content.Chunks = append(content.Chunks, chunk)
		content.Extents = append(content.Extents, granary.ExtentWrite{Offset: uint64(i) * blockRaw, Length: blockRaw, Chunk: uint32(i)})
	}
	return content
}

// hashOf is as random as the hash of a chunk, and like that does not compress.
func hashOf(n uint64) granary.Hash { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n)) }
