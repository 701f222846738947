package master

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// states keeps the directory of the state machine's store and the open store. Dir/CURRENT names the
// directory in use, Dir/state-N. A Raft snapshot replaces the state by building state-N+1 beside it
// and renaming CURRENT; who reads the old state keeps it open until done. Whatever CURRENT does not
// name is left over from a crash, and is removed at the next start.
type states struct {
	dir  string
	opts stateOptions
	hook func(string) error

	mu      sync.Mutex
	cur     *heldState
	retired sync.WaitGroup // states replaced but still read
}

// heldState is an open state with the count of its users; states itself is one of them.
type heldState struct {
	*state
	owner *states
	dir   string
	seq   uint64
	refs  int
}

const statePrefix = "state-"

// openStates opens the current state, or makes the first. One that takes its place uses the same cache, so
// that two take no more memory than one.
func openStates(dir string, opts stateOptions, hook func(string) error) (_ *states, err error) {
	setDefault(&opts.CacheBytes, cacheBytesDefault)
	opts.Cache = pebble.NewCache(blockCacheBytes(opts.CacheBytes))
	defer func() {
		if err != nil {
			opts.Cache.Unref()
		}
	}()
	s := &states{dir: dir, opts: opts, hook: hook}
	seq, err := s.readCurrent()
	if err != nil {
		return nil, err
	}
	if err := s.removeOthers(seq); err != nil {
		return nil, err
	}
	if seq == 0 {
		seq = 1
		if err := os.Mkdir(s.path(seq), 0o700); err != nil {
			return nil, openError(dir, err)
		}
		if err := s.writeCurrent(seq); err != nil {
			return nil, err
		}
	}
	if s.cur, err = s.openAt(seq); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *states) path(seq uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%016d", statePrefix, seq))
}

func (s *states) openAt(seq uint64) (*heldState, error) {
	st, err := openState(s.path(seq), s.opts)
	if err != nil {
		return nil, openError(s.path(seq), err)
	}
	return &heldState{state: st, owner: s, dir: s.path(seq), seq: seq, refs: 1}, nil
}

// readCurrent returns the number of the state in use, 0 for none yet.
func (s *states) readCurrent() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "CURRENT"))
	if errors.Is(err, fs.ErrNotExist) {
		if held, err := hasRaftState(s.dir); err != nil {
			return 0, err
		} else if held {
			return 0, granary.Errorf(granary.KindCorrupt, "master.open", s.dir, "the directory has a Raft log but no CURRENT state")
		}
		return 0, nil
	}
	if err != nil {
		return 0, openError(s.dir, err)
	}
	name, ok := strings.CutPrefix(strings.TrimSpace(string(b)), statePrefix)
	seq, err := strconv.ParseUint(name, 10, 64)
	if !ok || err != nil || seq == 0 {
		return 0, granary.Errorf(granary.KindCorrupt, "master.open", s.dir, "CURRENT names no state: %q", b)
	}
	return seq, nil
}

func (s *states) writeCurrent(seq uint64) error {
	return writeFileDurably(filepath.Join(s.dir, "CURRENT"), []byte(filepath.Base(s.path(seq))+"\n"))
}

// removeOthers removes the states that a crash left behind.
func (s *states) removeOthers(seq uint64) error {
	names, err := filepath.Glob(filepath.Join(s.dir, statePrefix+"*"))
	if err != nil {
		return openError(s.dir, err)
	}
	for _, name := range names {
		if seq != 0 && name == s.path(seq) {
			continue
		}
		if err := os.RemoveAll(name); err != nil {
			return openError(name, err)
		}
	}
	return nil
}

// acquire returns the state in use, which stays open until released.
func (s *states) acquire() *heldState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur.refs++
	return s.cur
}

// release gives back what acquire gave. The last user of a replaced state closes and removes it.
func (o *heldState) release() {
	o.owner.mu.Lock()
	o.refs--
	last := o.refs == 0
	o.owner.mu.Unlock()
	if !last {
		return
	}
	defer o.owner.retired.Done()
	// It is no longer needed, and cannot be flushed anywhere that matters: what close and
	// removal leave behind is removed at the next start.
	if o.close() == nil {
		_ = os.RemoveAll(o.dir)
	}
}

// replace makes the state that build writes into an empty directory the one in use. An error before
// CURRENT is renamed changes nothing. A failure of the rename itself panics: nobody could say
// which of the two states the next start will find.
func (s *states) replace(build func(dir string) error) error {
	old := s.acquire()
	defer old.release()
	seq := old.seq + 1
	dir := s.path(seq)
	if err := os.RemoveAll(dir); err != nil {
		return openError(dir, err)
	}
	next, err := s.buildAt(seq, build)
	if err != nil {
		return err
	}
	if err := s.hook("restore: current"); err != nil {
		return errors.Join(err, next.close())
	}
	if err := s.writeCurrent(seq); err != nil {
		panic(fmt.Sprintf("granary master: CURRENT of %s could not be replaced: %v", s.dir, err))
	}
	s.mu.Lock()
	s.cur = next
	s.retired.Add(1)
	s.mu.Unlock()
	close(old.retired)
	old.release() // the reference of states itself
	return s.hook("restore: swapped")
}

// buildAt writes the new state, makes it durable, and opens it: a state that cannot be opened never
// becomes the current one.
func (s *states) buildAt(seq uint64, build func(dir string) error) (*heldState, error) {
	dir := s.path(seq)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	if err := s.hook("restore: directory"); err != nil {
		return nil, err
	}
	if err := build(dir); err != nil {
		return nil, err
	}
	if err := s.hook("restore: built"); err != nil {
		return nil, err
	}
	if err := errors.Join(syncDir(dir), syncDir(s.dir)); err != nil {
		return nil, err
	}
	next, err := s.openAt(seq)
	if err != nil {
		return nil, err
	}
	if err := s.hook("restore: opened"); err != nil {
		return nil, errors.Join(err, next.close())
	}
	return next, nil
}

// close waits for the readers of replaced states, and closes the one in use. Its own readers must be done.
func (s *states) close() error {
	s.retired.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Cache != nil {
		s.opts.Cache.Unref()
		s.opts.Cache = nil
	}
	return s.cur.close()
}
