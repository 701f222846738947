package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

const (
	scrubName    = "scrub.json"
	scrubTmpName = "scrub.json.tmp"
	scrubFormat  = 1
	// damagedKeptMax bounds how many damaged shards are remembered over a restart. Others are found again.
	damagedKeptMax = 10_000
)

// scrubState is what a disk remembers of its scrubs, and of its damaged shards, when the server is started again.
type scrubState struct {
	Format   int            `json:"format"`
	Running  bool           `json:"running"` // a pass is under way …
	Began    granary.Time   `json:"began"`   // … or this is when the last one began
	Ended    granary.Time   `json:"ended"`
	Bytes    uint64         `json:"bytes"`    // of the pass: verified
	Last     shardName      `json:"last"`     // … up to this shard
	Findings uint64         `json:"findings"` // since the disk was formatted
	Damaged  []damagedShard `json:"damaged"`
	CRC32C   string         `json:"crc32c"` // see checksum
}

type shardName struct {
	Volume granary.VolumeID `json:"volume"`
	Shard  uint8            `json:"shard"`
}

// damagedShard is a shard of which bytes are lost. Created tells it from another that was built in its place.
type damagedShard struct {
	shardName
	Created granary.Time `json:"created"`
	Reason  string       `json:"reason"`
}

// checksum covers the fields in their order, each damaged shard on a line of its own.
func (s scrubState) checksum() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d %t %d %d %d %d %d %d\n", s.Format, s.Running, s.Began, s.Ended, s.Bytes, s.Last.Volume, s.Last.Shard, s.Findings)
	for _, d := range s.Damaged {
		fmt.Fprintf(&text, "%d %d %d %q\n", d.Volume, d.Shard, d.Created, d.Reason)
	}
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text.String()), castagnoli))
}

// restore reads what the last run of the server left. What it cannot read is begun anew.
func (c *scrubber) restore() {
	state, err := readScrub(c.disk.fs)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.disk.log.Warn("the state of the scrub is lost: it begins anew", "error", err)
		c.disk.noteFailure(err)
		return
	}
	damaged := state.Damaged
	state.Damaged = nil
	c.mu.Lock()
	state.Findings += c.state.Findings
	c.state = state
	c.mu.Unlock()
	for _, s := range damaged {
		c.remember(s)
	}
}

// remember makes a shard damaged again, if it is still the same.
func (c *scrubber) remember(s damagedShard) {
	sh, f, err := c.disk.open(opScrub, shardKey{s.Volume, s.Shard})
	if err != nil {
		return // it is gone, or damaged anyway
	}
	defer c.disk.files.release(f)
	if st, err := sh.load(opScrub, f); err == nil && st.header.Created == s.Created && sh.damagedBy.CompareAndSwap(nil, &s.Reason) {
		c.disk.alarm.ring()
	}
}

func readScrub(fsys disk.FS) (s scrubState, err error) {
	text, err := readSmall(fsys, scrubName)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, err
	}
	if s.Format != scrubFormat || s.CRC32C != s.checksum() {
		return s, granary.Errorf(granary.KindCorrupt, opScrub, scrubName, "format %d, or a wrong checksum", s.Format)
	}
	return s, nil
}

// saveFindings writes the state if there are findings that it does not hold.
func (c *scrubber) saveFindings() {
	c.mu.Lock()
	unsaved := c.unsaved
	c.mu.Unlock()
	if unsaved {
		c.save()
	}
}

// save writes the state: a crash leaves the old one or the new one. A failing disk keeps what it has.
func (c *scrubber) save() {
	if c.disk.failing() != "" || c.disk.gone.Load() != nil {
		return
	}
	c.mu.Lock()
	state := c.state
	c.unsaved = false
	c.mu.Unlock()
	state.Format = scrubFormat
	_, damaged := c.disk.troubled()
	for _, info := range damaged[:min(len(damaged), damagedKeptMax)] {
		key := shardName{info.Ref.Volume, info.Ref.Shard}
		state.Damaged = append(state.Damaged, damagedShard{key, info.Created, info.Damaged})
	}
	state.CRC32C = state.checksum()
	text, err := json.Marshal(state)
	if err == nil {
		err = replaceFile(c.disk.fs, scrubTmpName, scrubName, append(text, '\n'))
	}
	if err != nil {
		c.disk.log.Warn("the state of the scrub is not kept", "error", err)
		c.disk.noteFailure(err)
	}
	c.saved = time.Now()
}
