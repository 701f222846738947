package volume

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s differs (run with -update, and review the difference):\n%s", path, got)
	}
}

// sampleHead is the head of a shard in its second state.
func sampleHead() []byte {
	head := make([]byte, streamOffset)
	copy(head, encodeHeader(shardHeader{
		Volume: 0x0102030405060708, Shard: 5, DataShards: 4, ParityShards: 2,
		Cluster: testCluster, Disk: "fedcba9876543210fedcba9876543210", Created: 1_700_000_000_000_000_000,
	}))
	first := stateSlot{Sequence: 1, Epoch: 3}
	second := stateSlot{Sequence: 2, Epoch: 4, Sealed: true, Length: 5000, TableOffset: 24576, TableLength: 8, TableCRC: 0xdeadbeef}
	copy(head[slotPosition(1):], encodeSlot(first))
	copy(head[slotPosition(2):], encodeSlot(second))
	return head
}

// The bytes on the disk are those of doc.go, for ever.
func TestGoldenHead(t *testing.T) {
	var lines strings.Builder
	zeros := strings.Repeat("00 ", 16)
	for _, line := range strings.SplitAfter(hex.Dump(sampleHead()), "\n") {
		if !strings.Contains(strings.Replace(line, "  ", " ", 2), zeros) {
			lines.WriteString(line)
		}
	}
	golden(t, "head.golden", []byte(lines.String()))
}

func TestDecodeHead(t *testing.T) {
	head := sampleHead()
	h, slot, err := decodeHead(head)
	if err != nil || h.Volume != 0x0102030405060708 || slot.Sequence != 2 || !slot.Sealed {
		t.Fatalf("%+v %+v %v", h, slot, err)
	}
	torn := bytes.Clone(head)
	torn[slotPosition(2)+9] ^= 1
	if _, slot, err = decodeHead(torn); err != nil || slot.Sequence != 1 || slot.Epoch != 3 {
		t.Fatalf("after a torn write of the newer slot: %+v, %v", slot, err)
	}
	torn = bytes.Clone(head)
	torn[slotPosition(1)+9] ^= 1
	if _, slot, err = decodeHead(torn); err != nil || slot.Sequence != 2 {
		t.Fatalf("with a damaged older slot: %+v, %v", slot, err)
	}
	torn[slotPosition(2)+9] ^= 1
	_, _, err = decodeHead(torn)
	wantKind(t, err, granary.KindCorrupt)
	_, _, err = decodeHead(head[:100])
	wantKind(t, err, granary.KindCorrupt)

	newer := bytes.Clone(head)
	newer[4] = 2
	sealPage(newer[:pageSize])
	_, _, err = decodeHead(newer)
	wantKind(t, err, granary.KindNotSupported)
	newer = bytes.Clone(head)
	newer[slotOffset+4] = 2
	sealPage(newer[slotOffset : slotOffset+pageSize])
	_, _, err = decodeHead(newer)
	wantKind(t, err, granary.KindNotSupported)
	matrix := bytes.Clone(head)
	copy(matrix[96:], "cauchy-v1")
	sealPage(matrix[:pageSize])
	_, _, err = decodeHead(matrix)
	wantKind(t, err, granary.KindNotSupported)
}

func TestSlotRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := stateSlot{Sequence: rapid.Uint64().Draw(t, "sequence"), Epoch: granary.Epoch(rapid.Uint64().Draw(t, "epoch"))}
		if rapid.Bool().Draw(t, "sealed") {
			s.Sealed, s.Length = true, rapid.Uint64Range(0, streamLengthMax).Draw(t, "length")
			s.TableOffset, s.TableLength = tableOffset(s.Length), tableLength(s.Length)
			s.TableCRC = rapid.Uint32().Draw(t, "crc")
		}
		if got, err := decodeSlot(encodeSlot(s)); err != nil || got != s {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}

func TestShardNames(t *testing.T) {
	for name, want := range map[string]bool{
		"7.0": true, "18446744073709551615.19": true,
		"7": false, "7.": false, ".0": false, "07.0": false, "7.00": false, "7.256": false, "+7.0": false, "7.0.new": false,
	} {
		if _, ok := parseShardName(name); ok != want {
			t.Errorf("%q: %v", name, ok)
		}
	}
}

// No bytes make the decoder panic, and what it accepts it would write the same way.
func FuzzDecodeHead(f *testing.F) {
	f.Add(sampleHead()[:3*pageSize])
	f.Add(make([]byte, 3*pageSize))
	f.Fuzz(func(t *testing.T, p []byte) {
		head := make([]byte, streamOffset)
		copy(head, p)
		for page := 0; page < 3*pageSize; page += pageSize { // the checksums would keep the fuzzer out
			sealPage(head[page : page+pageSize])
		}
		h, slot, err := decodeHead(head)
		if err != nil {
			return
		}
		again, err := decodeHeader(encodeHeader(h))
		if err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
		if s, err := decodeSlot(encodeSlot(slot)); err != nil || s != slot {
			t.Fatalf("%+v became %+v, %v", slot, s, err)
		}
	})
}
