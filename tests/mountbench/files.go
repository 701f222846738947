package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/dsorchard/granary/tests/measure"
)

const (
	largeIO   = 1 << 20
	smallIO   = 4 << 10
	runs      = 3   // of what takes seconds
	syncs     = 300 // of one write each, at most
	writes    = 4096
	filesMax  = 40_000
	readsMax  = 10_000_000
	randomMiB = 256 // of the files that are read and written at random
)

// mebibytes returns MiB a second.
func mebibytes(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }

// perMiB says what CPU time n MiB took.
func perMiB(cpu float64, n int) string {
	return fmt.Sprintf("%.2f cpu-s/GiB", cpu*1024/float64(n))
}

func perThousand(cpu float64, n int) string {
	return fmt.Sprintf("%.2f cpu-s/1000", cpu*1000/float64(max(n, 1)))
}

// random is content that does not shrink and has no copy anywhere.
func random(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// fill writes a file of so many MiB in large pieces, and syncs it.
func fill(name string, mib int, content [][]byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for i := 0; i < mib && err == nil; i++ {
		_, err = f.Write(content[i])
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// pieces are so many MiB of content, made beforehand.
func pieces(mib int, seed uint64) ([][]byte, error) {
	r := random(seed)
	list := make([][]byte, mib)
	for i := range list {
		list[i] = make([]byte, largeIO)
		if _, err := io.ReadFull(r, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// stream is sequential writing and reading.
func (b *bench) stream(ctx context.Context) error {
	name := func(i int) string { return filepath.Join(b.dir, fmt.Sprintf("stream-%d", i)) }
	var content [][]byte
	prepare := func(i int) (err error) {
		content, err = pieces(b.fileMiB, uint64(time.Now().UnixNano())) // what earlier runs have stored must not help
		return err
	}
	s, err := b.timed(ctx, runs, prepare, func(i int) error { return fill(name(i), b.fileMiB, content) })
	if err != nil {
		return err
	}
	took, cpu := s.median()
	if err := b.result("write", mebibytes(b.fileMiB, took), "MiB/s", perMiB(cpu, b.fileMiB)); err != nil {
		return err
	}
	content = nil
	read := func(i int) error {
		f, err := os.Open(name(i))
		if err != nil {
			return err
		}
		buf := make([]byte, largeIO)
		for err == nil {
			_, err = f.Read(buf)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return errors.Join(err, f.Close())
	}
	if s, err = b.timed(ctx, runs, func(int) error { return b.chill(ctx) }, read); err != nil {
		return err
	}
	took, cpu = s.median()
	if err := b.result("read-cold", mebibytes(b.fileMiB, took), "MiB/s", perMiB(cpu, b.fileMiB)); err != nil {
		return err
	}
	if s, err = b.timed(ctx, runs+1, nil, func(int) error { return read(runs - 1) }); err != nil {
		return err
	}
	took, cpu = s.median()
	return b.result("read-warm", mebibytes(b.fileMiB, took), "MiB/s", perMiB(cpu, b.fileMiB))
}

// spread returns random offsets of small pieces in a file of randomMiB.
func spread(n int) []int64 {
	offsets := make([]int64, n)
	for i := range offsets {
		offsets[i] = rand.Int64N(randomMiB<<20/smallIO) * smallIO
	}
	return offsets
}

// fillRandom makes the file that is read and written at random.
func fillRandom(name string) error {
	content, err := pieces(randomMiB, uint64(time.Now().UnixNano()))
	if err != nil {
		return err
	}
	return fill(name, randomMiB, content)
}

// randomReads reads small pieces at random, by one thread and by eight, from cold caches.
func (b *bench) randomReads(ctx context.Context) error {
	name := filepath.Join(b.dir, "file")
	if err := fillRandom(name); err != nil {
		return err
	}
	for _, threads := range []int{1, 8} {
		if err := b.chill(ctx); err != nil {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		s, err := b.repeated(ctx, threads, readsMax, func(context.Context, int) error {
			var buf [smallIO]byte
			_, err := f.ReadAt(buf[:], rand.Int64N(randomMiB<<20/smallIO)*smallIO)
			return err
		})
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if err := b.result(fmt.Sprintf("randread-%d", threads), s.Rate(), "/s", perThousand(s.CPU, len(s.Latencies))); err != nil {
			return err
		}
	}
	return nil
}

// randomWrites writes small pieces at random and then syncs, and one by one with a sync of each.
func (b *bench) randomWrites(ctx context.Context) error {
	name := filepath.Join(b.dir, "file")
	if err := fillRandom(name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	piece := make([]byte, smallIO)
	r := random(1)
	write := func(at int64) error {
		if _, err := io.ReadFull(r, piece); err != nil {
			return err
		}
		_, err := f.WriteAt(piece, at)
		return err
	}
	s, err := b.timed(ctx, runs, nil, func(int) error {
		for _, at := range spread(writes) {
			if err := write(at); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err != nil {
		return err
	}
	took, cpu := s.median()
	if err := b.result("randwrite", writes/took.Seconds(), "/s", perThousand(cpu, writes)); err != nil {
		return err
	}
	at := spread(syncs)
	one, err := b.repeated(ctx, 1, syncs, func(_ context.Context, i int) error { return errors.Join(write(at[i]), f.Sync()) })
	if err != nil {
		return err
	}
	return b.result("writesync", one.Milliseconds(0.5), "ms", perThousand(one.CPU, len(one.Latencies))+quantiles(one))
}

func quantiles(s *measure.Sample) string {
	return fmt.Sprintf(", p99 %.1f ms", s.Milliseconds(0.99))
}

// creates makes small files, each thread in a directory of its own.
func (b *bench) creates(ctx context.Context) error {
	for _, threads := range []int{1, 8} {
		root := filepath.Join(b.dir, fmt.Sprint(threads))
		for t := range threads {
			if err := os.MkdirAll(filepath.Join(root, fmt.Sprint(t)), 0o755); err != nil {
				return err
			}
		}
		s, err := b.repeated(ctx, threads, filesMax, func(_ context.Context, i int) error {
			piece := make([]byte, smallIO)
			if _, err := io.ReadFull(random(uint64(i)), piece); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(root, fmt.Sprint(i%threads), fmt.Sprintf("file-%d", i)), piece, 0o644)
		})
		if err != nil {
			return err
		}
		if err := b.result(fmt.Sprintf("create-%d", threads), s.Rate(), "/s", perThousand(s.CPU, len(s.Latencies))+quantiles(s)); err != nil {
			return err
		}
	}
	return nil
}
