package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// dirTarget is a directory of any file system.
type dirTarget struct{ path string }

const (
	smallFile = 4 << 10
	largeIO   = 1 << 20
	filesMax  = 20_000
)

func (d *dirTarget) run(ctx context.Context, t *table) error {
	if d.path == "" {
		return errors.New("--path is missing")
	}
	for _, threads := range []int{1, 8} {
		root, err := os.MkdirTemp(d.path, "bench-")
		if err != nil {
			return err
		}
		err = errors.Join(d.small(ctx, t, root, threads), d.large(ctx, t, root, threads))
		if err := errors.Join(err, os.RemoveAll(root)); err != nil {
			return err
		}
	}
	return nil
}

// small measures operations on many small files in one directory a thread.
func (d *dirTarget) small(ctx context.Context, t *table, root string, threads int) error {
	for i := range threads {
		if err := os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o755); err != nil {
			return err
		}
	}
	body := make([]byte, smallFile)
	fill(body)
	name := func(i int) string { return filepath.Join(root, fmt.Sprint(i%threads), fmt.Sprintf("file-%06d", i)) }
	// create is what a program does that wants its file kept: write, sync, close.
	create := func(_ context.Context, i int) error {
		f, err := os.Create(name(i))
		if err != nil {
			return err
		}
		_, werr := f.Write(body)
		return errors.Join(werr, f.Sync(), f.Close())
	}
	n, err := t.run(ctx, cell{"create", smallFile, threads, filesMax, 1, create})
	if err != nil {
		return err
	}
	steps := []cell{
		{"stat", 0, threads, filesMax, 1, func(_ context.Context, i int) error { _, err := os.Stat(name(i % n)); return err }},
		{"read", smallFile, threads, filesMax, 1, func(_ context.Context, i int) error { _, err := os.ReadFile(name(i % n)); return err }},
		{"readdir", 0, threads, 200, 1, func(_ context.Context, i int) error {
			_, err := os.ReadDir(filepath.Join(root, fmt.Sprint(i%threads)))
			return err
		}},
	}
	for _, c := range steps {
		if _, err := t.run(ctx, c); err != nil {
			return err
		}
	}
	renamed, err := t.run(ctx, cell{"rename", 0, threads, n, 1, func(_ context.Context, i int) error { return os.Rename(name(i), name(i)+".r") }})
	if err != nil {
		return err
	}
	_, err = t.run(ctx, cell{"unlink", 0, threads, renamed, 1, func(_ context.Context, i int) error { return os.Remove(name(i) + ".r") }})
	return err
}

// large measures sequential writing (synced at the end of each file) and reading in 1 MiB requests.
func (d *dirTarget) large(ctx context.Context, t *table, root string, threads int) error {
	const fileSize = 64 << 20
	body := make([]byte, largeIO)
	fill(body)
	name := func(i int) string { return filepath.Join(root, fmt.Sprintf("large-%d", i)) }
	write := func(_ context.Context, i int) error {
		f, err := os.Create(name(i))
		if err != nil {
			return err
		}
		var werr error
		for at := 0; at < fileSize && werr == nil; at += largeIO {
			body := append([]byte(nil), body...)
			fill(body[:4096])
			_, werr = f.Write(body)
		}
		return errors.Join(werr, f.Sync(), f.Close())
	}
	n, err := t.run(ctx, cell{"write", fileSize, threads, 32, 1, write})
	if err != nil {
		return err
	}
	read := func(_ context.Context, i int) error {
		f, err := os.Open(name(i % n))
		if err != nil {
			return err
		}
		buf, got := make([]byte, largeIO), 0
		for got < fileSize {
			k, rerr := f.Read(buf)
			got += k
			if rerr != nil {
				return errors.Join(rerr, f.Close())
			}
		}
		return f.Close()
	}
	_, err = t.run(ctx, cell{"read", fileSize, threads, 64, 1, read})
	return err
}
