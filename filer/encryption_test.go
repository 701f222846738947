package filer

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer/seal"
)

func putSealed(t *testing.T, fs *FS, name, content string) error {
	t.Helper()
	sealed, err := fs.NewSeal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	up, err := fs.Upload(t.Context(), UploadOptions{Root: granary.RootInode, Path: name, Seal: sealed})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Abort()
	if _, err := io.WriteString(up, content); err != nil {
		t.Fatal(err)
	}
	_, err = up.Commit(nil)
	return err
}

func readFile(t *testing.T, fs *FS, name string) string {
	t.Helper()
	f, err := fs.OpenFile(t.Context(), granary.RootInode, name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f.NewReader(0, -1))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestKeysOfTwoFilers: filers that begin at once agree on a key, each reads what the other has encrypted with a key that it has not heard of,
// and nothing is published under a key that the cluster does not have.
func TestKeysOfTwoFilers(t *testing.T) {
	c := stack(t)
	var all [2]*FS
	for i := range all {
		fs := New(Options{Client: c})
		t.Cleanup(func() {
			if err := fs.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		all[i] = fs
	}
	one, two := all[0], all[1]
	if err := putSealed(t, one, "a", "first"); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, two, "a"); got != "first" {
		t.Errorf("%q", got)
	}
	before, err := two.Keys(t.Context())
	if err != nil || len(before) != 1 {
		t.Fatal(before, err)
	}
	after, err := one.RotateKeys(t.Context())
	if err != nil || len(after) != 2 || after[0] != before[0] {
		t.Fatal(after, err)
	}
	if err := putSealed(t, one, "b", "second"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "first", "b": "second"} {
		if got := readFile(t, two, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}

	// As after a restore from a backup of before the rotation: the filer remembers a key that is gone.
	lost, err := seal.ParseRing(seal.NewLine())
	if err != nil {
		t.Fatal(err)
	}
	two.keyring.mu.Lock()
	two.keyring.ring, two.keyring.asked = lost, time.Now()
	two.keyring.mu.Unlock()
	sealed, err := two.NewSeal(t.Context(), nil)
	if err != nil || sealed.Record.KeyID != lost.IDs()[0] {
		t.Fatal(err)
	}
	up, err := two.Upload(t.Context(), UploadOptions{Root: granary.RootInode, Path: "c", Seal: sealed})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Abort()
	two.keyring.mu.Lock()
	two.keyring.asked = time.Now().Add(-2 * ringTTL)
	two.keyring.mu.Unlock()
	if _, err := up.Commit(nil); !granary.IsKind(err, granary.KindUnavailable) {
		t.Errorf("under a key that is gone: %v", err)
	}
	if _, err := one.Stat(t.Context(), granary.RootInode, "c", StatOptions{}); !granary.IsKind(err, granary.KindNotFound) {
		t.Errorf("%v", err)
	}
}

// TestLongRecord: the record of an object of 10,000 parts of different sizes is stored and read with the file; and who uploads says nothing of
// encryption but by a Seal.
func TestLongRecord(t *testing.T) {
	c := stack(t)
	fs := New(Options{Client: c})
	defer fs.Close(t.Context())
	sealed, err := fs.NewSeal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var streams []seal.Stream
	for i := range granary.PartsMax {
		streams = append(streams, seal.Stream{Number: uint16(i + 1), Nonce: uint64(i) << 40, Size: uint64(5<<30 + i)})
	}
	xattrs := sealed.Record.With(streams...).Xattrs()
	if _, err := c.Do(t.Context(), granary.Cred{}, &granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Mode: 0o644, Xattrs: xattrs}); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenFile(t.Context(), granary.RootInode, "f", true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !slices.Equal(f.record.Streams, streams) {
		t.Errorf("%d other streams", len(f.record.Streams))
	}
	if _, err := fs.Upload(t.Context(), UploadOptions{Root: granary.RootInode, Path: "g", Xattrs: xattrs}); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("an upload with the record of another: %v", err)
	}
	found, err := client.Ask[*granary.Found](t.Context(), c, &granary.Lookup{Base: granary.RootInode, Path: "f", Xattrs: true, Stored: true, Layout: &granary.Range{Length: 1}})
	if err != nil || len(found.Xattrs) != len(xattrs) {
		t.Errorf("%d attributes, %v", len(found.Xattrs), err)
	}
}

// TestSealedStream: a long stream of what is encrypted is decrypted, though memory has it as it is stored.
func TestSealedStream(t *testing.T) {
	fs := New(Options{Client: stack(t)})
	defer fs.Close(t.Context())
	want := text(700_000)
	if err := putSealed(t, fs, "f", want); err != nil {
		t.Fatal(err)
	}
	f := mustOpenFile(t, fs, "f")
	for range 2 {
		var b strings.Builder
		if n, err := io.Copy(&b, f.NewReader(1000, -1)); err != nil || n != 699_000 || b.String() != want[1000:] {
			t.Fatal(n, err)
		}
	}
}
