package filer

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/dsorchard/granary"
)

// TestEveryKindHasNumbers goes through all kinds: each has an error number and a status that is one
// of failure, and none falls through to the default of the tables.
func TestEveryKindHasNumbers(t *testing.T) {
	general := []granary.Kind{granary.KindIndeterminate, granary.KindCorrupt, granary.KindInternal, granary.KindExpired, granary.KindMissingChunks}
	last := granary.Kind(0)
	for k := granary.Kind(1); !strings.HasPrefix(k.String(), "kind "); k++ {
		last = k
		err := granary.Errorf(k, "op", "subject", "")
		e, s := Errno(err), HTTPStatus(err)
		if e == 0 || s < 400 || s > 599 {
			t.Errorf("%v: errno %d, status %d", k, e, s)
		}
		isGeneral := false
		for _, g := range general {
			isGeneral = isGeneral || g == k
		}
		if (e == syscall.EIO) != isGeneral {
			t.Errorf("%v: errno %v", k, e)
		}
	}
	if last != granary.KindFenced {
		t.Errorf("the last kind is %v: are the new ones in the tables?", last)
	}
	if Errno(nil) != 0 || HTTPStatus(nil) != http.StatusOK {
		t.Error("no error is none")
	}
	if Errno(context.Canceled) != syscall.EINTR || Errno(http.ErrBodyNotAllowed) != syscall.EIO {
		t.Error("errors of other types")
	}
}
