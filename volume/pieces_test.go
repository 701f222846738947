package volume

import (
	"bytes"
	"io"
	"testing"

	"github.com/dsorchard/granary"
)

// Whatever comes, records give pieces in order, of whole pages, within the stream, and end only where it ends.
func FuzzRecords(f *testing.F) {
	const length = 5*pageSize + 9
	whole, err := io.ReadAll(newRecordBody(newStreamPieces(buildOf(granary.ShardRef{}, 1, length), bytes.NewReader(sparse(5, 1)[:length])), length))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(appendRecord(appendRecord(nil, pageSize, nil), length, nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := &recordPieces{op: opBuild, r: bytes.NewReader(body), length: length, buf: make([]byte, buildPieceSize)}
		end := uint64(0)
		for {
			p, err := in.next()
			if err == io.EOF {
				if !bytes.HasSuffix(body, appendRecord(nil, length, nil)) && in.r.(*bytes.Reader).Len() == 0 {
					t.Fatal("it ends without saying so")
				}
				return
			}
			if err != nil {
				return
			}
			next := p.offset + uint64(len(p.data))
			if p.offset < end || next > length || p.offset%pageSize != 0 || len(p.data)%pageSize != 0 && next != length {
				t.Fatalf("%d bytes at %d, after %d", len(p.data), p.offset, end)
			}
			end = next
		}
	})
}

// What is sent of a stream gives the stream again.
func TestRecordsGiveTheStream(t *testing.T) {
	for _, stream := range [][]byte{sparse(600, 0), sparse(600, 1), make([]byte, 3*buildPieceSize), {}} {
		length := uint64(len(stream))
		body := newRecordBody(newStreamPieces(buildOf(granary.ShardRef{}, 1, length), bytes.NewReader(stream)), length)
		in := &recordPieces{op: opBuild, r: body, length: length, buf: make([]byte, buildPieceSize)}
		got := make([]byte, length)
		for {
			p, err := in.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			copy(got[p.offset:], p.data)
		}
		if !bytes.Equal(got, stream) {
			t.Fatalf("%d bytes come out otherwise", length)
		}
	}
}
