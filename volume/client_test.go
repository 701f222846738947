package volume

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// writes is a connection that counts what is written to it.
type writes struct {
	net.Conn
	calls int
	got   bytes.Buffer
}

func (w *writes) Write(p []byte) (int, error) {
	w.calls++
	return w.got.Write(p)
}

// A body that lies in memory is written from there in one call; any other reader is copied, and never more than its limit.
func TestBodyConn(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	for name, c := range map[string]struct {
		r     io.Reader
		want  int
		calls int // 0: any
	}{
		"a body":            {io.LimitReader(bytes.NewReader(data), int64(len(data))), len(data), 1},
		"longer than meant": {io.LimitReader(bytes.NewReader(data), 1000), 1000, 0},
		"of unknown length": {bytes.NewReader(data), len(data), 0},
		"a stream":          {io.LimitReader(io.MultiReader(bytes.NewReader(data)), 70_000), 70_000, 0},
	} {
		w := &writes{}
		n, err := bodyConn{w}.ReadFrom(c.r)
		if n != int64(c.want) || err != nil || !bytes.Equal(w.got.Bytes(), data[:c.want]) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if c.calls > 0 && w.calls != c.calls {
			t.Errorf("%s: %d calls", name, w.calls)
		}
		if left, err := io.Copy(io.Discard, c.r); left != 0 || err != nil {
			t.Errorf("%s: %d bytes are left, %v", name, left, err)
		}
	}
}
