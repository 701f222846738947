package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// node is a master in memory.
type node struct {
	id     string
	index  granary.Index
	stream []byte
	piece  int
	keeps  bool
	begun  int
	fail   func(offset int64) error
	asked  []int64 // offsets
}

func newNode(id string, size int) *node {
	n := &node{id: id, index: 77, stream: make([]byte, size), piece: 1000, fail: func(int64) error { return nil }}
	r := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range n.stream {
		n.stream[i] = byte(r.Uint32())
	}
	return n
}

func (n *node) ReadBackup(_ context.Context, req *granary.ReadBackup) (*granary.BackupPiece, error) {
	if err := n.fail(req.Offset); err != nil {
		return nil, err
	}
	switch {
	case req.ID == "":
		n.keeps = true
		n.begun++
	case !n.keeps || req.ID != n.id:
		return nil, granary.Errorf(granary.KindNotFound, "read backup", req.ID, "")
	}
	n.asked = append(n.asked, req.Offset)
	end := min(req.Offset+int64(n.piece), int64(len(n.stream)))
	return &granary.BackupPiece{ID: n.id, Cluster: "c1", Index: n.index, Size: int64(len(n.stream)), Data: n.stream[req.Offset:end]}, nil
}

var errGone = granary.Errorf(granary.KindUnavailable, "dial", "", "no answer")

func newSaver(t *testing.T, leader *node, nodes ...Source) *Saver {
	t.Helper()
	return &Saver{
		Name: filepath.Join(t.TempDir(), "b"), Leader: leader, Nodes: append(nodes, leader),
		Patience: Patience{For: 0}, Now: func() time.Time { return time.Unix(5, 6) },
		Say: t.Logf, Moved: func(int) {}, syncEvery: 4096,
	}
}

// read returns the stream of a container.
func read(b []byte) (*Header, []byte, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	stream, err := io.ReadAll(r)
	return &r.Header, stream, err
}

func wantFile(t *testing.T, name string, n *node) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	h, stream, err := read(b)
	want := Header{ID: n.id, Cluster: "c1", Index: n.index, Size: int64(len(n.stream)), Time: granary.TimeOf(time.Unix(5, 6))}
	if err != nil || *h != want || !bytes.Equal(stream, n.stream) || h.Length() != int64(len(b)) {
		t.Fatalf("header %+v, want %+v; %d bytes of the stream; %v", h, want, len(stream), err)
	}
	if _, err := os.Stat(name + partSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part is still there: %v", err)
	}
}

func TestSave(t *testing.T) {
	for _, size := range []int{0, 1, 999, 1000, 4096, 12345} {
		n := newNode("b1", size)
		s := newSaver(t, n)
		if _, err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantFile(t, s.Name, n)
		if _, err := s.Save(t.Context()); !granary.IsKind(err, granary.KindExists) {
			t.Errorf("over an existing file: %v", err)
		}
	}
}

// TestDamage: no container that differs from the original in any way is read as whole.
func TestDamage(t *testing.T) {
	n := newNode("b1", 700)
	h := &Header{ID: "b1", Cluster: "c1", Index: 9, Size: 700, Time: 3}
	c, err := NewContainer(h, bytes.NewReader(n.stream))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(c)
	if err != nil || int64(len(whole)) != h.Length() {
		t.Fatal(len(whole), err)
	}
	if got, stream, err := read(whole); err != nil || *got != *h || !bytes.Equal(stream, n.stream) {
		t.Fatal(got, err)
	}
	refused := func(what string, at int, b []byte) {
		t.Helper()
		_, _, err := read(b)
		if k := granary.KindOf(err); k != granary.KindCorrupt && k != granary.KindNotSupported {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}
	for i := range whole {
		refused("cut", i, whole[:i])
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(whole)
			b[i] ^= bit
			refused("flipped", i, b)
		}
		refused("a byte more", i, append(append(bytes.Clone(whole[:i]), 0), whole[i:]...))
		refused("a byte less", i, append(bytes.Clone(whole[:i]), whole[i+1:]...))
	}
	refused("appended", len(whole), append(bytes.Clone(whole), 0))
	refused("twice", len(whole), append(bytes.Clone(whole), whole...))
	if _, err := NewContainer(&Header{ID: string(make([]byte, 256))}, nil); err == nil {
		t.Error("an id that is too long was taken")
	}
	short, err := NewContainer(h, bytes.NewReader(n.stream[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(short); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("a stream that is too short: %v", err)
	}
}

// TestResume breaks a transfer at every piece; the next invocation goes on where what was synced ends, and
// whatever lay in the file after that does not matter.
func TestResume(t *testing.T) {
	for at := 0; at < 20; at++ {
		n := newNode("b1", 20_000)
		s := newSaver(t, n, newNode("other", 3))
		n.fail = func(offset int64) error {
			if offset >= int64(at)*1000 {
				return errGone
			}
			return nil
		}
		if _, err := s.Save(t.Context()); !granary.IsKind(err, granary.KindUnavailable) {
			t.Fatalf("at %d: %v", at, err)
		}
		part, err := os.OpenFile(s.Name+partSuffix, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		st, err := part.Stat()
		if err != nil {
			t.Fatal(err)
		}
		synced := max(st.Size()-1, 0) / 4096 * 4096
		if synced > 0 && st.Size() > synced { // as a power loss may leave what was not synced
			if _, err := part.WriteAt(make([]byte, st.Size()-synced), synced); err != nil {
				t.Fatal(err)
			}
		}
		if err := part.Close(); err != nil {
			t.Fatal(err)
		}
		n.fail, n.asked = func(int64) error { return nil }, nil
		if _, err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantFile(t, s.Name, n)
		if synced > 0 && (n.begun != 1 || n.asked[0] < synced-100) {
			t.Errorf("broken after %d pieces: begun %d times, went on at %d with %d synced", at, n.begun, n.asked[0], synced)
		}
	}
}

// TestBeginAnew: a part whose backup nobody keeps any more, or that is none, is replaced.
func TestBeginAnew(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, part string, n *node){
		"lost by the node":   func(_ *testing.T, _ string, n *node) { n.keeps, n.id = false, "b2" },
		"another of that id": func(_ *testing.T, _ string, n *node) { n.index++ },
		"no backup": func(t *testing.T, part string, _ *node) {
			if err := os.WriteFile(part, make([]byte, 9000), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		n := newNode("b1", 20_000)
		s := newSaver(t, n)
		said := 0
		s.Say = func(string, ...any) { said++ }
		n.fail = func(offset int64) error {
			if offset >= 9000 {
				return errGone
			}
			return nil
		}
		if _, err := s.Save(t.Context()); err == nil {
			t.Fatal("it did not break")
		}
		spoil(t, s.Name+partSuffix, n)
		n.fail = func(int64) error { return nil }
		if _, err := s.Save(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantFile(t, s.Name, n)
		if said != 1 || n.begun != 2 {
			t.Errorf("%s: said %d things, begun %d times", name, said, n.begun)
		}
	}
}

// TestLostWhileReading: a node that loses the backup in the middle gives a new one, but not for ever.
func TestLostWhileReading(t *testing.T) {
	for _, losses := range []int{1, beginningsMax - 1, beginningsMax} {
		n := newNode("b1", 20_000)
		s := newSaver(t, n)
		left := losses
		n.fail = func(offset int64) error {
			if offset == 9000 && left > 0 {
				left--
				n.keeps = false
			}
			return nil
		}
		_, err := s.Save(t.Context())
		if losses == beginningsMax {
			if !granary.IsKind(err, granary.KindNotFound) {
				t.Errorf("lost %d times: %v", losses, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, s.Name, n)
	}
}

// TestPatience: a node that does not answer for a while is asked again.
func TestPatience(t *testing.T) {
	n := newNode("b1", 5000)
	s := newSaver(t, n)
	s.Patience = Patience{For: time.Minute, First: time.Microsecond, Max: time.Microsecond}
	silent := 50
	n.fail = func(offset int64) error {
		if offset == 3000 && silent > 0 {
			silent--
			return errGone
		}
		return nil
	}
	if _, err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s.Name, n)
}

// TestWholePart: a part that lacks nothing but its name needs no master.
func TestWholePart(t *testing.T) {
	n := newNode("b1", 5000)
	s := newSaver(t, n)
	if _, err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.Name, s.Name+partSuffix); err != nil {
		t.Fatal(err)
	}
	n.fail = func(int64) error { return errGone }
	if _, err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s.Name, n)
}

// TestOneWriter: a part that somebody else writes is left alone.
func TestOneWriter(t *testing.T) {
	n := newNode("b1", 5000)
	s := newSaver(t, n)
	f, err := lockPart(s.Name + partSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := s.Save(t.Context()); !granary.IsKind(err, granary.KindBusy) {
		t.Errorf("while another writes: %v", err)
	}
	if err := os.Rename(s.Name+partSuffix, s.Name); err != nil {
		t.Fatal(err)
	}
	if err := sameFile(s.Name+partSuffix, f); !granary.IsKind(err, granary.KindBusy) {
		t.Errorf("a part that got its name meanwhile: %v", err)
	}
}
