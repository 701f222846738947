//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// randomWrites writes, truncates, syncs and reopens a file at random, and compares it with a copy in
// memory as it goes.
func randomWrites(name string, size, steps int) (err error) {
	seed := rand.Uint64()
	defer func() {
		if err != nil {
			err = fmt.Errorf("seed %d: %w", seed, err)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 1))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	model := []byte{}
	for step := range steps {
		switch r.IntN(10) {
		case 0:
			n := r.IntN(size)
			model = resized(model, n)
			err = f.Truncate(int64(n))
		case 1:
			err = f.Sync()
		case 2:
			if err = f.Close(); err == nil {
				f, err = os.OpenFile(name, os.O_RDWR, 0)
			}
		case 3, 4:
			err = compareRange(f, model, r)
		default:
			off, n := r.IntN(size), 1+r.IntN(1<<(6+r.IntN(14)))
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			if off+n > len(model) {
				model = resized(model, off+n)
			}
			copy(model[off:], b)
			_, err = f.WriteAt(b, int64(off))
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, model) {
		return fmt.Errorf("%d bytes read differ from the %d written", len(got), len(model))
	}
	return nil
}

func resized(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

func compareRange(f *os.File, model []byte, r *rand.Rand) error {
	if len(model) == 0 {
		return nil
	}
	off := r.IntN(len(model))
	b := make([]byte, min(1+r.IntN(200_000), len(model)-off))
	if _, err := f.ReadAt(b, int64(off)); err != nil {
		return err
	}
	if !bytes.Equal(b, model[off:off+len(b)]) {
		return fmt.Errorf("range %d+%d differs from what was written", off, len(b))
	}
	return nil
}

// unlinkedButOpen writes and reads a file after its only name has gone.
func unlinkedButOpen(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	want := append(bytes.Repeat([]byte("x"), 50_000), bytes.Repeat([]byte("y"), 100_000)...)
	if _, err := f.Write(want[:100_000]); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), os.Remove(name)); err != nil {
		return err
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the name is still there: %v", err)
	}
	copy(want[50_000:], bytes.Repeat([]byte("y"), 50_000))
	if _, err := f.WriteAt(want[50_000:], 50_000); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the content differs after the unlink")
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}
