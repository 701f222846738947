package volume

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// TestLeftOutDirectoryComesBack: a directory that was missing, or empty, at the start is served when it holds its disk again, with what is on it;
// not another disk, nor one of another server.
func TestLeftOutDirectoryComesBack(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	o := testOptions(t, a, b)
	o.retryEvery = time.Millisecond
	s := open(t, o)
	ref := granary.ShardRef{Disk: s.disks[1].id(), Volume: 5}
	data := fill(3*pageSize, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, data))
	closeStore(t, s)
	other := filepath.Join(root, "other")
	closeStore(t, open(t, testOptions(t, other)))
	for _, empty := range []bool{false, true} {
		kept := filepath.Join(root, "kept")
		if err := os.Rename(b, kept); err != nil {
			t.Fatal(err)
		}
		if empty {
			if err := os.Mkdir(b, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, o)
		if n := len(s.Usage()); n != 1 {
			t.Fatalf("%d disks", n)
		}
		_, _, err := s.ReadAt(t.Context(), ref, make([]byte, 10), 0)
		wantKind(t, err, granary.KindNotFound)
		if err := os.RemoveAll(b); err != nil {
			t.Fatal(err)
		}
		if err := s.takeBack(other); !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("a disk of another server: %v", err)
		}
		if err := s.takeBack(a); !granary.IsKind(err, granary.KindBusy) {
			t.Errorf("a disk that is served: %v", err)
		}
		news := s.alarm.listen()
		if err := os.Rename(kept, b); err != nil {
			t.Fatal(err)
		}
		for len(s.Usage()) < 2 {
			<-news
			news = s.alarm.listen()
		}
		wantStream(t, s, ref, data)
		mustAppend(t, s, appendOf(ref, uint64(len(data)), uint64(len(data)), data[:pageSize]))
		data = append(data, data[:pageSize]...)
		if hb := s.heartbeat("x", "", ""); len(hb.Disks) != 2 {
			t.Errorf("the heartbeat shows %+v", hb.Disks)
		}
		closeStore(t, s)
	}
}
