package s3

import (
	"bytes"
	"fmt"
	"testing"
)

// TestSigningKeys: what is kept is the key of the very scope and secret, however many there are, and their number is bounded.
func TestSigningKeys(t *testing.T) {
	var keys signingKeys
	for round := range 3 {
		for i := range 2*signingKeysMax + round {
			text := fmt.Sprint(i / 4)
			secret, s := "secret", scope{date: "20260101", region: "us-east-1", service: scopeService}
			switch i % 4 {
			case 0:
				secret = text
			case 1:
				s.date = text
			case 2:
				s.region = text
			case 3:
				s.service = text
			}
			if got, want := keys.of(secret, s), signingKey(secret, s); !bytes.Equal(got, want) {
				t.Fatalf("key of %q in %+v: %x, not %x", secret, s, got, want)
			}
			if len(keys.kept) > signingKeysMax {
				t.Fatalf("%d keys are kept", len(keys.kept))
			}
		}
	}
}
