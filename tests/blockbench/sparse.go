package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
	"github.com/dsorchard/granary/tests/measure"
	"github.com/dsorchard/granary/volume"
)

// What a full disk looks like, but for the room that it takes: every block has content for one page, and a hole behind it.
const (
	sparseShards  = 1000
	sparseBlocks  = 1000    // of a shard
	sparseEvery   = 1 << 20 // from one block to the next
	sparseLength  = 1 << 30 // of a shard's stream
	sparseFirst   = 1 << 20 // volume id, beyond those of the cluster
	sparseReads   = 2000
	sparseContent = 3900
	readyWithin   = 20 * time.Second

	// Of a shard file, as package volume has it.
	pageSize   = 4096
	headSize   = 4 * pageSize
	volumeAt   = 16
	checksumAt = pageSize - 4
)

// sparseChunk returns the only chunk there is, as it is stored.
func sparseChunk() (stored []byte, hash granary.Hash) {
	content := make([]byte, sparseContent)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	hash = block.HashOf(content)
	return block.NewCodec().Append(nil, 1, hash, content, granary.CompressionNone), hash
}

// fill makes a disk of a terabyte: it has package volume make one shard, by appends and a seal, and writes that another 999 times
// under other names.
func fill(ctx context.Context, s settings) error {
	began := time.Now()
	name, err := sparseTemplate(ctx, s.dir)
	if err != nil {
		return err
	}
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	head, page, table := make([]byte, headSize), make([]byte, pageSize), make([]byte, info.Size()-headSize-sparseLength)
	_, err1 := from.ReadAt(head, 0)
	_, err2 := from.ReadAt(page, headSize)
	_, err3 := from.ReadAt(table, headSize+sparseLength)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for i := 1; i < sparseShards && ctx.Err() == nil; i++ {
		id := uint64(sparseFirst + i)
		binary.LittleEndian.PutUint64(head[volumeAt:], id)
		binary.LittleEndian.PutUint32(head[checksumAt:], crc32.Checksum(head[:checksumAt], crc32.MakeTable(crc32.Castagnoli)))
		if err := sparseCopy(filepath.Join(filepath.Dir(name), fmt.Sprintf("%d.0", id)), head, page, table); err != nil {
			return err
		}
	}
	fmt.Printf("sparse %d shards of 1 GiB with %d blocks in all, made in %.1f s\n", sparseShards, sparseShards*sparseBlocks, time.Since(began).Seconds())
	return ctx.Err()
}

// sparseTemplate formats a disk, makes its first shard, and returns that one's file.
func sparseTemplate(ctx context.Context, dir string) (name string, err error) {
	store, err := volume.Open(volume.Options{Dirs: []string{dir}, ScrubEvery: -1})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stored, _ := sparseChunk()
	ref := granary.ShardRef{Disk: store.Usage()[0].Disk, Volume: sparseFirst}
	end := uint64(0)
	for i := range uint64(sparseBlocks) {
		err := store.Append(ctx, &granary.Append{
			Ref: ref, Epoch: 1, DataShards: 4, ParityShards: 2, Prev: end, Offset: i * sparseEvery, Data: stored,
			CRC32C: crc32.Checksum(stored, crc32.MakeTable(crc32.Castagnoli)),
		})
		if err != nil {
			return "", err
		}
		end = i*sparseEvery + uint64(len(stored))
	}
	err = store.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, DataShards: 4, ParityShards: 2, Length: sparseLength, End: end})
	return filepath.Join(dir, "shards", fmt.Sprintf("%d.0", sparseFirst)), err
}

func sparseCopy(name string, head, page, table []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(head, 0)
	for i := int64(0); i < sparseBlocks && err == nil; i++ {
		_, err = f.WriteAt(page, headSize+i*sparseEvery)
	}
	if err == nil {
		_, err = f.WriteAt(table, headSize+sparseLength)
	}
	return errors.Join(err, f.Close())
}

// serve starts a volume server on the disk that fill made, and measures how soon it answers and how much memory it takes: then, after
// its shards have been listed as the leader does, and after reads of blocks anywhere.
func serve(ctx context.Context, s settings) (err error) {
	addr := fmt.Sprintf("127.0.0.1:%d", s.base+100)
	server := exec.CommandContext(ctx, s.binary, "serve", "volume", "--dir", s.dir, "--listen-base", fmt.Sprint(s.base), "--cluster", s.cluster, "--log-level", "error")
	server.Stderr = os.Stderr
	began := time.Now()
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, server.Process.Signal(os.Interrupt))
		_ = server.Wait() // it was told to end
	}()
	if err := ready(ctx, "http://"+addr+"/healthz"); err != nil {
		return err
	}
	fmt.Printf("sparse ready after %d ms\n", time.Since(began).Milliseconds())
	memory := func(when string) error {
		peak, now, err := measure.PeakMemory(server.Process.Pid)
		if err == nil {
			fmt.Printf("sparse %d MiB resident %s, %d at most so far\n", now>>20, when, peak>>20)
		}
		return err
	}
	c := volume.NewClient()
	defer func() { err = errors.Join(err, c.Close()) }()
	usages, err := c.Usage(ctx, addr)
	if err := errors.Join(err, memory("then")); err != nil {
		return err
	}
	began = time.Now()
	infos, err := c.List(ctx, addr, usages[0].Disk)
	if err != nil || len(infos) != sparseShards || slices.ContainsFunc(infos, func(i granary.ShardInfo) bool { return i.Damaged != "" || i.Length != sparseLength }) {
		return fmt.Errorf("%d shards: %w", len(infos), err)
	}
	fmt.Printf("sparse listed in %d ms\n", time.Since(began).Milliseconds())
	if err := errors.Join(memory("then"), readAnywhere(ctx, c, addr, infos)); err != nil {
		return err
	}
	return memory("then")
}

// ready returns when a server answers.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

// readAnywhere reads and verifies blocks, by themselves and by the page table.
func readAnywhere(ctx context.Context, c *volume.Client, addr string, infos []granary.ShardInfo) error {
	stored, hash := sparseChunk()
	p, mib := make([]byte, len(stored)), make([]byte, 1<<20)
	s, err := measure.Run(ctx, nil, time.Minute, 16, sparseReads, func(ctx context.Context, _ int) error {
		ref, off := infos[rand.IntN(len(infos))].Ref, rand.Int64N(sparseBlocks)*sparseEvery
		p := slices.Clone(p)
		if _, _, err := c.ReadAt(ctx, addr, ref, p, off); err != nil {
			return err
		}
		return block.Check(p, hash)
	})
	if err != nil {
		return err
	}
	fmt.Printf("sparse %.0f reads/s of blocks, p99 %.2f ms\n", s.Rate(), s.Milliseconds(0.99))
	for range 100 {
		if _, _, err := c.ReadSealed(ctx, addr, infos[rand.IntN(len(infos))].Ref, mib, rand.Int64N(sparseBlocks)*sparseEvery); err != nil {
			return err
		}
	}
	return nil
}
