package granary

import (
	"fmt"
	"time"
)

// TaskKind is a kind of maintenance work.
type TaskKind uint8

// Kinds of tasks, the most urgent first.
const (
	TaskRepair  TaskKind = iota + 1 // rebuild a lost shard on the target, from k others
	TaskCopy                        // copy a whole sealed shard to the target; from others, as far as it cannot be read
	TaskMove                        // copy the live blocks of a volume into others, so that it can go
	TaskSweep                       // look at the files below an inode, and bring to its policy what is stored otherwise
	TaskRewrite                     // write windows of a file anew that are cut too finely
)

// String returns the kind in a word.
func (k TaskKind) String() string {
	switch k {
	case TaskRepair:
		return "repair"
	case TaskCopy:
		return "copy"
	case TaskMove:
		return "move"
	case TaskSweep:
		return "sweep"
	case TaskRewrite:
		return "rewrite"
	}
	return fmt.Sprintf("task kind %d", uint8(k))
}

// MarshalText returns String.
func (k TaskKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// TaskID names a task: the leader gives it out, and another leader gives the same work another.
type TaskID uint64

// Task is a piece of maintenance that the leader leases to one worker at a time. It can be done twice, or half, without
// harm: what counts is the op at its end (PlaceShard, MoveBlocks), and the state refuses one that is late.
type Task struct {
	ID     TaskID
	Kind   TaskKind
	Volume VolumeID   // TaskRepair, TaskCopy, TaskMove
	Epoch  Epoch      // of the volume
	Shard  uint8      // TaskRepair, TaskCopy
	Target ShardPlace // TaskRepair, TaskCopy: where the shard goes; the volume shows it as that shard's Target
	Policy PolicyID   // TaskMove: under which the blocks are stored anew
	Root   InodeID    // TaskSweep, TaskRewrite: the file
	Reason string     // for people
	Rate   uint64     // bytes a second to keep below; 0 for no limit

	// After is where a TaskSweep goes on: what is below Root up to there, and with it, has been looked at, in the order of full
	// paths. Names from Root on, separated by "/"; "" is the front.
	After   string
	Windows []uint64 // TaskRewrite: of ExtentWindowSize bytes each, ascending; at most TaskWindowsMax
}

// TaskReport is how far a worker is with a task.
type TaskReport struct {
	Task  Task // whole: a leader that is new takes it over
	Done  uint64
	Total uint64 // bytes; 0 while that is not known
	Ended bool   // the worker has let go of it …
	Error string // … because of this, or "" if it is done
	After string // of a TaskSweep: how far it is, as Task.After; all before that is committed
}

// WorkRequest is what a worker tells the leader, at least every third of WorkTTL, and at once when a task ends.
type WorkRequest struct {
	Worker  string   // names the worker, uniquely: a new process has another
	Server  ServerID // the volume server that it runs beside, or "": it is given what ends there first
	Reports []TaskReport
	Room    int // how many more tasks it would take
}

// WorkReply gives tasks to a worker.
type WorkReply struct {
	Tasks []Task
	Drop  []TaskID // tasks of the worker that are no longer wanted: it stops at once, and reports them no more
}

// WorkTTL is how long a worker that is not heard of keeps its tasks.
const WorkTTL = 15 * time.Second

// TaskStatus is a task as the leader shows it.
type TaskStatus struct {
	Task   Task
	Worker string // "" while it waits
	Began  Time
	Done   uint64
	Total  uint64
	Tries  int    // that failed
	Error  string // of the last that failed
}

// Upkeep is how the cluster maintains itself. Zero values of a new cluster stand for DefaultUpkeep.
type Upkeep struct {
	RepairGrace  Time   // how long a server may be away before its shards are rebuilt elsewhere
	ReclaimGrace Time   // how long a volume without live blocks stays; longer than the age of backups that may be restored
	YoungAge     Time   // volumes sealed for less than this are not moved, unless most of them is dead, nor files changed since then rewritten: most of what dies dies young
	RepairRate   uint64 // bytes a second of all repairs and copies of one worker; 0 for no limit
	MoveRate     uint64 // bytes a second of all moves, sweeps and rewrites of one worker; 0 for no limit
	MaxOverhead  uint32 // percent: sealed volumes with an Overhead above this are moved, and from 110 on those with thin rows
	Paused       bool   // no new task is given out
}

// DefaultUpkeep is that of a new cluster.
func DefaultUpkeep() Upkeep {
	return Upkeep{
		RepairGrace: Time(15 * time.Minute), ReclaimGrace: Time(10 * time.Minute), YoungAge: Time(30 * time.Minute),
		MoveRate: 50 << 20, MaxOverhead: 125,
	}
}

// Validate refuses what makes no sense.
func (u Upkeep) Validate() error {
	if u.RepairGrace < 0 || u.ReclaimGrace < 0 || u.YoungAge < 0 {
		return Errorf(KindInvalid, "upkeep", "", "a time is negative")
	}
	if u.MaxOverhead <= 100 {
		return Errorf(KindInvalid, "upkeep", "", "an overhead of %d %% is what full volumes have: give more than 100", u.MaxOverhead)
	}
	return nil
}
