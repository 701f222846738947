package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/measure"
	"github.com/dsorchard/granary/volume"
)

const (
	poolSize   = 16 << 20 // noise that streams are made of
	stampEvery = 32 << 10 // bytes between two counters, which make it unique
	writeSize  = 1 << 20
	readSize   = 8 << 20
	smallSize  = 4 << 10
	thinSize   = 16 << 10
	windowSize = 64 << 20 // of a layout
	writers    = 16
)

// noise is a stream that never repeats, and costs next to nothing to make.
type noise struct {
	pool  []byte
	stamp uint64
	at    int
}

func newNoise() *noise {
	var seed [32]byte
	for i := range 4 {
		binary.LittleEndian.PutUint64(seed[8*i:], rand.Uint64())
	}
	n := &noise{pool: make([]byte, poolSize), stamp: rand.Uint64()}
	_, _ = rand.NewChaCha8(seed).Read(n.pool) // never fails
	return n
}

// next returns the stream's next bytes, until the next call.
func (n *noise) next(size int) []byte {
	if n.at+size > len(n.pool) {
		n.at = 0
	}
	p := n.pool[n.at : n.at+size]
	n.at += size
	for i := 0; i+8 <= size; i += stampEvery {
		n.stamp++
		binary.LittleEndian.PutUint64(p[i:], n.stamp*0x9E3779B97F4A7C15)
	}
	return p
}

// write makes the stream's file.
func (b *bench) write(ctx context.Context) error {
	n := newNoise()
	return b.cost("write", b.mib<<20, func() error {
		u, err := b.c.NewUpload(ctx, client.UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: b.name, Mode: 0o644, Replace: true}})
		if err != nil {
			return err
		}
		defer u.Abort()
		for left := b.mib << 20; left > 0; left -= writeSize {
			if _, err := u.Write(n.next(writeSize)); err != nil {
				return err
			}
		}
		_, err = u.Finish(nil)
		return err
	})
}

// layouts returns the windows of a file.
func (b *bench) layouts(ctx context.Context, name string) ([]*granary.Layout, error) {
	var all []*granary.Layout
	for off := uint64(0); ; off += windowSize {
		found, err := client.Ask[*granary.Found](ctx, b.c, &granary.Lookup{
			Base: granary.RootInode, Path: name, Layout: &granary.Range{Offset: off, Length: windowSize},
		})
		if err != nil {
			return nil, err
		}
		all = append(all, found.Layout)
		if off+windowSize >= found.Layout.Size {
			return all, nil
		}
	}
}

// read reads it from start to end.
func (b *bench) read(ctx context.Context) error {
	all, err := b.layouts(ctx, b.name)
	if err != nil {
		return err
	}
	return b.cost("read", int64(all[0].Size), func() error { return b.readThrough(ctx, all, func(uint64) {}) })
}

// readThrough reads a file from start to end, and tells how many bytes more it has read.
func (b *bench) readThrough(ctx context.Context, all []*granary.Layout, more func(uint64)) error {
	size, p := all[0].Size, make([]byte, readSize)
	for off := uint64(0); off < size; off += readSize {
		l := all[off/windowSize]
		n := min(readSize, size-off)
		if ahead := off + readSize; ahead < size {
			b.c.Prefetch(all[ahead/windowSize], ahead, min(readSize, size-ahead))
		}
		if err := b.c.ReadLayout(ctx, l, p[:n], off); err != nil {
			return err
		}
		more(n)
	}
	return nil
}

// random reads 4 KiB of it anywhere, and counts the shard reads.
func (b *bench) random(ctx context.Context) error {
	all, err := b.layouts(ctx, b.name)
	if err != nil {
		return err
	}
	b.shards.take()
	s, err := measure.Run(ctx, nil, b.each, 1, 1<<30, func(ctx context.Context, _ int) error {
		p := make([]byte, smallSize)
		off := uint64(rand.Int64N(int64(all[0].Size)-smallSize)) &^ (smallSize - 1)
		return b.c.ReadLayout(ctx, all[off/windowSize], p, off)
	})
	if err != nil {
		return err
	}
	sizes := b.shards.take()
	if len(sizes) == 0 {
		return errors.New("no shard was read")
	}
	slices.Sort(sizes)
	within, _ := slices.BinarySearch(sizes, 68<<10+1)
	fmt.Printf("random %8.1f reads/s  p50 %.2f ms  p99 %.2f ms  %.3f shard reads each, %.1f %% of them of at most 68 KiB, the largest %d bytes\n",
		s.Rate(), s.Milliseconds(0.5), s.Milliseconds(0.99),
		float64(len(sizes))/float64(len(s.Latencies)), 100*float64(within)/float64(len(sizes)), sizes[len(sizes)-1])
	return nil
}

// thin writes many small files, as many at a time as there are writers.
func (b *bench) thin(ctx context.Context) error {
	dir := fmt.Sprintf("thin-%x", rand.Uint64())
	return b.cost("thin", int64(b.files)*thinSize, func() error {
		_, err := measure.Run(ctx, nil, time.Hour, writers, b.files, func(ctx context.Context, i int) error {
			u, err := b.c.NewUpload(ctx, client.UploadOptions{Create: granary.Create{
				Parent: granary.RootInode, Name: fmt.Sprintf("%s/%02d/%06d", dir, i%writers, i), Mode: 0o644, MakeParents: true,
			}, Home: granary.RootInode})
			if err != nil {
				return err
			}
			defer u.Abort()
			p := make([]byte, thinSize)
			for i := 0; i < len(p); i += 8 {
				binary.LittleEndian.PutUint64(p[i:], rand.Uint64())
			}
			if _, err := u.Write(p); err != nil {
				return err
			}
			_, err = u.Finish(nil)
			return err
		})
		return err
	})
}

// counted notes the sizes of the shard reads that go through it.
type counted struct {
	*volume.Client
	mu    sync.Mutex
	sizes []int
}

func (c *counted) ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	c.mu.Lock()
	c.sizes = append(c.sizes, len(p))
	c.mu.Unlock()
	return c.Client.ReadAt(ctx, addr, ref, p, off)
}

func (c *counted) take() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sizes := c.sizes
	c.sizes = nil
	return sizes
}
