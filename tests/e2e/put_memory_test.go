//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
	"github.com/dsorchard/granary/tests/measure"
)

// TestE2ELongPut puts 20 MiB of new content time and again, and then 1 GiB, of lengths that are not told: the filer has had all the memory that the
// long one takes before.
func TestE2ELongPut(t *testing.T) {
	// more is what a peak may be higher by chance: chunks that lie otherwise in their rows, and garbage. Another piece of memory for chunks would
	// be 4 MiB.
	const short, long, rounds, more = 20 << 20, 1 << 30, 40, 3 << 20
	d := cluster.StartDev(t, 1, 1)
	peak := func() uint64 {
		peak, _, err := measure.PeakMemory(d.Process(t, "f1").Pid)
		if err != nil {
			t.Fatal(err)
		}
		return peak
	}
	putNoise(t, d.HTTP+"/noise/first", short)
	first := peak()
	for i := range rounds {
		putNoise(t, fmt.Sprintf("%s/noise/%d", d.HTTP, i), short)
	}
	before := peak()
	putNoise(t, d.HTTP+"/noise/long", long)
	after := peak()
	t.Logf("at most %d KiB resident after a PUT of 20 MiB, %d after %d more, %d after one of 1 GiB", first>>10, before>>10, rounds, after>>10)
	if after > before+more {
		t.Errorf("a PUT of 1 GiB takes %d KiB more than many of 20 MiB", (after-before)>>10)
	}
}

// putNoise puts bytes that no other call has put, without telling how many will come.
func putNoise(t *testing.T, url string, size int64) {
	t.Helper()
	body := io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(url))), size)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s: %s: %s, %v", url, answer.Status, text, err)
	}
}
