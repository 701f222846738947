package s3

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// The keys of AWS's examples:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
const (
	testAccessKey = "AKIAIOSFODNN7EXAMPLE"
	testSecretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var awsExampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func fixedHandler(t testing.TB, now time.Time) *Handler {
	h := newHandler(oneUser{}, Options{Now: func() time.Time { return now }})
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// oneUser is a store that knows nothing but a user.
type oneUser struct{ store }

// Holder implements store.
func (oneUser) Holder(_ context.Context, accessKey, _ string, _ ...string) (*granary.Holder, error) {
	if accessKey != testAccessKey {
		return nil, granary.Errorf(granary.KindNotFound, "user", accessKey, "")
	}
	return &granary.Holder{Root: true, Key: granary.Identity{Name: testAccessKey, Secret: testSecretKey}}, nil
}

func authorization(headers, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=" + testAccessKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + headers + ",Signature=" + signature
}

func awsRequest(method, target string, header map[string]string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "examplebucket.s3.amazonaws.com"
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return r
}

func wantCode(t rapid.TB, err error, want code) {
	t.Helper()
	var e *apiError
	if !errors.As(err, &e) || e.code != want {
		t.Fatalf("error is %v, want %s", err, want)
	}
}

func TestSignatureExamplesOfAWS(t *testing.T) {
	welcome := "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
	examples := map[string]*http.Request{
		"GET object": awsRequest("GET", "/test.txt", map[string]string{
			"Range": "bytes=0-9", "X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z",
			"Authorization": authorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
		}),
		"PUT object": awsRequest("PUT", "/test$file.text", map[string]string{
			"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Content-Sha256": welcome, "X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY",
			"Authorization": authorization("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
		}),
		"GET lifecycle": awsRequest("GET", "/?lifecycle", map[string]string{
			"X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z",
			"Authorization": authorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		}),
		"list": awsRequest("GET", "/?max-keys=2&prefix=J", map[string]string{
			"X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z",
			"Authorization": authorization("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
		}),
		"presigned": awsRequest("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+testAccessKey+
			"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil),
	}
	h := fixedHandler(t, awsExampleTime)
	for name, r := range examples {
		t.Run(name, func(t *testing.T) {
			if _, err := h.authenticate(r, r.URL.Query()); err != nil {
				t.Fatal(err)
			}
			r.Method = "DELETE"
			_, err := h.authenticate(r, r.URL.Query())
			wantCode(t, err, codeSignature)
		})
	}
}

func TestAuthenticationRefused(t *testing.T) {
	good := func() *http.Request {
		return awsRequest("GET", "/?lifecycle", map[string]string{
			"X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z",
			"Authorization": authorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		})
	}
	presigned := func() *http.Request {
		return awsRequest("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+testAccessKey+
			"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	}
	cases := []struct {
		name   string
		now    time.Time
		r      *http.Request
		change func(*http.Request)
		want   code
	}{
		{"clock ahead", awsExampleTime.Add(16 * time.Minute), good(), nil, codeTimeSkewed},
		{"clock behind", awsExampleTime.Add(-16 * time.Minute), good(), nil, codeTimeSkewed},
		{"version 2", awsExampleTime, good(), func(r *http.Request) { r.Header.Set("Authorization", "AWS "+testAccessKey+":abc=") }, codeSignature},
		{"version 2 query", awsExampleTime, awsRequest("GET", "/k?AWSAccessKeyId="+testAccessKey+"&Signature=b&Expires=9999999999", nil), nil, codeSignature},
		{"unknown key", awsExampleTime, good(), func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), testAccessKey, "NOBODY", 1))
		}, codeInvalidAccessKey},
		{"unsigned amz header", awsExampleTime, good(), func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/b/k") }, codeAccessDenied},
		{"no scope", awsExampleTime, good(), func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, codeAuthMalformed},
		{"no payload hash", awsExampleTime, good(), func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, codeInvalidRequest},
		{"presigned expired", awsExampleTime.Add(25 * time.Hour), presigned(), nil, codeAccessDenied},
		{"presigned not yet", awsExampleTime.Add(-time.Hour), presigned(), nil, codeAccessDenied},
		{"presigned with unsigned header", awsExampleTime, presigned(), func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/b/k") }, codeAccessDenied},
		{"presigned for too long", awsExampleTime, presigned(), func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "86400", "604801", 1)
		}, codeAuthQuery},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.change != nil {
				c.change(c.r)
			}
			_, err := fixedHandler(t, c.now).authenticate(c.r, c.r.URL.Query())
			wantCode(t, err, c.want)
		})
	}
}

// exampleScope is that of AWS's example of chunked uploads.
func exampleSigner(seed string) *chunkSigner {
	s := scope{accessKey: testAccessKey, date: "20130524", region: "us-east-1", service: "s3"}
	return &chunkSigner{mac: hmac.New(sha256.New, signingKey(testSecretKey, s)), dateTime: "20130524T000000Z", scope: s.String(), previous: seed}
}

// signedChunk is a chunk as clients send it; the last one, which is empty, is without the line end behind it.
func signedChunk(signer *chunkSigner, data string) string {
	sum := sha256.Sum256([]byte(data))
	chunk := fmt.Sprintf("%x;chunk-signature=%s\r\n", len(data), signer.next(sum[:]))
	if data == "" {
		return chunk
	}
	return chunk + data + "\r\n"
}

func exampleChunks(signatures ...string) string {
	a := strings.Repeat("a", 66560)
	return "10000;chunk-signature=" + signatures[0] + "\r\n" + a[:65536] + "\r\n400;chunk-signature=" + signatures[1] + "\r\n" + a[65536:] +
		"\r\n0;chunk-signature=" + signatures[2] + "\r\n"
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and -trailers.html
const (
	chunkSeed    = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
	chunkFirst   = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
	chunkSecond  = "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
	chunkLast    = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
	trailSeed    = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
	trailFirst   = "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"
	trailSecond  = "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"
	trailLast    = "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"
	trailTrailer = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
)

func TestChunkExamplesOfAWS(t *testing.T) {
	want := strings.Repeat("a", 66560)
	plain := exampleChunks(chunkFirst, chunkSecond, chunkLast) + "\r\n"
	got, err := io.ReadAll(newChunkReader(strings.NewReader(plain), exampleSigner(chunkSeed), nil, 66560))
	if err != nil || string(got) != want {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	trailing := exampleChunks(trailFirst, trailSecond, trailLast) + "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" + trailTrailer + "\r\n\r\n"
	c := newChunkReader(strings.NewReader(trailing), exampleSigner(trailSeed), []string{"x-amz-checksum-crc32c"}, 66560)
	got, err = io.ReadAll(c)
	if err != nil || string(got) != want || c.values["x-amz-checksum-crc32c"] != "sOO8/Q==" {
		t.Fatalf("%d bytes, trailers %v, %v", len(got), c.values, err)
	}
}

func TestChunksRefused(t *testing.T) {
	plain := exampleChunks(chunkFirst, chunkSecond, chunkLast) + "\r\n"
	trailing := exampleChunks(trailFirst, trailSecond, trailLast) + "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:" + trailTrailer + "\r\n\r\n"
	names := []string{"x-amz-checksum-crc32c"}
	cases := []struct {
		name, text, seed string
		trailers         []string
		size             int64
		want             code
	}{
		{"data changed", strings.Replace(plain, "aaaa", "aaba", 1), chunkSeed, nil, 66560, codeSignature},
		{"last signature changed", strings.Replace(plain, "b6c6", "b6c7", 1), chunkSeed, nil, 66560, codeSignature},
		{"other seed", plain, trailSeed, nil, 66560, codeSignature},
		{"no signature", "5\r\nhello\r\n0\r\n\r\n", chunkSeed, nil, 5, codeSignature},
		{"cut off before the last chunk", plain[:len(plain)-90], chunkSeed, nil, 66560, codeIncompleteBody},
		{"cut off in data", plain[:1000], chunkSeed, nil, 66560, codeIncompleteBody},
		{"more than announced", plain, chunkSeed, nil, 66559, codeIncompleteBody},
		{"less than announced", plain, chunkSeed, nil, 66561, codeIncompleteBody},
		{"something behind", plain + "x:y\r\n", chunkSeed, nil, 66560, codeMalformedTrailer},
		{"trailer changed", strings.Replace(trailing, "sOO8", "sOO9", 1), trailSeed, names, 66560, codeSignature},
		{"trailer unsigned", trailing[:strings.Index(trailing, "x-amz-trailer")] + "\r\n", trailSeed, names, 66560, codeSignature},
		{"trailer missing", exampleChunks(trailFirst, trailSecond, trailLast) + "\r\n", trailSeed, names, 66560, codeMalformedTrailer},
		{"trailer not announced", trailing, trailSeed, []string{}, 66560, codeMalformedTrailer},
		{"huge size", "ffffffffffffffff;chunk-signature=x\r\n", chunkSeed, nil, 66560, codeInvalidRequest},
		{"long line", strings.Repeat("1", 5000), chunkSeed, nil, 66560, codeInvalidRequest},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := io.ReadAll(newChunkReader(strings.NewReader(c.text), exampleSigner(c.seed), c.trailers, c.size))
			wantCode(t, err, c.want)
		})
	}
}

// FuzzChunks holds that whatever comes in, the decoder gives at most what was announced, and under a
// signature nothing but the one signed text.
func FuzzChunks(f *testing.F) {
	const text = "hello"
	signer := exampleSigner(chunkSeed)
	signed := signedChunk(signer, text) + signedChunk(signer, "")
	trailers := "x-amz-checksum-crc32c:mnG7TA==\n"
	f.Add([]byte(signed+"\r\n"), uint16(len(text)), true, false)
	f.Add([]byte(signed+strings.Replace(trailers, "\n", "\r\n", 1)+"x-amz-trailer-signature:"+signer.trailer(hexSHA256(trailers))+"\r\n\r\n"), uint16(len(text)), true, true)
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:mnG7TA==\r\n\r\n"), uint16(5), false, true)
	f.Add([]byte("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), uint16(5), false, false)
	f.Add([]byte("0\r\n\r\n"), uint16(0), false, false)
	f.Fuzz(func(t *testing.T, text []byte, size uint16, signed, trailing bool) {
		var signer *chunkSigner
		if signed {
			signer = exampleSigner(chunkSeed)
		}
		var names []string
		if trailing {
			names = []string{"x-amz-checksum-crc32c"}
		}
		c := newChunkReader(bytes.NewReader(text), signer, names, int64(size))
		got, err := io.ReadAll(c)
		switch {
		case len(got) > int(size):
			t.Fatalf("%d bytes of %d", len(got), size)
		case err != nil:
			wantRefusal(t, err)
		case len(got) != int(size), signed && string(got) != "hello", len(c.values) != len(names),
			signed && trailing && c.values["x-amz-checksum-crc32c"] != "mnG7TA==":
			t.Fatalf("accepted %d bytes, trailers %v", len(got), c.values)
		}
	})
}

func TestCanonicalQueryOrder(t *testing.T) {
	r := httptest.NewRequest("GET", "/?b=2&a-=1&a=2&a=1&c%20d=%2F+x&e", nil)
	if got, want := canonicalQuery(r.URL.Query(), "b"), "a=1&a=2&a-=1&c%20d=%2F%20x&e="; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// TestCanonicalHeaders: a header is signed without spaces around it and with single ones within, and what can be seen to be so is taken as it is.
func TestCanonicalHeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringOfN(rapid.SampledFrom([]rune(" \ta~\u00a0\u2003\n")), 0, 6, -1).Draw(t, "value")
		want := strings.Join(strings.Fields(value), " ")
		r := &http.Request{Header: http.Header{"X-Amz-Meta-A": {value}}}
		if got := canonicalHeader(r, "x-amz-meta-a"); got != want {
			t.Fatalf("%q is signed as %q, want %q", value, got, want)
		}
	})
}

// TestURIEncode: all but unreserved characters are encoded, wherever they stand.
func TestURIEncode(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a/b": "a/b", "a b": "a%20b", " a": "%20a", "a%": "a%25", "é~-_.": "%C3%A9~-_.", "A+Z=9": "A%2BZ%3D9",
	} {
		if got := uriEncode(text, true); got != want {
			t.Errorf("%q is encoded as %q, want %q", text, got, want)
		}
	}
	if got := uriEncode("a/b/", false); got != "a%2Fb%2F" {
		t.Error(got)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	r := httptest.NewRequest(http.MethodDelete, "http://127.0.0.1:7700/bench/4096-8/0/03/00000011", nil)
	for name, value := range map[string]string{
		"X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20260102T030405Z", "User-Agent": "MinIO (linux; amd64) minio-go/v7.0.0", "Accept-Encoding": "gzip",
	} {
		r.Header.Set(name, value)
	}
	signed := []string{"host", "x-amz-content-sha256", "x-amz-date"}
	b.ReportAllocs()
	for b.Loop() {
		if unsignedHeaders(r, signed, false) != "" || canonicalRequest(r, nil, "", signed, emptySHA256) == "" {
			b.Fatal("the request is not as it should be")
		}
	}
}
