package erasure

import "sync"

// Cache holds the codes that its owner has used, at most one for each k+m. Its zero value is
// empty and ready, and safe for concurrent use.
type Cache struct {
	mu    sync.Mutex
	codes map[[2]int]*Code
}

// Get returns the code of k data and m parity shards. It fails as New does.
func (c *Cache) Get(k, m int) (*Code, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code := c.codes[[2]int{k, m}]; code != nil {
		return code, nil
	}
	code, err := New(k, m)
	if err != nil {
		return nil, err
	}
	if c.codes == nil {
		c.codes = make(map[[2]int]*Code)
	}
	c.codes[[2]int{k, m}] = code
	return code, nil
}
