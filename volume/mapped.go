package volume

import (
	"sync"
	"time"
)

// mappedFor is how long a client's memory stays mapped that nothing is appended from: to map it anew for each append would cost as much as
// the checksum of the append. When the client ends, its memory is free that much later.
const mappedFor = 5 * time.Second

// mappings are the memory that clients have lent lately.
type mappings struct {
	mu     sync.Mutex
	byName map[string]*mapping
}

// mapping is lent memory, all of it.
type mapping struct {
	memory []byte
	unmap  func() error
	users  int
	idle   *time.Timer // runs while there are none
}

func newMappings() *mappings { return &mappings{byName: make(map[string]*mapping)} }

// borrow returns the memory of a loan; give gives it back.
func (m *mappings) borrow(l loan) (memory []byte, give func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.byName[l.name]
	if at == nil {
		memory, unmap, err := l.open()
		if err != nil {
			return nil, nil, err
		}
		at = &mapping{memory: memory, unmap: unmap}
		at.idle = time.AfterFunc(mappedFor, func() { m.expire(l.name, at) })
		m.byName[l.name] = at
	}
	if l.offset+l.size > int64(len(at.memory)) {
		return nil, nil, errShortLoan
	}
	at.users++
	return at.memory[l.offset : l.offset+l.size], func() { m.give(at) }, nil
}

func (m *mappings) give(at *mapping) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at.users--
	at.idle.Reset(mappedFor)
}

// expire lets go of memory that is not used: else whoever uses it will start the timer again.
func (m *mappings) expire(name string, at *mapping) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.users > 0 || m.byName[name] != at {
		return
	}
	delete(m.byName, name)
	if err := at.unmap(); err != nil {
		panic("volume: memory that was mapped cannot be unmapped: " + err.Error())
	}
}
