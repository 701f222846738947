package client

import (
	"context"
	"strings"

	"github.com/dsorchard/granary"
)

// Programs that walk a tree look up one name after the other. Where a directory is small, all of it is asked for instead of one name, and
// kept: each question for a name that had to be asked allows for so many entries to be listed unasked as cost the masters about as much. So what is
// asked for costs at most twice what it would, whatever is looked up, and who walks a tree asks once for each directory.
const (
	scanEntries   = 32   // entries that a question for a name allows for
	scanCreditMax = 4096 // that are saved up
	scanMax       = 1024 // entries of a directory that is listed unasked
)

// wholePage is the pageKey of a listing from the beginning, of as much as there may be in one answer.
const wholePage = "\x00"

// listAhead lists the directory in which a name is looked up, if that is worth it, or waits until that is done. It reports whether the name may be
// known now.
func (c *Client) listAhead(ctx context.Context, q *granary.Lookup) bool {
	if q.Path == "" || q.Xattrs || strings.Contains(q.Path, "/") {
		return false
	}
	done, begun := c.kept.scan(q.Base)
	switch {
	case done == nil:
		return false
	case begun:
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		}
	}
	defer c.kept.scanned(q.Base)
	_, err := c.queryToKeep(ctx, &granary.ReadDir{Inode: q.Base, Ahead: true})
	return err == nil // else the question for the name says what is wrong
}

// scan reports whether a directory is to be listed because a name in it is not known: nil for no. begun says that this is under way, until the
// channel is closed; else scanned must follow.
func (k *kept) scan(id granary.InodeID) (done chan struct{}, begun bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if done := k.listing[id]; done != nil {
		return done, true
	}
	k.credit = min(k.credit+scanEntries, scanCreditMax)
	dir := k.get(thing{inode: id})
	if dir == nil || !dir.known || dir.pages[wholePage] != nil || dir.attr.Entries < 2 || dir.attr.Entries > uint64(min(k.credit, scanMax)) {
		return nil, false
	}
	k.credit -= int(dir.attr.Entries)
	done = make(chan struct{})
	k.listing[id] = done
	return done, false
}

func (k *kept) scanned(id granary.InodeID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.listing[id])
	delete(k.listing, id)
}

// absent reports whether a listing of all of a directory is kept that lacks a name. The caller holds k.mu.
func (k *kept) absent(id granary.InodeID, name string) bool {
	dir := k.get(thing{inode: id})
	if dir == nil || k.busy[thing{id, name}] > 0 {
		return false
	}
	p := dir.pages[wholePage]
	if p == nil || p.more || len(p.names) > scanMax {
		return false
	}
	for _, n := range p.names {
		if n == name {
			return false
		}
	}
	return true
}
