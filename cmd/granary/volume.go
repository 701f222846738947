package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/volume"
)

func volumeCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "See the volumes, verify, seal, move and repair them",
		Long: `A volume is k data shards and m parity shards on as many disks. What is lost is
rebuilt, what is thin or half empty is moved, and what is empty is dropped, without
anybody's doing: see "granary cluster tasks" and "granary cluster durability".`,
	}
	cmd.AddCommand(volumeLsCommand(env), volumeShowCommand(env), volumeVerifyCommand(env), volumeSealCommand(env),
		volumeMoveCommand(env), volumeRepairCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
		env.outputFlag(c)
	}
	return cmd
}

func volumeLsCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the volumes",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				volumes, err := allVolumes(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), volumes, volumes.table)
			})
		},
	}
}

func volumeShowCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "show VOLUME",
		Short: "Show a volume with its shards",
		Args:  exactArgs("VOLUME"),
		RunE:  func(cmd *cobra.Command, args []string) error { return env.withVolume(cmd, args[0], getVolume) },
	}
}

// withVolume does something about the volume that an argument names, and prints it as it is then.
func (env *environment) withVolume(cmd *cobra.Command, arg string,
	do func(context.Context, *client.Client, granary.VolumeID) (*granary.Volume, error)) error {
	id, err := volumeArg(arg)
	if err != nil {
		return err
	}
	return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
		v, err := do(ctx, c, id)
		if err != nil {
			return err
		}
		r := volumeReportOf(v)
		return env.print(cmd.OutOrStdout(), r, r.show)
	})
}

func getVolume(ctx context.Context, c *client.Client, id granary.VolumeID) (*granary.Volume, error) {
	a, err := client.Ask[*granary.VolumeIs](ctx, c, &granary.GetVolume{Volume: id})
	if err != nil {
		return nil, err
	}
	return &a.Volume, nil
}

func volumeArg(text string) (granary.VolumeID, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is not the number of a volume: see 'granary volume ls'", text)
	}
	return granary.VolumeID(n), nil
}

// volumeReport is one line of "volume ls". Fields are added, not renamed.
type volumeReport struct {
	ID        granary.VolumeID  `json:"id"`
	State     string            `json:"state"`
	Code      string            `json:"code"`
	Auto      bool              `json:"auto"`
	Epoch     granary.Epoch     `json:"epoch"`
	Owner     granary.SessionID `json:"owner,omitempty"`
	Watermark uint64            `json:"watermark"`
	LiveBytes uint64            `json:"liveBytes"`
	DeadBytes uint64            `json:"deadBytes"`
	Overhead  float64           `json:"overhead"` // of what full rows without dead blocks would take; 0 if nothing is alive
	Losses    int               `json:"losses"`   // further shards that it can lose
	OpenedAt  string            `json:"openedAt,omitempty"`
	SealedAt  string            `json:"sealedAt,omitempty"`
	Moving    bool              `json:"moving"`
	Shards    []shardReport     `json:"shards"`
}

type shardReport struct {
	Shard  int              `json:"shard"`
	Disk   granary.DiskID   `json:"disk"`
	Server granary.ServerID `json:"server"`
	Addr   string           `json:"addr"`
	Up     bool             `json:"up"`
	Lost   bool             `json:"lost"`
	Sealed bool             `json:"sealed"`
	Target granary.DiskID   `json:"target,omitempty"` // where a copy of it is being made
}

type volumeReports []volumeReport

func allVolumes(ctx context.Context, c *client.Client) (volumeReports, error) {
	list := volumeReports{}
	q := &granary.ListVolumes{}
	for {
		page, err := client.Ask[*granary.Volumes](ctx, c, q)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Volumes {
			list = append(list, volumeReportOf(&v))
			q.After = v.ID
		}
		if !page.More {
			return list, nil
		}
	}
}

func volumeReportOf(v *granary.Volume) volumeReport {
	r := volumeReport{
		ID: v.ID, State: v.State.String(), Code: fmt.Sprintf("%d+%d", v.DataShards, v.ParityShards), Auto: v.Auto, Epoch: v.Epoch,
		Owner: v.Owner, Watermark: v.Watermark, LiveBytes: v.LiveBytes, DeadBytes: v.DeadBytes,
		Overhead: v.Overhead(), Losses: v.Redundancy(), OpenedAt: timeText(v.OpenedAt), SealedAt: timeText(v.SealedAt), Moving: v.Moving,
		Shards: []shardReport{},
	}
	for i, s := range v.Shards {
		r.Shards = append(r.Shards, shardReport{
			Shard: i, Disk: s.Disk, Server: s.Server, Addr: s.Addr, Up: s.Up, Lost: s.Lost, Sealed: s.Sealed, Target: s.Target,
		})
	}
	return r
}

// timeText is a moment in RFC 3339; "" for none.
func timeText(t granary.Time) string {
	if t == 0 {
		return ""
	}
	return t.Std().UTC().Format(time.RFC3339)
}

func (list volumeReports) table(t *tableWriter) {
	t.row("VOLUME", "STATE", "CODE", "WATERMARK", "LIVE", "DEAD", "OVERHEAD", "SHARDS UP", "DISKS")
	for _, v := range list {
		var disks []string
		up := 0
		for _, s := range v.Shards {
			disks = append(disks, shortID(string(s.Disk)))
			if s.Up {
				up++
			}
		}
		t.row(v.ID, v.State, v.Code, byteText(v.Watermark), byteText(v.LiveBytes), byteText(v.DeadBytes), v.overhead(),
			fmt.Sprintf("%d/%d", up, len(v.Shards)), strings.Join(disks, " "))
	}
}

func (r *volumeReport) overhead() string {
	if r.Overhead == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.Overhead)
}

// show prints one volume.
func (r *volumeReport) show(t *tableWriter) {
	code := r.Code
	if r.Auto {
		code += " (auto)"
	}
	t.row("volume", r.ID)
	state := r.State
	if r.Moving {
		state += ", to be moved"
	}
	t.row("state", state)
	t.row("code", code)
	t.row("epoch", r.Epoch)
	t.row("watermark", byteText(r.Watermark))
	t.row("live", byteText(r.LiveBytes))
	t.row("dead", byteText(r.DeadBytes))
	t.row("overhead", r.overhead())
	t.row("can lose", lossText(r.Losses))
	t.row("opened", r.OpenedAt)
	t.row("sealed", r.SealedAt)
	t.row()
	t.row("SHARD", "DISK", "ADDRESS", "STATE")
	for _, s := range r.Shards {
		t.row(s.Shard, shortID(string(s.Disk)), s.Addr, s.state())
	}
}

func (s *shardReport) state() string {
	text := "up"
	switch {
	case s.Lost:
		text = "lost"
	case !s.Up:
		text = "down"
	}
	if s.Sealed {
		text += ", sealed"
	}
	if s.Target != "" {
		text += ", a copy is being made on " + shortID(string(s.Target))
	}
	return text
}

// lossText says what can still be lost.
func lossText(n int) string {
	switch {
	case n < 0:
		return fmt.Sprintf("DATA IS LOST: %d more needed", -n)
	case n == 0:
		return "nothing"
	}
	return fmt.Sprint(n)
}

// shortID is enough of an id for people to tell disks apart.
func shortID(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

// verifyReport is what "volume verify" found of one shard.
type verifyReport struct {
	Volume granary.VolumeID `json:"volume"`
	Shard  int              `json:"shard"`
	Disk   granary.DiskID   `json:"disk"`
	Addr   string           `json:"addr"`
	OK     bool             `json:"ok"`
	Error  string           `json:"error,omitempty"`
}

func volumeVerifyCommand(env *environment) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify [VOLUME...]",
		Short: "Read every byte of sealed volumes at their servers, and compare it with what was sealed",
		Long: `Read every byte of the shards of sealed volumes, at their servers, and compare it
with the checksums made when they were sealed. A shard that differs is rebuilt from
the others without further ado. The command fails if one does.`,
		Example: "  granary volume verify 12 13\n  granary volume verify --all",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usagef("give volumes, or --all")
		}
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			volumes, err := chosenVolumes(ctx, c, args)
			if err != nil {
				return err
			}
			list := verifyVolumes(ctx, volumes)
			if err := env.print(cmd.OutOrStdout(), list, list.table); err != nil {
				return err
			}
			return list.failure()
		})
	}
	cmd.Flags().BoolVar(&all, "all", false, "all volumes that are sealed")
	return cmd
}

// chosenVolumes returns the volumes named, or all that are sealed.
func chosenVolumes(ctx context.Context, c *client.Client, args []string) (volumeReports, error) {
	if len(args) == 0 {
		all, err := allVolumes(ctx, c)
		sealed := volumeReports{}
		for _, v := range all {
			if v.State == granary.VolumeSealed.String() {
				sealed = append(sealed, v)
			}
		}
		return sealed, err
	}
	list := volumeReports{}
	for _, arg := range args {
		id, err := volumeArg(arg)
		if err != nil {
			return nil, err
		}
		v, err := getVolume(ctx, c, id)
		if err != nil {
			return nil, err
		}
		list = append(list, volumeReportOf(v))
	}
	return list, nil
}

type verifyReports []verifyReport

// verifyVolumes verifies shard after shard, so that reads of others suffer little.
func verifyVolumes(ctx context.Context, volumes volumeReports) verifyReports {
	blocks := volume.NewClient()
	defer blocks.Close()
	list := verifyReports{}
	for _, v := range volumes {
		for _, s := range v.Shards {
			r := verifyReport{Volume: v.ID, Shard: s.Shard, Disk: s.Disk, Addr: s.Addr}
			err := blocks.Verify(ctx, s.Addr, granary.ShardRef{Disk: s.Disk, Volume: v.ID, Shard: uint8(s.Shard)})
			if r.OK = err == nil; err != nil {
				r.Error = err.Error()
			}
			list = append(list, r)
		}
	}
	return list
}

func (list verifyReports) table(t *tableWriter) {
	t.row("VOLUME", "SHARD", "DISK", "ADDRESS", "RESULT")
	for _, r := range list {
		result := "ok"
		if !r.OK {
			result = r.Error
		}
		t.row(r.Volume, r.Shard, shortID(string(r.Disk)), r.Addr, result)
	}
}

func (list verifyReports) failure() error {
	bad := 0
	for _, r := range list {
		if !r.OK {
			bad++
		}
	}
	if bad > 0 {
		return granary.Errorf(granary.KindCorrupt, "volume verify", "", "%d of %d shards are not as they should be, or could not be verified", bad, len(list))
	}
	return nil
}

func volumeSealCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "seal VOLUME",
		Short: "End appends to an open volume: its writer goes on with another",
		Args:  exactArgs("VOLUME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withVolume(cmd, args[0], func(ctx context.Context, c *client.Client, id granary.VolumeID) (*granary.Volume, error) {
				r, err := c.Do(ctx, granary.Cred{}, &granary.SealVolume{Volume: id, Force: true})
				return r.Volume, err
			})
		},
	}
}
