package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// customer is a customer's key, as headers that begin with a prefix.
func customer(prefix, name string) map[string]string {
	key := bytes.Repeat([]byte(name), seal.KeySize)[:seal.KeySize]
	sum := md5.Sum(key)
	return map[string]string{
		prefix + customerAlgorithm: sseAlgorithm,
		prefix + customerKeyHeader: base64.StdEncoding.EncodeToString(key),
		prefix + customerKeyMD5:    base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// with merges headers.
func with(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, one := range all {
		for k, v := range one {
			merged[k] = v
		}
	}
	return merged
}

func byCluster() map[string]string { return map[string]string{sseHeader: sseAlgorithm} }

func text(n int, seed uint64) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7}).Read(b)
	return string(b)
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// find looks a key of the bucket up, and where what is stored of it lies.
func (s *server) find(t testing.TB, key string) *granary.Found {
	t.Helper()
	root, err := s.store.Bucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	return s.layout(t, &granary.Lookup{Base: root, Path: key, Key: true})
}

func (s *server) layout(t testing.TB, q *granary.Lookup) *granary.Found {
	t.Helper()
	q.Xattrs, q.Stored, q.Layout = true, true, &granary.Range{Length: 1 << 40}
	found, err := client.Ask[*granary.Found](t.Context(), s.store.Client(), q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// stored returns what is stored of a file, as it is.
func (s *server) stored(t testing.TB, found *granary.Found) []byte {
	t.Helper()
	b := make([]byte, found.Entry.Attr.Size)
	if len(b) > 0 {
		if err := s.store.Client().ReadLayout(t.Context(), found.Layout, b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// hidden reports whether no run of 12 bytes of a plaintext that is not short is in what is stored.
func hidden(stored []byte, plain string) bool {
	for i := 0; i+12 <= len(plain); i += 12 {
		if bytes.Contains(stored, []byte(plain[i:i+12])) {
			return false
		}
	}
	return true
}

// blocks returns the blocks that a file refers to.
func blocks(found *granary.Found) map[granary.BlockID]bool {
	ids := map[granary.BlockID]bool{}
	for _, x := range found.Layout.Extents {
		ids[x.Block] = true
	}
	return ids
}

// TestClusterKeys: what is encrypted with a key of the cluster is read like any object, at every door, and what is stored is ciphertext.
func TestClusterKeys(t *testing.T) {
	s := newServer(t)
	for name, size := range map[string]int{"inline": 300, "block": 100_000, "empty": 0, "large": 17 << 20} {
		plain := text(size, 1)
		a := s.do(t, call{method: "PUT", target: "/bucket/" + name, body: plain, header: byCluster()}).want(t, 200)
		if a.header.Get(sseHeader) != sseAlgorithm || a.header.Get("Etag") != quoteETag(md5Of(plain)) {
			t.Errorf("%s: PUT says %v", name, a.header)
		}
		for _, method := range []string{"GET", "HEAD"} {
			a := s.do(t, call{method: method, target: "/bucket/" + name}).want(t, 200)
			if a.header.Get(sseHeader) != sseAlgorithm || method == "GET" && a.body != plain || a.header.Get("Etag") != quoteETag(md5Of(plain)) {
				t.Errorf("%s: %s says %v, %d bytes", name, method, a.header, len(a.body))
			}
		}
		found := s.find(t, name)
		if b := s.stored(t, found); found.Entry.Attr.Flags&granary.FlagEncrypted == 0 || !hidden(b[:min(len(b), 100_000)], plain[:min(size, 1000)]) {
			t.Errorf("%s: it is stored as it came", name)
		}
		f, err := s.store.FS.OpenFile(t.Context(), granary.RootInode, "/buckets/bucket/"+name, true)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f.NewReader(0, -1)); err != nil || string(b) != plain {
			t.Errorf("%s: by its path: %d bytes, %v", name, len(b), err)
		}
		_ = f.Close()
		h, err := s.store.FS.Open(t.Context(), granary.Cred{}, found.Entry.Attr.Inode, filer.OpenFlags{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size+1)
		if n, err := h.ReadAt(t.Context(), b, 0); n != size || err != io.EOF || string(b[:n]) != plain {
			t.Errorf("%s: by its inode: %d bytes, %v", name, n, err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	s.do(t, call{method: "GET", target: "/bucket/block", header: byCluster()}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "GET", target: "/bucket/block", header: customer(sseHeader, "k")}).wantCode(t, codeInvalidRequest)
}

// TestOtherDoors: what is encrypted is read by doors that know the key, refused by those that do not, and changed by none.
func TestOtherDoors(t *testing.T) {
	s := newServer(t)
	fs, ctx := s.store.FS, t.Context()
	plain := text(200_000, 3)
	s.do(t, call{method: "PUT", target: "/bucket/ours", body: plain, header: byCluster()}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/theirs", body: plain, header: customer(sseHeader, "k")}).want(t, 200)
	s.put(t, "plain", "x")
	if _, err := fs.OpenFile(ctx, granary.RootInode, "/buckets/bucket/theirs", true); !granary.IsKind(err, granary.KindPermission) {
		t.Errorf("a customer's object by its path: %v", err)
	}
	theirs, ours := s.find(t, "theirs").Entry.Attr.Inode, s.find(t, "ours").Entry.Attr.Inode
	if _, err := fs.Open(ctx, granary.Cred{}, theirs, filer.OpenFlags{Read: true}); !granary.IsKind(err, granary.KindPermission) {
		t.Errorf("a customer's object by its inode: %v", err)
	}
	for _, flags := range []filer.OpenFlags{{Write: true}, {Read: true, Write: true}, {Append: true}} {
		h, err := fs.Open(ctx, granary.Cred{}, ours, flags)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt(ctx, []byte("x"), 0); !granary.IsKind(err, granary.KindNotOwner) {
			t.Errorf("to write, %+v: %v", flags, err)
		}
		if err := h.Allocate(ctx, granary.AllocateReserve, 0, 1<<20, false); !granary.IsKind(err, granary.KindNotOwner) {
			t.Errorf("to allocate, %+v: %v", flags, err)
		}
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, err := fs.Open(ctx, granary.Cred{}, theirs, filer.OpenFlags{Read: true, Write: true}); !granary.IsKind(err, granary.KindPermission) {
		t.Errorf("a customer's object to read and write: %v", err)
	}
	few := uint64(5)
	if _, err := fs.SetAttr(ctx, granary.Cred{}, &granary.SetAttr{Inode: ours, Size: &few}); !granary.IsKind(err, granary.KindNotOwner) {
		t.Errorf("to cut off: %v", err)
	}
	for _, off := range []uint64{0, granary.OffsetEnd} {
		if _, err := fs.Patch(ctx, filer.PatchOptions{Root: granary.RootInode, Path: "/buckets/bucket/ours", Offset: off}); !granary.IsKind(err, granary.KindNotOwner) {
			t.Errorf("to write at %d: %v", off, err)
		}
	}
	src, err := fs.Open(ctx, granary.Cred{}, ours, filer.OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	dst, err := fs.Open(ctx, granary.Cred{}, s.find(t, "plain").Entry.Attr.Inode, filer.OpenFlags{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.CopyTo(ctx, 0, dst, 0, 1000); !granary.IsKind(err, granary.KindNotSupported) {
		t.Errorf("a range of it by reference: %v", err)
	}
	if err := src.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := dst.Close(ctx); err != nil {
		t.Error(err)
	}
	// A copy by the file system is encrypted as its source is.
	for _, name := range []string{"ours", "theirs"} {
		o := filer.CopyOptions{SrcRoot: granary.RootInode, SrcPath: "/buckets/bucket/" + name, DstRoot: granary.RootInode, DstPath: "/buckets/bucket/copy-" + name}
		if _, err := fs.Copy(ctx, o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if o.DstPath = "/copy-" + name; name == "ours" { // of another dataset
			if _, err := fs.Copy(ctx, o); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			f, err := fs.OpenFile(ctx, granary.RootInode, o.DstPath, true)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(f.NewReader(0, -1)); err != nil || string(b) != plain || f.Info.Attr.Flags&granary.FlagEncrypted == 0 {
				t.Errorf("the copy has %d bytes, %v", len(b), err)
			}
			_ = f.Close()
		}
	}
	if a := s.do(t, call{method: "GET", target: "/bucket/copy-ours"}).want(t, 200); a.body != plain {
		t.Errorf("the copy has %d bytes", len(a.body))
	}
	if a := s.do(t, call{method: "GET", target: "/bucket/copy-theirs", header: customer(sseHeader, "k")}).want(t, 200); a.body != plain {
		t.Errorf("the copy has %d bytes", len(a.body))
	}
	// Files put together of it are plain.
	if _, err := fs.Concat(ctx, filer.UploadOptions{Root: granary.RootInode, Path: "/buckets/bucket/both"},
		[]granary.Attr{s.find(t, "ours").Entry.Attr, s.find(t, "copy-ours").Entry.Attr}); err != nil {
		t.Fatal(err)
	}
	if a := s.do(t, call{method: "GET", target: "/bucket/both"}).want(t, 200); a.body != plain+plain || a.header.Get(sseHeader) != "" {
		t.Errorf("both have %d bytes, %v", len(a.body), a.header)
	}
	// Emptied and written it is a plain file.
	h, err := fs.Open(ctx, granary.Cred{}, ours, filer.OpenFlags{Write: true}) // as kernels do: the size is set afterwards
	if err != nil {
		t.Fatal(err)
	}
	few = 0
	if _, err := fs.SetAttr(ctx, granary.Cred{}, &granary.SetAttr{Inode: ours, Size: &few, Opened: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(ctx, []byte("plain now"), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if a := s.do(t, call{method: "GET", target: "/bucket/ours"}).want(t, 200); a.body != "plain now" || a.header.Get(sseHeader) != "" {
		t.Errorf("%q, %v", a.body, a.header)
	}
}

// TestCustomerKeys: only who sends the key along gets anything.
func TestCustomerKeys(t *testing.T) {
	s := newServer(t)
	plain := text(50_000, 2)
	mine := customer(sseHeader, "mine")
	a := s.do(t, call{method: "PUT", target: "/bucket/k", body: plain, header: mine}).want(t, 200)
	if a.header.Get(sseHeader+customerAlgorithm) != sseAlgorithm || a.header.Get(sseHeader+customerKeyMD5) != mine[sseHeader+customerKeyMD5] || a.header.Get(sseHeader) != "" {
		t.Errorf("PUT says %v", a.header)
	}
	if etag := a.header.Get("Etag"); etag == quoteETag(md5Of(plain)) || len(etag) != 34 {
		t.Errorf("the ETag is %s", etag)
	}
	if !hidden(s.stored(t, s.find(t, "k")), plain) {
		t.Error("it is stored as it came")
	}
	got := s.do(t, call{method: "GET", target: "/bucket/k", header: with(mine, map[string]string{"Range": "bytes=17-40000"})}).want(t, 206)
	if got.body != plain[17:40001] || got.header.Get("Etag") != a.header.Get("Etag") || got.header.Get(sseHeader+customerAlgorithm) != sseAlgorithm {
		t.Errorf("%d bytes, %v", len(got.body), got.header)
	}
	s.do(t, call{method: "HEAD", target: "/bucket/k", header: mine}).want(t, 200)
	attributes := map[string]string{"X-Amz-Object-Attributes": "ETag"}
	s.do(t, call{method: "GET", target: "/bucket/k?attributes", header: with(mine, attributes)}).want(t, 200)
	for _, target := range []string{"/bucket/k", "/bucket/k?attributes"} {
		s.do(t, call{method: "GET", target: target, header: attributes}).wantCode(t, codeInvalidRequest)
		s.do(t, call{method: "GET", target: target, header: with(attributes, customer(sseHeader, "other"))}).wantCode(t, codeAccessDenied)
	}
	s.do(t, call{method: "HEAD", target: "/bucket/k"}).want(t, 400)
	s.do(t, call{method: "HEAD", target: "/bucket/k", header: customer(sseHeader, "other")}).want(t, 403)
	s.put(t, "plain", "x")
	s.do(t, call{method: "GET", target: "/bucket/plain", header: mine}).wantCode(t, codeInvalidRequest)
	s.do(t, call{method: "DELETE", target: "/bucket/k"}).want(t, 204)

	without := func(header map[string]string, name string) map[string]string {
		h := with(header)
		delete(h, sseHeader+name)
		return h
	}
	short := with(mine, map[string]string{sseHeader + customerKeyHeader: "c2hvcnQ="})
	for name, c := range map[string]struct {
		header map[string]string
		want   code
	}{
		"no algorithm":      {without(mine, customerAlgorithm), codeInvalidArgument},
		"another algorithm": {with(mine, map[string]string{sseHeader + customerAlgorithm: "AES128"}), codeInvalidEncryption},
		"no key":            {without(mine, customerKeyHeader), codeInvalidArgument},
		"no MD5":            {without(mine, customerKeyMD5), codeInvalidArgument},
		"a short key":       {short, codeInvalidArgument},
		"another MD5":       {with(mine, map[string]string{sseHeader + customerKeyMD5: customer(sseHeader, "x")[sseHeader+customerKeyMD5]}), codeInvalidArgument},
		"both":              {with(mine, byCluster()), codeInvalidArgument},
		"KMS":               {map[string]string{sseHeader: "aws:kms"}, codeNotImplemented},
		"a KMS key":         {map[string]string{sseHeader: sseAlgorithm, sseHeader + "-Aws-Kms-Key-Id": "x"}, codeInvalidArgument},
		"another method":    {map[string]string{sseHeader: "ROT13"}, codeInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, call{method: "PUT", target: "/bucket/none", body: "x", header: c.header}).wantCode(t, c.want)
			s.do(t, call{method: "POST", target: "/bucket/none?uploads", header: c.header}).wantCode(t, c.want)
			s.do(t, call{method: "PUT", target: "/bucket/none", header: with(c.header, map[string]string{"X-Amz-Copy-Source": "bucket/plain"})}).wantCode(t, c.want)
			s.do(t, call{method: "HEAD", target: "/bucket/none"}).want(t, 404)
		})
	}
}

// TestKeysOverPlainHTTP: a customer's key that everybody on the way could read is refused, unless a setting says otherwise.
func TestKeysOverPlainHTTP(t *testing.T) {
	for remote, want := range map[string]bool{"127.0.0.1:99": true, "[::1]:9": true, "[::ffff:127.0.0.1]:9": true, "192.0.2.1:80": false, "": false} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
		if got := (&request{h: &Handler{}, r: r}).confidential(); got != want {
			t.Errorf("%q: %t", remote, got)
		}
		if !(&request{h: &Handler{plainKeys: true}, r: r}).confidential() {
			t.Errorf("%q is refused against the setting", remote)
		}
	}
}

// TestEncryptedCopies copies between all ways of encryption, within a bucket and to another: by reference, where it can be.
func TestEncryptedCopies(t *testing.T) {
	s := newServer(t)
	if err := s.store.CreateBucket(t.Context(), granary.Cred{}, "elsewhere"); err != nil {
		t.Fatal(err)
	}
	ways := map[string]map[string]string{"plain": nil, "cluster": byCluster(), "mine": customer(sseHeader, "mine"), "theirs": customer(sseHeader, "theirs")}
	reading := func(way string) map[string]string {
		if way == "mine" || way == "theirs" {
			return ways[way]
		}
		return nil
	}
	source := func(way string) map[string]string {
		h := map[string]string{"X-Amz-Copy-Source": "bucket/from-" + way}
		if reading(way) != nil {
			h = with(h, customer(sseSource, way))
		}
		return h
	}
	for _, size := range []int{100, 100_000} {
		plain := text(size, uint64(size))
		for from := range ways {
			s.do(t, call{method: "PUT", target: "/bucket/from-" + from, body: plain, header: ways[from]}).want(t, 200)
			for to := range ways {
				name := fmt.Sprintf("%d bytes from %s to %s", size, from, to)
				for _, bucket := range []string{"bucket", "elsewhere"} {
					target := "/" + bucket + "/to"
					a := s.do(t, call{method: "PUT", target: target, header: with(ways[to], source(from))}).want(t, 200)
					if a.header.Get(sseHeader) != ways[to][sseHeader] || a.header.Get(sseHeader+customerKeyMD5) != ways[to][sseHeader+customerKeyMD5] {
						t.Errorf("%s: %v", name, a.header)
					}
					got := s.do(t, call{method: "GET", target: target, header: reading(to)}).want(t, 200)
					if got.body != plain {
						t.Fatalf("%s: %d other bytes", name, len(got.body))
					}
					if etag := got.header.Get("Etag"); (etag == quoteETag(md5Of(plain))) != (reading(to) == nil) || !strings.Contains(a.body, strings.Trim(etag, `"`)) {
						t.Errorf("%s: ETag %s, and the answer is %s", name, etag, a.body)
					}
				}
				found, original := s.find(t, "to"), s.find(t, "from-"+from)
				if encrypted := to != "plain"; encrypted == bytes.Contains(s.stored(t, found), []byte(plain[:50])) {
					t.Errorf("%s: what is stored is not that", name)
				}
				if size > 4096 && from != "plain" && to != "plain" {
					for id := range blocks(found) {
						if !blocks(original)[id] {
							t.Errorf("%s: it was not by reference", name)
						}
					}
				}
			}
			if reading(from) != nil {
				s.do(t, call{method: "PUT", target: "/bucket/to", header: map[string]string{"X-Amz-Copy-Source": "bucket/from-" + from}}).wantCode(t, codeInvalidRequest)
				s.do(t, call{method: "PUT", target: "/bucket/to", header: with(customer(sseSource, "no"), map[string]string{"X-Amz-Copy-Source": "bucket/from-" + from})}).
					wantCode(t, codeAccessDenied)
			}
		}
	}
	onto := map[string]string{"X-Amz-Copy-Source": "bucket/from-plain"}
	s.do(t, call{method: "PUT", target: "/bucket/from-plain", header: onto}).wantCode(t, codeInvalidRequest)
	s.do(t, call{method: "PUT", target: "/bucket/from-plain", header: with(onto, byCluster())}).want(t, 200)
	if a := s.do(t, call{method: "HEAD", target: "/bucket/from-plain"}).want(t, 200); a.header.Get(sseHeader) != sseAlgorithm {
		t.Errorf("copied onto itself: %v", a.header)
	}
	s.do(t, call{method: "PUT", target: "/bucket/from-mine", header: source("mine")}).want(t, 200)
	if got := s.do(t, call{method: "GET", target: "/bucket/from-mine"}).want(t, 200); got.body != text(100_000, 100_000) {
		t.Errorf("decrypted in place: %d other bytes", len(got.body))
	}
	sum := map[string]string{"X-Amz-Checksum-Algorithm": "SHA256", "X-Amz-Checksum-Mode": "ENABLED"}
	s.do(t, call{method: "PUT", target: "/bucket/summed", header: with(source("theirs"), sum)}).want(t, 200)
	a := s.do(t, call{method: "GET", target: "/bucket/summed", header: sum}).want(t, 200)
	if a.header.Get("X-Amz-Checksum-Sha256") != sumOf(algorithmSHA256, []byte(a.body)) {
		t.Errorf("the checksum of a copy: %v", a.header)
	}
}

// TestEncryptedParts: parts are encrypted as their upload is, each by a stream of its own, and the object is that of their bytes.
func TestEncryptedParts(t *testing.T) {
	s := newServer(t)
	first, second, last := text(5<<20, 1), text(5<<20, 2), text(77_777, 3)
	mine := customer(sseHeader, "mine")
	for name, header := range map[string]map[string]string{"cluster": byCluster(), "mine": mine} {
		t.Run(name, func(t *testing.T) {
			reading := with(header)
			delete(reading, sseHeader)
			id := s.initiate(t, name, header)
			part := func(number int, body string) string {
				target := fmt.Sprintf("/bucket/%s?partNumber=%d&uploadId=%s", name, number, id)
				return s.do(t, call{method: "PUT", target: target, body: body, header: reading}).want(t, 200).header.Get("Etag")
			}
			root, err := s.store.Bucket(t.Context(), "bucket")
			if err != nil {
				t.Fatal(err)
			}
			stored := func() []byte {
				return s.stored(t, s.layout(t, &granary.Lookup{Base: root.Dataset().System(), Path: id + "/" + partName(1)}))
			}
			part(1, second)
			before := stored()
			e1 := part(1, first)
			if b := stored(); !hidden(b[:50_000], first[:5000]) || alike(before, b, second, first) {
				t.Error("another content of the same part shows the keystream, or itself")
			}
			etags := []string{e1, part(2, second), part(3, last)}
			target := "/bucket/" + name + "?uploadId=" + id
			done := s.do(t, call{method: "POST", target: target, body: completion(etags...)}).want(t, 200)
			whole := first + second + last
			if name == "cluster" && (done.header.Get(sseHeader) != sseAlgorithm || !strings.Contains(done.body, etagOfParts(first, second, last))) {
				t.Errorf("%v %s", done.header, done.body)
			}
			if got := s.do(t, call{method: "GET", target: "/bucket/" + name, header: reading}).want(t, 200); got.body != whole {
				t.Errorf("%d other bytes", len(got.body))
			}
			for _, r := range [][2]int{{5<<20 - 3, 5<<20 + 3}, {5 << 20, 10<<20 + 1}, {10<<20 - 17, 10<<20 + 70_000}, {3, 10<<20 + 9}} {
				h := with(reading, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", r[0], r[1])})
				if got := s.do(t, call{method: "GET", target: "/bucket/" + name, header: h}).want(t, 206); got.body != whole[r[0]:r[1]+1] {
					t.Errorf("%v: %d other bytes", r, len(got.body))
				}
			}
			if got := s.do(t, call{method: "GET", target: "/bucket/" + name + "?partNumber=3", header: reading}).want(t, 206); got.body != last {
				t.Errorf("the third part: %d other bytes", len(got.body))
			}
			// A part of another object, which is encrypted otherwise, and a copy of the whole under another key.
			to := s.initiate(t, "of-"+name, customer(sseHeader, "theirs"))
			from := with(customer(sseHeader, "theirs"), map[string]string{"X-Amz-Copy-Source": "bucket/" + name, "X-Amz-Copy-Source-Range": "bytes=5242870-5242999"})
			if name == "mine" {
				from = with(from, customer(sseSource, "mine"))
			}
			a := s.do(t, call{method: "PUT", target: "/bucket/of-" + name + "?partNumber=7&uploadId=" + to, header: from}).want(t, 200)
			_, etag, _ := strings.Cut(a.body, "<ETag>")
			etag, _, _ = strings.Cut(etag, "</ETag>")
			list := strings.Replace(completion(etag), "<PartNumber>1", "<PartNumber>7", 1)
			s.do(t, call{method: "POST", target: "/bucket/of-" + name + "?uploadId=" + to, body: list}).want(t, 200)
			if got := s.do(t, call{method: "GET", target: "/bucket/of-" + name, header: customer(sseHeader, "theirs")}).want(t, 200); got.body != whole[5242870:5243000] {
				t.Errorf("%d other bytes in the copied part", len(got.body))
			}
			delete(from, "X-Amz-Copy-Source-Range")
			s.do(t, call{method: "PUT", target: "/bucket/again", header: from}).want(t, 200)
			if got := s.do(t, call{method: "GET", target: "/bucket/again", header: customer(sseHeader, "theirs")}).want(t, 200); got.body != whole {
				t.Errorf("%d other bytes in the copy", len(got.body))
			}
		})
	}
	t.Run("other keys", func(t *testing.T) {
		id := s.initiate(t, "k", mine)
		target := "/bucket/k?partNumber=1&uploadId=" + id
		s.do(t, call{method: "PUT", target: target, body: "x"}).wantCode(t, codeInvalidRequest)
		s.do(t, call{method: "PUT", target: target, body: "x", header: customer(sseHeader, "other")}).wantCode(t, codeInvalidRequest)
		s.do(t, call{method: "PUT", target: target, body: "x", header: with(mine, byCluster())}).wantCode(t, codeInvalidArgument)
		plain := s.initiate(t, "k", nil)
		s.do(t, call{method: "PUT", target: "/bucket/k?partNumber=1&uploadId=" + plain, body: "x", header: mine}).wantCode(t, codeInvalidRequest)
	})
	t.Run("empty", func(t *testing.T) {
		id := s.initiate(t, "empty", byCluster())
		etag := s.part(t, "empty", id, 1, "")
		s.do(t, call{method: "POST", target: "/bucket/empty?uploadId=" + id, body: completion(etag)}).want(t, 200)
		if a := s.do(t, call{method: "GET", target: "/bucket/empty"}).want(t, 200); a.body != "" || a.header.Get(sseHeader) != sseAlgorithm {
			t.Errorf("%q, %v", a.body, a.header)
		}
	})
}

// alike reports whether two stored contents were encrypted with the same keystream, or are the same.
func alike(a, b []byte, plainA, plainB string) bool {
	same := 0
	for i := range a {
		if a[i]^b[i] == plainA[i]^plainB[i] || a[i] == b[i] {
			same++
		}
	}
	return same > len(a)/50 // by chance one in 128
}

// TestEncryptedForms: the fields of a form say how its file is encrypted, as headers do, and so do the parameters of a presigned URL.
func TestEncryptedForms(t *testing.T) {
	s := newServer(t)
	fields := [][2]string{{"key", "up/mine"}}
	conditions := []string{}
	for name, v := range customer(sseHeader, "mine") {
		fields = append(fields, [2]string{strings.ToLower(name), v})
		conditions = append(conditions, fmt.Sprintf(`["starts-with", "$%s", ""]`, strings.ToLower(name)))
	}
	s.post(t, posting{fields: fields, policy: policyFor(conditions...), file: "of mine"}).want(t, 204)
	s.post(t, posting{fields: [][2]string{{"key", "up/ours"}, {"x-amz-server-side-encryption", "AES256"}},
		policy: policyFor(`{"x-amz-server-side-encryption": "AES256"}`), file: "of ours"}).want(t, 204)
	s.do(t, call{method: "GET", target: "/bucket/up/mine"}).wantCode(t, codeInvalidRequest)
	if a := s.do(t, call{method: "GET", target: "/bucket/up/mine", header: customer(sseHeader, "mine")}).want(t, 200); a.body != "of mine" {
		t.Error(a.body)
	}
	if a := s.do(t, call{method: "GET", target: "/bucket/up/ours"}).want(t, 200); a.body != "of ours" || a.header.Get(sseHeader) != sseAlgorithm {
		t.Error(a.body, a.header)
	}
	s.do(t, call{method: "PUT", target: "/bucket/up/query?x-amz-server-side-encryption=AES256", body: "x"}).want(t, 200)
	if a := s.do(t, call{method: "HEAD", target: "/bucket/up/query"}).want(t, 200); a.header.Get(sseHeader) != sseAlgorithm {
		t.Error(a.header)
	}
}

// TestDefaultEncryption: a bucket has what comes into it encrypted, unless it says itself how.
func TestDefaultEncryption(t *testing.T) {
	s := newServer(t)
	rule := func(algorithm, more string) string {
		return "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>" + algorithm +
			"</SSEAlgorithm>" + more + "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
	}
	put := func(document string) answer {
		return s.do(t, call{method: "PUT", target: "/bucket?encryption", body: document})
	}
	put(rule("aws:kms", "")).wantCode(t, codeNotImplemented)
	put(rule("ROT13", "")).wantCode(t, codeMalformedXML)
	put(rule(sseAlgorithm, "<KMSMasterKeyID>x</KMSMasterKeyID>")).wantCode(t, codeInvalidArgument)
	put("<ServerSideEncryptionConfiguration/>").wantCode(t, codeMalformedXML)
	s.put(t, "before", "x")
	put(rule(sseAlgorithm, "")).want(t, 200)
	if a := s.do(t, call{method: "GET", target: "/bucket?encryption"}).want(t, 200); !strings.Contains(a.body, "<SSEAlgorithm>AES256</SSEAlgorithm>") {
		t.Error(a.body)
	}
	how := func(key string, header map[string]string) string {
		return s.do(t, call{method: "HEAD", target: "/bucket/" + key, header: header}).want(t, 200).header.Get(sseHeader)
	}
	if a := s.put(t, "after", "x"); a.header.Get(sseHeader) != sseAlgorithm || how("after", nil) != sseAlgorithm || how("before", nil) != "" {
		t.Errorf("%v", a.header)
	}
	mine := customer(sseHeader, "mine")
	s.do(t, call{method: "PUT", target: "/bucket/mine", body: "x", header: mine}).want(t, 200)
	if how("mine", mine) != "" {
		t.Error("the key of the bucket took the place of the customer's")
	}
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "bucket/before"}}).want(t, 200)
	id := s.initiate(t, "parts", nil)
	s.do(t, call{method: "POST", target: "/bucket/parts?uploadId=" + id, body: completion(s.part(t, "parts", id, 1, "abc"))}).want(t, 200)
	if how("copy", nil) != sseAlgorithm || how("parts", nil) != sseAlgorithm {
		t.Error("a copy or an upload of parts is plain")
	}
	s.put(t, "dir/", "")
	if a := s.do(t, call{method: "GET", target: "/bucket/dir/"}).want(t, 200); a.body != "" {
		t.Error(a.body)
	}
	s.do(t, call{method: "DELETE", target: "/bucket?encryption"}).want(t, 204)
	s.do(t, call{method: "GET", target: "/bucket?encryption"}).wantCode(t, codeNoEncryption)
	if s.put(t, "after", "x"); how("after", nil) != "" {
		t.Error("it is encrypted without need")
	}
}

// TestRotation: what was encrypted with earlier keys is read, and what comes is encrypted with the newest.
func TestRotation(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket/old", body: "old content", header: byCluster()}).want(t, 200)
	ids, err := s.store.RotateKeys(t.Context())
	if err != nil || len(ids) != 2 {
		t.Fatal(ids, err)
	}
	s.do(t, call{method: "PUT", target: "/bucket/new", body: "new content", header: byCluster()}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: with(byCluster(), map[string]string{"X-Amz-Copy-Source": "bucket/old"})}).want(t, 200)
	for i, want := range map[string]seal.KeyID{"old": ids[0], "new": ids[1], "copy": ids[1]} {
		r, err := seal.RecordOf(s.find(t, i).Xattrs)
		if err != nil || r == nil || r.KeyID != want {
			t.Errorf("%s: %+v, %v, want key %s", i, r, err, want)
		}
	}
	for key, want := range map[string]string{"old": "old content", "new": "new content", "copy": "old content"} {
		if a := s.do(t, call{method: "GET", target: "/bucket/" + key}).want(t, 200); a.body != want {
			t.Errorf("%s: %q", key, a.body)
		}
	}
}

// TestEncryptionModel compares any sequence of uploads and ranges with the bytes, and looks that they are not in what is stored.
func TestEncryptionModel(t *testing.T) {
	s := newServer(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		model := map[string]string{}
		ways := map[string]map[string]string{}
		for i := range rapid.IntRange(1, 4).Draw(rt, "steps") {
			key := fmt.Sprintf("%d/%s", round, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key"))
			way := rapid.SampledFrom([]map[string]string{byCluster(), customer(sseHeader, "one"), customer(sseHeader, "two")}).Draw(rt, "way")
			from := fmt.Sprintf("%d/%s", round, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "from"))
			reading := with(way)
			delete(reading, sseHeader)
			body := text(rapid.IntRange(0, 12_000).Draw(rt, "size"), uint64(round*10+i))
			switch kind := rapid.SampledFrom([]string{"put", "parts", "copy"}).Draw(rt, "kind"); {
			case kind == "put":
				s.do(t, call{method: "PUT", target: "/bucket/" + key, body: body, header: way}).want(t, 200)
			case kind == "parts":
				id := s.initiate(t, key, way)
				target := "/bucket/" + key + "?uploadId=" + id
				a := s.do(t, call{method: "PUT", target: target + "&partNumber=1", body: body, header: reading}).want(t, 200)
				s.do(t, call{method: "POST", target: target, body: completion(a.header.Get("Etag"))}).want(t, 200)
			case ways[from] == nil:
				continue
			default:
				h := with(way, map[string]string{"X-Amz-Copy-Source": "bucket/" + from})
				for name, v := range ways[from] {
					h[strings.Replace(name, sseHeader, sseSource, 1)] = v
				}
				s.do(t, call{method: "PUT", target: "/bucket/" + key, header: h}).want(t, 200)
				body = model[from]
			}
			model[key], ways[key] = body, reading
		}
		for key, plain := range model {
			if got := s.do(t, call{method: "GET", target: "/bucket/" + key, header: ways[key]}).want(t, 200); got.body != plain {
				rt.Fatalf("%s: %d other bytes", key, len(got.body))
			}
			if len(plain) > 0 {
				first := rapid.IntRange(0, len(plain)-1).Draw(rt, "first")
				last := rapid.IntRange(first, len(plain)-1).Draw(rt, "last")
				h := with(ways[key], map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", first, last)})
				if got := s.do(t, call{method: "GET", target: "/bucket/" + key, header: h}).want(t, 206); got.body != plain[first:last+1] {
					rt.Fatalf("%s: [%d, %d] differs", key, first, last)
				}
			}
			if !hidden(s.stored(t, s.find(t, key)), plain) {
				rt.Fatalf("%s is stored as it came", key)
			}
		}
	})
}
