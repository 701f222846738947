package volume

import (
	"sync"
	"time"
)

const (
	// mappedFor is how long a client's memory stays mapped that nothing is appended from, or read into: to map it anew each time would cost
	// as much as the checksum of an append. When the client ends, its memory is free that much later.
	mappedFor = 5 * time.Second
	// mappedMax is how many stay mapped, beside those in use.
	mappedMax = 1024
)

// mappings are the memory that clients have lent lately.
type mappings struct {
	mu  sync.Mutex
	all map[mappingKey]*mapping
}

// mappingKey names lent memory; what is only read cannot be written to.
type mappingKey struct {
	name  string
	write bool
}

// mapping is lent memory, all of it.
type mapping struct {
	memory []byte
	unmap  func() error
	users  int
	idle   *time.Timer // runs while there are none
}

func newMappings() *mappings { return &mappings{all: make(map[mappingKey]*mapping)} }

// borrow returns the memory of a loan, to be written to or not; give gives it back.
func (m *mappings) borrow(l loan, write bool) (memory []byte, give func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := mappingKey{l.name, write}
	at := m.all[key]
	if at == nil {
		m.makeRoom()
		memory, unmap, err := l.open(write)
		if err != nil {
			return nil, nil, err
		}
		at = &mapping{memory: memory, unmap: unmap}
		at.idle = time.AfterFunc(mappedFor, func() { m.expire(key, at) })
		m.all[key] = at
	}
	if l.offset > int64(len(at.memory)) || l.size > int64(len(at.memory))-l.offset {
		return nil, nil, errShortLoan
	}
	at.users++
	return at.memory[l.offset : l.offset+l.size : l.offset+l.size], func() { m.give(at) }, nil
}

// makeRoom lets go of one that is not used, if there are many. m.mu is held.
func (m *mappings) makeRoom() {
	if len(m.all) < mappedMax {
		return
	}
	for key, at := range m.all {
		if at.users == 0 {
			at.idle.Stop()
			m.drop(key, at)
			return
		}
	}
}

func (m *mappings) give(at *mapping) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at.users--
	at.idle.Reset(mappedFor)
}

// expire lets go of memory that is not used: else whoever uses it will start the timer again.
func (m *mappings) expire(key mappingKey, at *mapping) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.users > 0 || m.all[key] != at {
		return
	}
	m.drop(key, at)
}

// drop unmaps. m.mu is held.
func (m *mappings) drop(key mappingKey, at *mapping) {
	delete(m.all, key)
	if err := at.unmap(); err != nil {
		panic("volume: memory that was mapped cannot be unmapped: " + err.Error())
	}
}
