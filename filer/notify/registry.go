package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

// Names of attributes: see the package's comment.
const (
	attributeTarget = "granary.notify.target."
	attributeBucket = "granary.notify.bucket."
	attributeCursor = "granary.notify.cursor."
)

// home is the inode that keeps targets and configurations.
func home() granary.InodeID { return granary.RootDataset.System() }

func bucketAttribute(root granary.InodeID) string {
	return fmt.Sprintf("%s%016x", attributeBucket, uint64(root))
}

// registry is what is set up in a cluster.
type registry struct {
	version granary.Index // of the inode that keeps it
	targets map[string]Target
	buckets map[granary.InodeID]Configuration
}

// readRegistry reads what is set up.
func readRegistry(ctx context.Context, c records) (*registry, error) {
	found, err := c.find(ctx, home())
	if err != nil {
		return nil, err
	}
	r := &registry{version: found.Entry.Attr.Version, targets: map[string]Target{}, buckets: map[granary.InodeID]Configuration{}}
	for _, x := range found.Xattrs {
		name, isTarget := strings.CutPrefix(x.Name, attributeTarget)
		id, isBucket := strings.CutPrefix(x.Name, attributeBucket)
		switch {
		case isTarget:
			var t Target
			if err := unmarshal(x, &t); err != nil {
				return nil, err
			}
			r.targets[name] = t
		case isBucket:
			inode, err := strconv.ParseUint(id, 16, 64)
			if err != nil {
				return nil, granary.Errorf(granary.KindCorrupt, "notify", x.Name, "%w", err)
			}
			var c Configuration
			if err := unmarshal(x, &c); err != nil {
				return nil, err
			}
			r.buckets[granary.InodeID(inode)] = c
		}
	}
	return r, nil
}

// users returns the buckets that a target is configured for, by name.
func (r *registry) users(target string) []string {
	var names []string
	for _, c := range r.buckets {
		if slices.Contains(c.targets(), target) {
			names = append(names, c.Bucket)
		}
	}
	slices.Sort(names)
	return names
}

// roots returns the configured buckets, in order.
func (r *registry) roots() []granary.InodeID { return slices.Sorted(maps.Keys(r.buckets)) }

func unmarshal(x granary.Xattr, v any) error {
	if err := json.Unmarshal(x.Value, v); err != nil {
		return granary.Errorf(granary.KindCorrupt, "notify", x.Name, "%w", err)
	}
	return nil
}

func put(ctx context.Context, c records, inode granary.InodeID, name string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return granary.Errorf(granary.KindInternal, "notify", name, "%w", err)
	}
	return c.set(ctx, inode, name, value)
}

// Cursor is how far the delivery of a bucket's events to a target has come, and how it fares.
type Cursor struct {
	At        granary.Position `json:"at"` // what comes before has been acknowledged
	Delivered uint64           `json:"delivered"`
	Updated   time.Time        `json:"updated"`

	Error   string    `json:"error,omitempty"` // why it does not go on; "": it does
	Failing time.Time `json:"failing,omitzero"`

	Missed   uint64           `json:"missed,omitempty"`  // how often the log did not keep what comes next
	MissedAt time.Time        `json:"missedAt,omitzero"` // the last time, and then it went on …
	MissedTo granary.Position `json:"missedTo,omitzero"` // … here
}

// readCursor returns the cursor of a target in a bucket; nil if there is none.
func readCursor(ctx context.Context, c records, root granary.InodeID, target string) (*Cursor, error) {
	found, err := c.find(ctx, root.Dataset().System())
	if err != nil {
		return nil, err
	}
	for _, x := range found.Xattrs {
		if x.Name == attributeCursor+target {
			cursor := new(Cursor)
			return cursor, unmarshal(x, cursor)
		}
	}
	return nil, nil
}
