package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/internal/backup"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
)

// backupOptions are the flags of "cluster backup".
type backupOptions struct {
	placeOptions
	verify bool
	from   string
	temp   string
}

func backupCommand(env *environment) *cobra.Command {
	o := &backupOptions{}
	cmd := &cobra.Command{
		Use:   "backup FILE|s3://BUCKET/KEY",
		Short: "Save the metadata of the running cluster, or check a backup",
		Long: `Save all metadata, as of one moment, while the cluster runs. The data of files
are not in it: they stay on the disks of the volume servers, which a restored
cluster uses as they are.

A file is written as FILE.part first. If the transfer breaks, the same command
goes on where it ended, as long as the master still keeps that backup: it does
for ten minutes after the last read, and not over a restart. An object in S3 is
written in one go. What exists already is not replaced.

  granary cluster backup /backups/granary-$(date +%F)
  granary cluster backup s3://backups/granary --endpoint https://s3.example.com
  granary cluster backup --verify /backups/granary-2030-01-01

--verify reads a backup, compares its hash, unpacks it into a temporary directory
and recounts everything in it. It asks no master.`,
		Args: exactArgs("FILE|s3://BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.verify {
				return verifyBackup(cmd, env, o, args[0])
			}
			return makeBackup(cmd, env, o, args[0])
		},
	}
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	o.placeOptions.flags(cmd, env)
	cmd.Flags().BoolVar(&o.verify, "verify", false, "check a backup instead of making one")
	cmd.Flags().StringVar(&o.from, "from", "", "gRPC address of the master to read from; a follower's backup may lack the newest changes (default: the leader)")
	cmd.Flags().StringVar(&o.temp, "temp", os.TempDir(), "with --verify: where to unpack; needs as much space as the backup has")
	return cmd
}

// backupReport is what "cluster backup --output json" prints. Fields are added, not renamed.
type backupReport struct {
	Backup  string            `json:"backup"`
	Cluster granary.ClusterID `json:"cluster"`
	Index   granary.Index     `json:"index"`
	Begun   time.Time         `json:"begun"`
	Bytes   int64             `json:"bytes"`
	State   *stateReport      `json:"state,omitempty"`
}

// stateReport is what was found in a backup.
type stateReport struct {
	LastChange   time.Time `json:"lastChange"`
	Incarnation  uint64    `json:"incarnation"`
	Inodes       uint64    `json:"inodes"`
	Datasets     uint64    `json:"datasets"`
	LogicalBytes uint64    `json:"logicalBytes"`
	Blocks       uint64    `json:"blocks"`
	BlockBytes   uint64    `json:"blockBytes"`
	Volumes      uint64    `json:"volumes"`
	Sessions     uint64    `json:"sessions"`
	Removals     uint64    `json:"removalsInProgress"`
	Violated     uint64    `json:"violated"`
	Violations   []string  `json:"violations"`
}

func backupReportOf(place string, h *backup.Header) *backupReport {
	return &backupReport{Backup: place, Cluster: h.Cluster, Index: h.Index, Begun: timeOf(h.Time), Bytes: h.Length()}
}

func timeOf(t granary.Time) time.Time { return time.Unix(0, int64(t)).UTC() }

func stateReportOf(r *master.StateReport) *stateReport {
	s := &stateReport{
		LastChange: timeOf(r.Time), Incarnation: r.Incarnation, Inodes: r.Inodes, Datasets: r.Datasets,
		LogicalBytes: r.LogicalBytes, Blocks: r.Blocks, BlockBytes: r.BlockBytes, Volumes: r.Volumes,
		Sessions: r.Sessions, Removals: r.Queued, Violated: r.Violated, Violations: r.Violations,
	}
	if s.Violations == nil {
		s.Violations = []string{}
	}
	return s
}

func (r *backupReport) table(t *tableWriter) {
	t.row("backup", r.Backup)
	t.row("cluster", r.Cluster)
	t.row("index", r.Index)
	t.row("begun", r.Begun.Format(time.RFC3339))
	t.row("size", byteText(uint64(r.Bytes)))
	if r.State != nil {
		r.State.table(t)
	}
}

func (s *stateReport) table(t *tableWriter) {
	t.row("last change", s.LastChange.Format(time.RFC3339))
	t.row("incarnation", s.Incarnation)
	t.row("inodes", s.Inodes)
	t.row("datasets", s.Datasets)
	t.row("logical", byteText(s.LogicalBytes))
	t.row("blocks", fmt.Sprintf("%d, %s as stored", s.Blocks, byteText(s.BlockBytes)))
	t.row("volumes", s.Volumes)
	t.row("sessions", s.Sessions)
	t.row("removals", fmt.Sprintf("%d in progress", s.Removals))
	t.row("violations", s.Violated)
	for _, v := range s.Violations {
		t.row("", v)
	}
}

// makeBackup saves the cluster's metadata in a file or an object.
func makeBackup(cmd *cobra.Command, env *environment, o *backupOptions, name string) error {
	place, err := o.place(env, name)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	leader, nodes, err := backupSources(ctx, env, o.from)
	if err != nil {
		return err
	}
	p := newProgress(os.Stderr)
	sources, hangUp, err := dialSources(append([]string{leader}, nodes...))
	if err == nil {
		var h *backup.Header
		h, err = place.save(ctx, &backup.Saver{
			Leader: sources[0], Nodes: sources, Patience: backup.DefaultPatience(), Now: time.Now, Moved: p.add,
			Say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
		})
		p.done()
		if err == nil {
			r := backupReportOf(name, h)
			err = env.print(cmd.OutOrStdout(), r, r.table)
		}
	}
	return errors.Join(err, hangUp())
}

// backupSources names the master to begin a backup at, and the others.
func backupSources(ctx context.Context, env *environment, from string) (leader string, nodes []string, err error) {
	if from != "" {
		if _, _, err := splitAddr(from); err != nil {
			return "", nil, usagef("--from: %w", err)
		}
		return from, nil, nil
	}
	err = env.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		st, err := client.Ask[*granary.Status](ctx, c, &granary.GetStatus{})
		if err != nil {
			return err
		}
		leader = st.Leader
		for _, m := range st.Masters {
			if m.Addr != leader && m.Addr != "" {
				nodes = append(nodes, m.Addr)
			}
		}
		return nil
	})
	return leader, nodes, err
}

// dialSources connects to masters. What it returns to hang up is to be called, error or not.
func dialSources(addrs []string) (sources []backup.Source, hangUp func() error, err error) {
	var closes []func() error
	hangUp = func() error {
		var errs []error
		for _, c := range closes {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, addr := range addrs {
		m, closeConn, err := wire.DialMaster(addr)
		if err != nil {
			return nil, hangUp, err
		}
		sources, closes = append(sources, m), append(closes, closeConn)
	}
	return sources, hangUp, nil
}

// verifyBackup checks a backup, prints what is in it, and fails if anything is wrong.
func verifyBackup(cmd *cobra.Command, env *environment, o *backupOptions, name string) error {
	place, err := o.place(env, name)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	p := newProgress(os.Stderr)
	var r *backupReport
	err = readBackup(ctx, place, p, func(b *backup.Reader) error {
		temp, err := os.MkdirTemp(o.temp, "granary-verify-")
		if err != nil {
			return err
		}
		st, err := master.VerifyBackup(ctx, b, b.Cluster, b.Index, filepath.Join(temp, "state"))
		if rerr := os.RemoveAll(temp); err == nil && rerr != nil {
			err = rerr
		}
		if err == nil {
			r = backupReportOf(name, &b.Header)
			r.State = stateReportOf(st)
		}
		return err
	})
	p.done()
	if err != nil {
		return err
	}
	if err := env.print(cmd.OutOrStdout(), r, r.table); err != nil {
		return err
	}
	if n := r.State.Violated; n > 0 {
		return granary.Errorf(granary.KindCorrupt, "verify", name, "the state in the backup violates %d rules", n)
	}
	return nil
}

// readBackup opens a backup and has it read.
func readBackup(ctx context.Context, place place, p *progress, read func(*backup.Reader) error) error {
	src, err := place.open(ctx)
	if err != nil {
		return err
	}
	b, err := backup.NewReader(p.reader(src))
	if err == nil {
		err = read(b)
	}
	if err := errors.Join(err, src.Close()); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	return nil
}
