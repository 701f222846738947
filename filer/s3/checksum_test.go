package s3

import (
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary/filer"
)

func sumOf(a algorithm, data []byte) string {
	h := a.new()
	h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// The CRCs of "123456789" are the check values of the catalogues.
func TestChecksumCheckValues(t *testing.T) {
	for a, want := range map[algorithm]string{
		algorithmCRC32: "y/Q5Jg==", algorithmCRC32C: "4waSgw==", algorithmCRC64NVME: "rosUhgp5mIg=",
		algorithmSHA1: "98O8HYCOBHMq32eZZczDTKeuNEE=", algorithmSHA256: "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
	} {
		if got := sumOf(a, []byte("123456789")); got != want {
			t.Errorf("%s is %s, want %s", a, got, want)
		}
	}
}

func TestFullObjectChecksumIsThatOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom([]algorithm{algorithmCRC32, algorithmCRC32C, algorithmCRC64NVME}).Draw(t, "algorithm")
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 6).Draw(t, "parts")
		var whole []byte
		var sums []string
		var sizes []uint64
		for _, p := range parts {
			whole = append(whole, p...)
			sums, sizes = append(sums, sumOf(a, p)), append(sizes, uint64(len(p)))
		}
		got, err := fullObjectChecksum(a, sums, sizes)
		if err != nil || got != sumOf(a, whole) {
			t.Fatalf("got %s (%v), want %s", got, err, sumOf(a, whole))
		}
	})
}

func TestRange(t *testing.T) {
	type result struct {
		offset, length int64
		partial        bool
		code           code
	}
	for header, want := range map[string]result{
		"bytes=0-9":      {0, 10, true, ""},
		"bytes=90-":      {90, 10, true, ""},
		"bytes=-10":      {90, 10, true, ""},
		"bytes=-1000":    {0, 100, true, ""},
		"bytes=50-1000":  {50, 50, true, ""},
		"bytes=99-99":    {99, 1, true, ""},
		"bytes=100-":     {0, 0, false, codeInvalidRange},
		"bytes=-0":       {0, 0, false, codeInvalidRange},
		"bytes=9-0":      {0, 100, false, ""},
		"bytes=0-1,3-4":  {0, 100, false, ""},
		"bytes=a-b":      {0, 100, false, ""},
		"bytes=-":        {0, 100, false, ""},
		"lines=0-1":      {0, 100, false, ""},
		"bytes=+1-2":     {0, 100, false, ""},
		"bytes=0-0x10":   {0, 100, false, ""},
		"":               {0, 100, false, ""},
		"bytes = 0 - 10": {0, 100, false, ""},
	} {
		got, err := parseRange(header, 100)
		if want.code != "" {
			wantCode(t, err, want.code)
			continue
		}
		if err != nil || got != (byteRange{want.offset, want.length, want.partial}) {
			t.Errorf("%q is %+v, %v; want %+v", header, got, err, want)
		}
	}
	if _, err := parseRange("bytes=0-", 0); err == nil {
		t.Error("a range of an empty file is satisfied")
	}
}

func TestBucketNames(t *testing.T) {
	for name, good := range map[string]bool{
		"abc": true, "my-bucket.1": true, "ab": false, "Abc": false, "a_b_c": false, "-abc": false, "abc-": false, "a..b": false,
		"192.168.1.1": false, "xn--abc": false, "abc-s3alias": false, "": false, "a/b": false,
	} {
		if err := checkBucketName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	for key, want := range map[string]code{
		"a": "", "a/b": "", "a/": "", "...": "", "a b+c%": "", "/a": "", "a//b": "", "a/../b": "", "./a": "", "..": "", "/": "", "a\x00": "",
		strings.Repeat("x", 1024): "", strings.Repeat("x", 1025): codeKeyTooLong, "\xff": codeInvalidArgument,
	} {
		err := checkKey(key)
		if want != "" {
			wantCode(t, err, want)
		} else if err != nil {
			t.Errorf("%q is refused: %v", key, err)
		}
	}
}

// TestCopyWithChecksum asks for a checksum that the source has none of, and for one that it has.
func TestCopyWithChecksum(t *testing.T) {
	s := newServer(t)
	s.put(t, "k", "content")
	for _, a := range algorithms() {
		h := a.new()
		h.Write([]byte("content"))
		want := (&digest{algorithm: a, hash: h}).sum()
		for _, source := range []string{"bucket/k", "bucket/copy"} { // the second has it already
			header := map[string]string{"X-Amz-Copy-Source": source, "X-Amz-Checksum-Algorithm": string(a), "X-Amz-Metadata-Directive": "REPLACE"}
			if got := s.do(t, call{method: "PUT", target: "/bucket/copy", header: header}).want(t, 200); !strings.Contains(got.body, want) {
				t.Errorf("%s of %s: %s", a, source, got.body)
			}
			head := s.do(t, call{method: "HEAD", target: "/bucket/copy", header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 200)
			for _, other := range algorithms() {
				if sum := head.header.Get(other.header()); (other == a) != (sum == want) && (other == a || sum != "") {
					t.Errorf("%s of %s: %s is %q", a, source, other, sum)
				}
			}
		}
	}
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "bucket/k", "X-Amz-Checksum-Algorithm": "MD4"}}).wantCode(t, codeInvalidRequest)
}

// TestDefaultChecksum puts objects without a checksum, in every way that there is.
func TestDefaultChecksum(t *testing.T) {
	s := newServer(t)
	want := sumOf(algorithmDefault, []byte("content"))
	if put := s.put(t, "k", "content"); put.header.Get(algorithmDefault.header()) != want || put.header.Get("X-Amz-Checksum-Type") != checksumFullObject {
		t.Fatal(put.header)
	}
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "bucket/k"}}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/other", body: "content", header: map[string]string{algorithmSHA1.header(): sumOf(algorithmSHA1, []byte("content"))}}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/dir/"}).want(t, 200)
	for key, a := range map[string]algorithm{"k": algorithmDefault, "copy": algorithmDefault, "other": algorithmSHA1, "dir/": algorithmDefault} {
		got := s.do(t, call{method: "HEAD", target: "/bucket/" + key, header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 200)
		for _, other := range algorithms() {
			if (got.header.Get(other.header()) != "") != (other == a) {
				t.Errorf("%s: %v", key, got.header)
			}
		}
	}
	for _, listing := range []string{"", "?list-type=2", "?versions"} {
		a := s.do(t, call{method: "GET", target: "/bucket" + listing}).want(t, 200)
		if n := strings.Count(a.body, "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"); n != 3 || !strings.Contains(a.body, "<ChecksumAlgorithm>SHA1<") {
			t.Errorf("%q: %s", listing, a.body)
		}
	}
}

// TestChecksumHeaders refuses what names a checksum wrongly.
func TestChecksumHeaders(t *testing.T) {
	s := newServer(t)
	crc, sha := sumOf(algorithmCRC32, nil), sumOf(algorithmSHA1, nil)
	for _, header := range []map[string]string{
		{"X-Amz-Checksum-Crc32": crc, "X-Amz-Checksum-Sha1": sha}, {"X-Amz-Checksum-Crc31": crc}, {"X-Amz-Checksum-Sha1": crc},
		{"X-Amz-Sdk-Checksum-Algorithm": "CRC32"}, {"X-Amz-Sdk-Checksum-Algorithm": "CRC32", "X-Amz-Checksum-Sha1": sha},
		{"X-Amz-Sdk-Checksum-Algorithm": "CRC31", "X-Amz-Checksum-Sha1": sha},
	} {
		s.do(t, call{method: "PUT", target: "/bucket/k", header: header}).wantCode(t, codeInvalidRequest)
	}
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"X-Amz-Sdk-Checksum-Algorithm": "SHA1", "X-Amz-Checksum-Sha1": sha}}).want(t, 200)
}

func BenchmarkChecksums(b *testing.B) {
	content := make([]byte, filer.CopySize)
	for _, a := range algorithms() {
		b.Run(string(a), func(b *testing.B) {
			h := a.new()
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				h.Write(content)
			}
		})
	}
}
