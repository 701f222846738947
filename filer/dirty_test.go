package filer

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// modelSize is how long the files of the models are at most.
const modelSize = 40 << 10

// TestDirtyModel compares dirty ranges with a byte for each offset, through writes, trims, joins, and
// pieces that are taken and come back under newer ones.
func TestDirtyModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := dirty{size: 4 << 10, buffers: &buffers{}}
		var bytesAt [modelSize]byte
		var known [modelSize]bool
		var flying dirty
		flying.size, flying.buffers = d.size, d.buffers
		next := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				off := rapid.IntRange(0, modelSize-1).Draw(t, "off")
				n := rapid.IntRange(1, min(9000, modelSize-off)).Draw(t, "n")
				next++
				d.write(bytes.Repeat([]byte{next}, n), uint64(off))
				for i := off; i < off+n; i++ {
					bytesAt[i], known[i] = next, true
				}
			},
			"trim": func(t *rapid.T) {
				size := rapid.IntRange(0, modelSize).Draw(t, "size")
				d.trim(uint64(size))
				flying.trim(uint64(size))
				for i := size; i < modelSize; i++ {
					known[i] = false
				}
			},
			"take": func(t *rapid.T) {
				if flying.empty() {
					flying = d.take(rapid.Bool().Draw(t, "all"))
					flying.join()
				}
			},
			"restore": func(t *rapid.T) { d.restore(&flying) },
			"join":    func(t *rapid.T) { d.join() },
			"": func(t *rapid.T) {
				checkDirty(t, &d)
				checkDirty(t, &flying)
				got := make([]byte, modelSize)
				gaps := flying.fill(got, 0, d.fill(got, 0, []span{{0, modelSize}}))
				covered := [modelSize]bool{}
				for i := range covered {
					covered[i] = true
				}
				for _, g := range gaps {
					for i := g.off; i < g.end; i++ {
						covered[i] = false
					}
				}
				for i := range got {
					if covered[i] != known[i] || known[i] && got[i] != bytesAt[i] {
						t.Fatalf("offset %d: %d (%v), want %d (%v)", i, got[i], covered[i], bytesAt[i], known[i])
					}
				}
			},
		})
	})
}

// checkDirty checks what always holds of the pieces.
func checkDirty(t *rapid.T, d *dirty) {
	var mem int64
	end, fulls := uint64(0), 0
	for i, p := range d.pieces {
		if len(p.data) == 0 || p.off < end {
			t.Fatalf("piece %d is empty or begins before %d", i, end)
		}
		if len(p.data) >= d.size {
			fulls++
		}
		end, mem = p.end(), mem+int64(cap(p.data))
	}
	if d.mem != mem || d.fulls != fulls {
		t.Fatalf("%d bytes and %d full pieces counted, there are %d and %d", d.mem, d.fulls, mem, fulls)
	}
}

// TestDirtyStream writes a stream in small steps: it must end in few, full pieces.
func TestDirtyStream(t *testing.T) {
	d := dirty{size: 64 << 10, buffers: &buffers{}}
	for off := uint64(0); off < 256<<10; off += 1 << 10 {
		d.write(make([]byte, 1<<10), off)
	}
	if len(d.pieces) != 4 || d.fulls != 4 {
		t.Fatalf("%d pieces, %d of them full; want 4", len(d.pieces), d.fulls)
	}
	if got := d.ranges(); got[3].Offset != 192<<10 || len(got[3].Data) != 64<<10 {
		t.Fatalf("the last range is %d bytes at %d", len(got[3].Data), got[3].Offset)
	}
}
