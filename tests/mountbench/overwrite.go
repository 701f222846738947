package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	pageSize  = 8 << 10
	syncEvery = 32
)

// overwrite writes pages of a large file at random, and syncs after so many, for a while: it prints what that took as time goes by,
// and what is stored, and then reads all of the file, whose every page says which write it is of.
func overwrite(ctx context.Context, s settings) error {
	if s.path == "" {
		return errNoPath
	}
	b := &bench{settings: s}
	return b.inDirectory("overwrite", func() error {
		f, err := os.Create(filepath.Join(b.dir, "file"))
		if err != nil {
			return err
		}
		w := &overwriting{b: b, f: f, written: make([]uint64, b.fileMiB<<20/pageSize)}
		err = w.all(ctx)
		return errors.Join(err, f.Close())
	})
}

// overwriting is the file, and what it should hold.
type overwriting struct {
	b       *bench
	f       *os.File
	written []uint64 // by page: the number of the write that it holds
	last    uint64   // write
	page    [pageSize]byte
}

func (w *overwriting) all(ctx context.Context) error {
	for i := range w.written {
		if err := w.write(i); err != nil {
			return err
		}
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	began := time.Now()
	for time.Since(began) < w.b.length && ctx.Err() == nil {
		if err := w.period(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.verify(ctx)
}

// write writes a page, with the number of the write and content that follows from it.
func (w *overwriting) write(i int) error {
	w.last++
	w.fill(i, w.last)
	w.written[i] = w.last
	_, err := w.f.WriteAt(w.page[:], int64(i)*pageSize)
	return err
}

func (w *overwriting) fill(i int, n uint64) {
	random(n).Read(w.page[16:]) // never fails
	binary.LittleEndian.PutUint64(w.page[:], uint64(i))
	binary.LittleEndian.PutUint64(w.page[8:], n)
}

// period is one line of what is printed.
func (w *overwriting) period(ctx context.Context, at time.Duration) error {
	const length = 20 * time.Second
	var took []time.Duration
	s, err := w.b.timed(ctx, 1, nil, func(int) error {
		for began := time.Now(); time.Since(began) < length && ctx.Err() == nil; {
			start := time.Now()
			for range syncEvery {
				if err := w.write(rand.IntN(len(w.written))); err != nil {
					return err
				}
			}
			if err := w.f.Sync(); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		}
		return nil
	})
	if err != nil {
		return err
	}
	elapsed, cpu := s.median()
	space, err := w.space(ctx)
	if err != nil {
		return err
	}
	ms := func(q float64) float64 { return float64(quantile(took, q).Microseconds()) / 1000 }
	fmt.Printf("%-10s %5.0f s: %7.0f writes/s, %d and a sync take p50 %.1f ms, p99 %.1f ms, at most %.1f ms; %.2f cpu-s/s; %s\n", w.b.name, at.Seconds(),
		float64(len(took)*syncEvery)/elapsed.Seconds(), syncEvery, ms(0.5), ms(0.99), ms(0.9999999), cpu/elapsed.Seconds(), space)
	return nil
}

// space is what the command of --space-by prints.
func (w *overwriting) space(ctx context.Context) (string, error) {
	if w.b.spaceBy == "" {
		return "", nil
	}
	out, err := exec.CommandContext(ctx, "sh", "-c", w.b.spaceBy).Output()
	return strings.Join(strings.Fields(string(out)), " "), err
}

// verify reads the file.
func (w *overwriting) verify(ctx context.Context) error {
	if _, err := w.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var got [pageSize]byte
	for i, n := range w.written {
		if _, err := io.ReadFull(w.f, got[:]); err != nil {
			return err
		}
		if w.fill(i, n); got != w.page {
			return fmt.Errorf("page %d is not that of write %d", i, n)
		}
		if i%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	fmt.Printf("%-10s %d pages are right after %d writes\n", w.b.name, len(w.written), w.last)
	return nil
}
