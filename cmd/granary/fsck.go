package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/client/fsck"
	"github.com/dsorchard/granary/volume"
)

const (
	fsckCache  = 1 << 20 // bytes: a check reads nothing twice
	fsckRanges = 4       // of a file that the table shows
)

// fsckOptions are the flags of "granary fsck".
type fsckOptions struct {
	data, refs, paths, repair, wait, rebuild bool
	timeout                                  time.Duration
}

func fsckCommand(env *environment) *cobra.Command {
	o := &fsckOptions{}
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Compare the metadata with every shard, and name the files that are hit",
		Long: `While the cluster runs: every shard is compared with what the masters know of it; with
--data every live block is read and verified, and the parity of sealed volumes is
computed anew; the references of blocks are counted from all files; and for what
cannot be read by any choice of shards the files are listed.

After the loss of all masters and a restore from a backup, --rebuild finds the blocks
again that were moved since the backup: on the disks, by what they say of themselves.

With --repair the masters are told of damaged shards, and rebuild them from the others.

The exit code is 0 if nothing is wrong, or all was mended, and 1 if something is.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.wait && !o.repair {
				return usagef("--wait is for --repair")
			}
			return env.fsck(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.data, "data", false, "read and verify all live blocks, and all shards of sealed volumes")
	f.BoolVar(&o.refs, "refs", true, "count the references of blocks: walks all files")
	f.BoolVar(&o.paths, "paths", true, "list the files that are hit, if blocks are lost: walks all files")
	f.BoolVar(&o.repair, "repair", false, "have damaged shards rebuilt")
	f.BoolVar(&o.wait, "wait", false, "with --repair: return when they are")
	f.BoolVar(&o.rebuild, "rebuild", false, "after a restore: search volumes made since the backup for the blocks that were moved there")
	f.DurationVar(&o.timeout, "timeout", 0, "with --wait: how long at most; 0 for as long as it takes")
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}

// fsck runs a check, prints what it found, and fails if anything is wrong.
func (env *environment) fsck(ctx context.Context, o *fsckOptions, out, progress io.Writer) (err error) {
	log, err := env.logger()
	if err != nil {
		return err
	}
	masters, err := env.masters()
	if err != nil {
		return err
	}
	shards := volume.NewClient()
	c, err := client.Open(ctx, client.Options{
		Masters: masters, Shards: shards, Name: sessionName("fsck"), RetryFor: cliPatience, CacheBytes: fsckCache, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(), shards.Close()) }()
	meter := newFsckMeter(progress)
	check := fsck.New(fsck.Options{
		Cluster: c, Shards: shards, Data: o.data, Refs: o.refs, Paths: o.paths, Log: log, Progress: meter.show,
	})
	found, err := check.Run(ctx)
	if err == nil && o.rebuild {
		found, err = check.Rebuild(ctx)
	}
	if err == nil && o.repair {
		found, err = repair(ctx, check, o)
	}
	meter.done()
	if err != nil {
		return err
	}
	r := fsckReportOf(found)
	if err := env.print(out, r, r.table); err != nil {
		return err
	}
	if !r.Clean {
		return granary.Errorf(granary.KindCorrupt, "fsck", string(c.Cluster()), "%s", r.summary())
	}
	return nil
}

func repair(ctx context.Context, check *fsck.Check, o *fsckOptions) (*fsck.Report, error) {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	return check.Repair(ctx, o.wait)
}

// fsckMeter shows how far a check is, on a terminal only.
type fsckMeter struct {
	out     io.Writer
	visible bool
	phase   string
	shown   time.Time
	printed bool
}

func newFsckMeter(out io.Writer) *fsckMeter {
	m := &fsckMeter{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		m.visible = err == nil
	}
	return m
}

func (m *fsckMeter) show(p fsck.Progress) {
	now := time.Now()
	if !m.visible || p.Phase == m.phase && now.Sub(m.shown) < progressEvery {
		return
	}
	m.phase, m.shown, m.printed = p.Phase, now, true
	text := func(n uint64) string { return fmt.Sprint(n) }
	if p.Phase == "data" {
		text = byteText
	}
	line := p.Phase + ": " + text(p.Done)
	if p.Total > 0 {
		line += " of " + text(p.Total)
	}
	fmt.Fprintf(m.out, "\r%s\x1b[K", line)
}

// done clears the line.
func (m *fsckMeter) done() {
	if m.printed {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}

// fsckReport is what "fsck --output json" prints. Fields are added, not renamed.
type fsckReport struct {
	Clean    bool          `json:"clean"`
	Volumes  uint64        `json:"volumes"`
	Shards   uint64        `json:"shards"`
	Blocks   uint64        `json:"blocks"`
	Bytes    uint64        `json:"bytesRead"`
	Files    uint64        `json:"files"`
	Held     uint64        `json:"blocksHeldWithoutName"`
	Faults   []fsckShard   `json:"shardFaults"`
	Lost     []fsckBlock   `json:"lostBlocks"`
	Damaged  []fsckFile    `json:"damagedFiles"`
	Refs     []fsckRefs    `json:"referenceFaults"`
	Orphans  []fsckShard   `json:"orphans"`
	Salvaged []fsckSalvage `json:"salvaged"`
}

type fsckShard struct {
	Volume  granary.VolumeID `json:"volume"`
	Shard   uint8            `json:"shard"`
	Disk    granary.DiskID   `json:"disk"`
	Addr    string           `json:"addr"`
	Problem string           `json:"problem"`
	Detail  string           `json:"detail,omitempty"`
	Mended  bool             `json:"mended"`
}

type fsckSalvage struct {
	Volume granary.VolumeID `json:"volume"`
	Blocks uint64           `json:"blocks"`
	Bytes  uint64           `json:"bytes"`
	Why    string           `json:"why,omitempty"`
}

type fsckBlock struct {
	Block  granary.BlockID  `json:"block"`
	Hash   string           `json:"hash"`
	Volume granary.VolumeID `json:"volume"`
	Shard  uint8            `json:"shard"`
	Offset uint64           `json:"offset"`
	Length uint32           `json:"length"`
	Refs   uint64           `json:"references"`
	Detail string           `json:"detail"`
}

type fsckFile struct {
	Path   string          `json:"path"`
	Inode  granary.InodeID `json:"inode"`
	Size   uint64          `json:"size"`
	Ranges []fsckRange     `json:"ranges"`
	Detail string          `json:"detail,omitempty"`
}

type fsckRange struct {
	Offset uint64 `json:"offset"`
	Length uint64 `json:"length"`
}

type fsckRefs struct {
	Block   granary.BlockID `json:"block"`
	Counted uint64          `json:"counted"`
	Refs    uint64          `json:"references"`
}

func fsckReportOf(f *fsck.Report) *fsckReport {
	r := &fsckReport{
		Clean: f.Clean(), Volumes: f.Volumes, Shards: f.Shards, Blocks: f.Blocks, Bytes: f.Bytes, Files: f.Files, Held: f.Held,
		Faults: []fsckShard{}, Lost: []fsckBlock{}, Damaged: []fsckFile{}, Refs: []fsckRefs{}, Orphans: []fsckShard{}, Salvaged: []fsckSalvage{},
	}
	for _, s := range f.Faults {
		r.Faults = append(r.Faults, fsckShard{s.Ref.Volume, s.Ref.Shard, s.Ref.Disk, s.Addr, string(s.Problem), s.Detail, s.Mended})
	}
	for _, b := range f.Lost {
		at := b.Block.Location
		r.Lost = append(r.Lost, fsckBlock{b.Block.ID, b.Block.Hash.String(), at.Volume, at.Shard, at.Offset, at.Length, b.Refs, b.Detail})
	}
	for _, d := range f.Damaged {
		file := fsckFile{Path: d.Path, Inode: d.Inode, Size: d.Size, Detail: d.Detail, Ranges: []fsckRange{}}
		for _, x := range d.Ranges {
			file.Ranges = append(file.Ranges, fsckRange{x.Offset, x.Length})
		}
		r.Damaged = append(r.Damaged, file)
	}
	for _, x := range f.Refs {
		r.Refs = append(r.Refs, fsckRefs{x.Block, x.Counted, x.Refs})
	}
	for _, x := range f.Orphans {
		problem := "the masters drop it"
		if x.Unknown {
			problem = "of a volume that the masters do not know: it is left alone"
		}
		ref := x.Info.Ref
		r.Orphans = append(r.Orphans, fsckShard{Volume: ref.Volume, Shard: ref.Shard, Disk: ref.Disk, Addr: x.Addr, Problem: problem})
	}
	for _, x := range f.Salvaged {
		r.Salvaged = append(r.Salvaged, fsckSalvage(x))
	}
	return r
}

func (r *fsckReport) summary() string {
	if r.Clean && len(r.Faults) == 0 {
		return "clean"
	}
	mended := 0
	for _, f := range r.Faults {
		if f.Mended {
			mended++
		}
	}
	return fmt.Sprintf("%d shards with faults, %d of them mended; %d blocks lost, %d files hit; %d blocks with wrong references",
		len(r.Faults), mended, len(r.Lost), len(r.Damaged), len(r.Refs))
}

func (r *fsckReport) table(t *tableWriter) {
	t.row("checked", fmt.Sprintf("%d volumes, %d shards, %d blocks, %d files; %s read", r.Volumes, r.Shards, r.Blocks, r.Files, byteText(r.Bytes)))
	if r.Held > 0 {
		t.row("note", fmt.Sprintf("%d blocks are held by files without a name too, or by what is not reclaimed yet", r.Held))
	}
	shards := func(title string, list []fsckShard) {
		if len(list) == 0 {
			return
		}
		t.row()
		t.row(title, "SHARD", "DISK", "ADDRESS", "PROBLEM", "")
		for _, s := range list {
			problem := s.Problem
			if s.Mended {
				problem += " (mended)"
			}
			t.row(s.Volume, s.Shard, shortID(string(s.Disk)), s.Addr, problem, s.Detail)
		}
	}
	shards("VOLUME", r.Faults)
	shards("ORPHAN", r.Orphans)
	if len(r.Salvaged) > 0 {
		t.row()
		t.row("UNKNOWN VOLUME", "BLOCKS FOUND", "BYTES", "")
		for _, s := range r.Salvaged {
			t.row(s.Volume, s.Blocks, byteText(s.Bytes), s.Why)
		}
	}
	if len(r.Lost) > 0 {
		t.row()
		t.row("LOST BLOCK", "VOLUME", "SHARD", "OFFSET", "LENGTH", "REFERENCES")
		for _, b := range r.Lost {
			t.row(b.Block, b.Volume, b.Shard, b.Offset, b.Length, b.Refs)
		}
	}
	if len(r.Damaged) > 0 {
		t.row()
		t.row("DAMAGED FILE", "SIZE", "BYTES THAT CANNOT BE READ")
		for _, d := range r.Damaged {
			t.row(d.Path, d.Size, d.where())
		}
	}
	if len(r.Refs) > 0 {
		t.row()
		t.row("BLOCK", "COUNTED", "REFERENCES", "the masters would give it up too early: only a restore, or a new copy of its files, mends that")
		for _, x := range r.Refs {
			t.row(x.Block, x.Counted, x.Refs)
		}
	}
	t.row()
	t.row("result", r.summary())
}

func (d *fsckFile) where() string {
	if len(d.Ranges) == 0 {
		return d.Detail
	}
	var parts []string
	for i, x := range d.Ranges {
		if i == fsckRanges {
			parts = append(parts, fmt.Sprintf("and %d more ranges", len(d.Ranges)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%d-%d", x.Offset, x.Offset+x.Length-1))
	}
	return strings.Join(parts, ", ")
}
