package fuse

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	groupsFor = time.Second // how long a thread's groups are taken as still the same
	groupsMax = 4096        // threads whose groups are kept
)

// caller is who asked, with the supplementary groups that the kernel does not tell.
func (m *Server) caller(ctx context.Context) granary.Cred {
	c, ok := gofuse.FromContext(ctx)
	if !ok {
		return granary.Cred{}
	}
	cred := granary.Cred{UID: c.Uid, GID: c.Gid}
	if cred.UID != 0 { // the superuser needs no groups
		cred.Groups = m.groups.of(c, time.Now())
	}
	return m.options.IDs.cred(cred)
}

// as is the context of a request on behalf of who asked: see Interrupts for why it is not the request's own.
func (m *Server) as(ctx context.Context) context.Context { return filer.WithCred(m.ctx, m.caller(ctx)) }

// groups remembers the supplementary groups of threads for a moment. A thread that becomes another user is asked anew.
type groups struct {
	read func(pid uint32) ([]uint32, error)

	mu    sync.Mutex
	known map[gofuse.Caller]knownGroups
}

type knownGroups struct {
	list  []uint32
	until time.Time
}

func newGroups() *groups {
	return &groups{read: processGroups, known: map[gofuse.Caller]knownGroups{}}
}

// of returns the caller's groups; none if they cannot be found out, as for one that has ended or lives in another pid
// namespace.
func (g *groups) of(c *gofuse.Caller, now time.Time) []uint32 {
	if c.Pid == 0 {
		return nil
	}
	g.mu.Lock()
	k, ok := g.known[*c]
	g.mu.Unlock()
	if ok && now.Before(k.until) {
		return k.list
	}
	list, err := g.read(c.Pid)
	if err != nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= groupsMax {
		clear(g.known)
	}
	g.known[*c] = knownGroups{list, now.Add(groupsFor)}
	return list
}

// processGroups reads the supplementary groups of a thread from /proc.
func processGroups(pid uint32) ([]uint32, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // a thread may be in 65,536 groups
	for lines.Scan() {
		if list, ok := strings.CutPrefix(lines.Text(), "Groups:"); ok {
			return parseGroups(list)
		}
	}
	return nil, lines.Err()
}

func parseGroups(text string) ([]uint32, error) {
	var list []uint32
	for field := range strings.FieldsSeq(text) {
		gid, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil, err
		}
		list = append(list, uint32(gid))
	}
	return list, nil
}
