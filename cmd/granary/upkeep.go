package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// taskReport is one line of "cluster tasks". Fields are added, not renamed.
type taskReport struct {
	Kind   granary.TaskKind `json:"kind"`
	Volume granary.VolumeID `json:"volume,omitempty"`
	Shard  *uint8           `json:"shard,omitempty"`
	Target granary.DiskID   `json:"target,omitempty"`
	Root   granary.InodeID  `json:"root,omitempty"`
	Reason string           `json:"reason"`
	Worker string           `json:"worker,omitempty"` // "" while it waits
	Began  string           `json:"began,omitempty"`
	Done   uint64           `json:"doneBytes"`
	Total  uint64           `json:"totalBytes"`
	Tries  int              `json:"failedTries"`
	Error  string           `json:"error,omitempty"`
}

type taskReports []taskReport

func tasksCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "List maintenance work, under way and waiting, the most urgent first",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				a, err := client.Ask[*granary.Tasks](ctx, c, &granary.ListTasks{})
				if err != nil {
					return err
				}
				list := taskReportsOf(a)
				return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
					list.table(t)
					if a.More {
						t.row("...")
					}
				})
			})
		},
	}
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}

func taskReportsOf(a *granary.Tasks) taskReports {
	list := taskReports{}
	for i := range a.Tasks {
		s := &a.Tasks[i]
		r := taskReport{
			Kind: s.Task.Kind, Volume: s.Task.Volume, Target: s.Task.Target.Disk, Root: s.Task.Root, Reason: s.Task.Reason,
			Worker: s.Worker, Began: timeText(s.Began), Done: s.Done, Total: s.Total, Tries: s.Tries, Error: s.Error,
		}
		if s.Task.Kind == granary.TaskRepair || s.Task.Kind == granary.TaskCopy {
			r.Shard = &s.Task.Shard
		}
		list = append(list, r)
	}
	return list
}

func (list taskReports) table(t *tableWriter) {
	t.row("TASK", "OF", "TO", "STATE", "WHY")
	for i := range list {
		r := &list[i]
		t.row(r.Kind, r.subject(), orDash(shortID(string(r.Target))), r.state(), r.Reason)
	}
}

func (r *taskReport) subject() string {
	switch {
	case r.Shard != nil:
		return fmt.Sprintf("volume %d shard %d", r.Volume, *r.Shard)
	case r.Volume != 0:
		return fmt.Sprintf("volume %d", r.Volume)
	}
	return fmt.Sprintf("inode %d", r.Root)
}

func (r *taskReport) state() string {
	text := "waits"
	if r.Worker != "" {
		text = "begun"
		if r.Total > 0 {
			text = fmt.Sprintf("%d %% of %s", r.Done*100/r.Total, byteText(r.Total))
		}
	}
	if r.Tries > 0 {
		text += fmt.Sprintf(", failed %d times: %s", r.Tries, r.Error)
	}
	return text
}

// durabilityReport is one volume of "cluster durability". Fields are added, not renamed.
type durabilityReport struct {
	Volume       granary.VolumeID `json:"volume"`
	State        string           `json:"state"`
	Code         string           `json:"code"`
	LiveBytes    uint64           `json:"liveBytes"`
	Losses       int              `json:"losses"`
	DomainLosses int              `json:"domainLosses"`
	Domain       string           `json:"domain"`
	Misplaced    bool             `json:"misplaced"`
	Doing        string           `json:"doing,omitempty"`
	EtaSeconds   float64          `json:"etaSeconds,omitempty"`
}

type durabilityReports []durabilityReport

func durabilityCommand(env *environment) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "durability",
		Short: "Say how much more each volume can lose, and what is being done about those that can lose little",
		Long: `For every volume: how many more shards, and how many more failure domains, it can
lose before data is lost, what is being done about it, and an estimate of the time.
Without --all, one line for each sort of volume, and one for each that is not as it
should be. The command fails if data is lost.`,
		Args: exactArgs(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			list, err := allDurability(ctx, c)
			if err != nil {
				return err
			}
			err = env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
				if all {
					list.table(t)
				} else {
					list.summary(t)
				}
			})
			if err != nil {
				return err
			}
			return list.failure()
		})
	}
	cmd.Flags().BoolVar(&all, "all", false, "one line for every volume")
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}

func allDurability(ctx context.Context, c *client.Client) (durabilityReports, error) {
	list := durabilityReports{}
	for q := (granary.GetDurability{}); ; {
		a, err := client.Ask[*granary.Durability](ctx, c, &q)
		if err != nil {
			return nil, err
		}
		for _, v := range a.Volumes {
			list = append(list, durabilityReport{
				Volume: v.Volume, State: v.State.String(), Code: fmt.Sprintf("%d+%d", v.DataShards, v.ParityShards), LiveBytes: v.LiveBytes,
				Losses: v.Losses, DomainLosses: v.DomainLosses, Domain: v.Domain, Misplaced: v.Misplaced, Doing: v.Doing,
				EtaSeconds: time.Duration(v.Eta).Seconds(),
			})
			q.After = v.Volume
		}
		if !a.More || len(a.Volumes) == 0 {
			return list, nil
		}
	}
}

func (list durabilityReports) table(t *tableWriter) {
	t.row("VOLUME", "STATE", "CODE", "LIVE", "CAN LOSE", "DOMAINS", "DOING", "LEFT")
	for i := range list {
		list[i].row(t)
	}
}

func (r *durabilityReport) row(t *tableWriter) {
	left := "-"
	if r.EtaSeconds > 0 {
		left = time.Duration(r.EtaSeconds * float64(time.Second)).Round(time.Second).String()
	}
	doing := r.Doing
	if r.Misplaced {
		doing = strings.TrimSuffix("badly placed; "+doing, "; ")
	}
	t.row(r.Volume, r.State, r.Code, byteText(r.LiveBytes), lossText(r.Losses), r.domains(), orDash(doing), left)
}

// domains says how many failure domains can be lost.
func (r *durabilityReport) domains() string {
	if r.DomainLosses < 0 {
		return "-"
	}
	if r.DomainLosses == 1 {
		return "1 " + r.Domain
	}
	return fmt.Sprintf("%d %ss", r.DomainLosses, r.Domain)
}

// summary counts the volumes that are as they should be, and lists the others.
func (list durabilityReports) summary(t *tableWriter) {
	type sort struct {
		code, domain         string
		losses, domainLosses int
	}
	counts, bytes, order := map[sort]int{}, map[sort]uint64{}, []sort{}
	var others durabilityReports
	for _, r := range list {
		if r.Doing != "" || r.Misplaced || r.Losses < 0 && r.LiveBytes > 0 {
			others = append(others, r)
			continue
		}
		s := sort{r.Code, r.Domain, r.Losses, r.DomainLosses}
		if counts[s] == 0 {
			order = append(order, s)
		}
		counts[s]++
		bytes[s] += r.LiveBytes
	}
	if len(order) > 0 || len(others) == 0 {
		t.row("VOLUMES", "CODE", "LIVE", "CAN LOSE", "DOMAINS")
	}
	for _, s := range order {
		r := durabilityReport{DomainLosses: s.domainLosses, Domain: s.domain}
		t.row(counts[s], s.code, byteText(bytes[s]), lossText(s.losses), r.domains())
	}
	if len(others) > 0 {
		if len(order) > 0 {
			t.row()
		}
		others.table(t)
	}
}

func (list durabilityReports) failure() error {
	lost := 0
	for _, r := range list {
		if r.Losses < 0 && r.LiveBytes > 0 {
			lost++
		}
	}
	if lost > 0 {
		return granary.Errorf(granary.KindCorrupt, "durability", "", "%d volumes have lost data, or cannot be reached", lost)
	}
	return nil
}

// upkeepReport is what "cluster upkeep" prints. Fields are added, not renamed.
type upkeepReport struct {
	RepairGrace  string `json:"repairGrace"`
	ReclaimGrace string `json:"reclaimGrace"`
	YoungAge     string `json:"youngAge"`
	RepairRate   uint64 `json:"repairBytesPerSecond"` // 0: no limit
	MoveRate     uint64 `json:"moveBytesPerSecond"`
	MaxOverhead  uint32 `json:"maxOverheadPercent"`
	Paused       bool   `json:"paused"`
}

func upkeepCommand(env *environment) *cobra.Command {
	var repairGrace, reclaimGrace, youngAge time.Duration
	var repairRate, moveRate string
	var maxOverhead uint32
	var paused bool
	cmd := &cobra.Command{
		Use:   "upkeep",
		Short: "Show, and with flags change, how the cluster maintains itself",
		Example: `  granary cluster upkeep
  granary cluster upkeep --repair-grace 30m --repair-rate 200MiB
  granary cluster upkeep --reclaim-grace 24h    # if backups up to a day old are to be restorable`,
		Args: exactArgs(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			a, err := client.Ask[*granary.UpkeepIs](ctx, c, &granary.GetUpkeep{})
			if err != nil {
				return err
			}
			u, set := a.Upkeep, cmd.Flags().Changed
			changed := false
			for _, f := range []struct {
				name  string
				apply func() error
			}{
				{"repair-grace", func() error { u.RepairGrace = granary.Time(repairGrace); return nil }},
				{"reclaim-grace", func() error { u.ReclaimGrace = granary.Time(reclaimGrace); return nil }},
				{"young-age", func() error { u.YoungAge = granary.Time(youngAge); return nil }},
				{"repair-rate", func() (err error) { u.RepairRate, err = parseBytes(repairRate); return err }},
				{"move-rate", func() (err error) { u.MoveRate, err = parseBytes(moveRate); return err }},
				{"max-overhead", func() error { u.MaxOverhead = maxOverhead; return nil }},
				{"paused", func() error { u.Paused = paused; return nil }},
			} {
				if !set(f.name) {
					continue
				}
				if err := f.apply(); err != nil {
					return usagef("--%s: %w", f.name, err)
				}
				changed = true
			}
			if changed {
				if err := u.Validate(); err != nil {
					return err
				}
				if _, err := c.Do(ctx, granary.Cred{}, &granary.SetUpkeep{Upkeep: u}); err != nil {
					return err
				}
			}
			r := upkeepReportOf(u)
			return env.print(cmd.OutOrStdout(), r, r.table)
		})
	}
	f := cmd.Flags()
	f.DurationVar(&repairGrace, "repair-grace", 0, "how long a server may be away before its shards are rebuilt elsewhere")
	f.DurationVar(&reclaimGrace, "reclaim-grace", 0, "how long a volume without live blocks stays; more than the age of backups that may be restored")
	f.DurationVar(&youngAge, "young-age", 0, "volumes sealed for less than this are not moved, unless most of them is dead")
	f.StringVar(&repairRate, "repair-rate", "", "bytes a second of repairs and copies of one worker, such as 200MiB; 0 for no limit")
	f.StringVar(&moveRate, "move-rate", "", "bytes a second of moves of one worker; 0 for no limit")
	f.Uint32Var(&maxOverhead, "max-overhead", 0, "percent of the ideal that a volume may take before its blocks are moved")
	f.BoolVar(&paused, "paused", false, "give out no maintenance work, --paused=false to go on")
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}

func upkeepReportOf(u granary.Upkeep) *upkeepReport {
	text := func(t granary.Time) string { return time.Duration(t).String() }
	return &upkeepReport{
		RepairGrace: text(u.RepairGrace), ReclaimGrace: text(u.ReclaimGrace), YoungAge: text(u.YoungAge),
		RepairRate: u.RepairRate, MoveRate: u.MoveRate, MaxOverhead: u.MaxOverhead, Paused: u.Paused,
	}
}

func (r *upkeepReport) table(t *tableWriter) {
	rate := func(n uint64) string {
		if n == 0 {
			return "no limit"
		}
		return byteText(n) + "/s of each worker"
	}
	t.row("repair grace", r.RepairGrace)
	t.row("reclaim grace", r.ReclaimGrace)
	t.row("young age", r.YoungAge)
	t.row("repair rate", rate(r.RepairRate))
	t.row("move rate", rate(r.MoveRate))
	t.row("overhead up to", fmt.Sprintf("%d %%", r.MaxOverhead))
	t.row("paused", r.Paused)
}
