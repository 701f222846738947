package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// FuzzHeaders holds that what the headers of a request say is understood or refused as invalid, or too large: entity tags, digests, times and
// attributes.
func FuzzHeaders(f *testing.F) {
	f.Add(`"a", W/"b,c" , d`)
	f.Add("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, md5=:1B2M2Y8AsgTpgAmy7PhCfg==:")
	f.Add("crc32c=00000000")
	f.Add("1700000000.123456789")
	f.Add("Fri, 24 May 2013 00:00:00 GMT")
	f.Add("user.a%20b")
	f.Fuzz(func(t *testing.T, text string) {
		refused := func(err error) bool {
			if err != nil && !granary.IsKind(err, granary.KindInvalid) && !granary.IsKind(err, granary.KindTooLarge) {
				t.Fatal(err)
			}
			return err != nil
		}
		if tags, anything, err := parseETags(text); !refused(err) && anything && len(tags) > 0 {
			t.Fatalf("anything, and %q", tags)
		}
		for _, header := range []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
			r := httptest.NewRequest(http.MethodPut, "/", nil)
			r.Header[header] = []string{text}
			if sums, err := announced(r); !refused(err) && len(sums) == 0 {
				t.Fatalf("%s: nothing of it is checked", header)
			}
		}
		if at, err := parseTime(text); err == nil {
			if again, err := parseTime(at.Std().UTC().Format(time.RFC3339Nano)); err != nil || again != at {
				t.Fatalf("%v is %v when it is read again: %v", at, again, err)
			}
		}
		if x, err := parseXattr(text, text); !refused(err) && (len(x.Name) > granary.XattrNameMax || len(x.Value) > granary.XattrValueMax) {
			t.Fatalf("%+v", x)
		}
		_, err := parseMetadata(text)
		refused(err)
	})
}
