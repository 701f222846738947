package fuse

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/dsorchard/granary/filer"
)

// request is the context of a request that may end when its caller is killed: the kernel lets nobody die who waits for an answer, and
// volume servers that do not answer are waited for, for long. Other signals, which language runtimes send themselves, end nothing: see Interrupts.
type request struct {
	context.Context                 // of the mount
	from            context.Context // as the kernel asked
}

var _ filer.Killable = (*request)(nil)

func (m *Server) request(ctx context.Context) *request { return &request{m.ctx, ctx} }

// Killable implements filer.Killable.
func (r *request) Killable() (context.Context, func()) {
	ctx, cancel := context.WithCancel(r.Context)
	stop := context.AfterFunc(r.from, func() {
		if c, ok := gofuse.FromContext(r.from); ok && dying(c.Pid) {
			cancel()
		}
	})
	return ctx, func() { stop(); cancel() }
}

// dying reports whether a thread has SIGKILL pending, as it has for any signal that ends its process.
func dying(pid uint32) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "SigPnd" && name != "ShdPnd" {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err == nil && set&(1<<(syscall.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}
