package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// statusReport is what "cluster status --output json" prints. Fields are added, not renamed.
type statusReport struct {
	Cluster       granary.ClusterID `json:"cluster"`
	Leader        string            `json:"leader"`
	Masters       masterReports     `json:"masters"`
	VolumeServers int               `json:"volumeServers"`
	ServersUp     int               `json:"volumeServersUp"`
	Disks         int               `json:"disks"`
	DisksUp       int               `json:"disksUp"`
	Volumes       int               `json:"volumes"`
	Files         uint64            `json:"files"`
	LogicalBytes  uint64            `json:"logicalBytes"`
	UniqueBytes   uint64            `json:"uniqueBytes"`
	BlockBytes    uint64            `json:"blockBytes"`
	StoredBytes   uint64            `json:"storedBytes"`
	Sessions      int               `json:"sessions"`
	Policy        string            `json:"policy"`
	Effective     string            `json:"effectivePolicy"`
	FailureDomain string            `json:"failureDomain"`
	Sync          string            `json:"sync"`
	Health        granary.Health    `json:"health"`
	Reasons       []string          `json:"reasons"`
}

func clusterCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "See how the cluster does, and change its masters"}
	status := &cobra.Command{
		Use:   "status",
		Short: "Print leader, servers, space and health",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				st, err := client.Ask[*granary.Status](ctx, c, &granary.GetStatus{})
				if err != nil {
					return err
				}
				r := reportOf(st)
				return env.print(cmd.OutOrStdout(), r, r.table)
			})
		},
	}
	env.clusterFlag(status)
	env.outputFlag(status)
	cmd.AddCommand(status, memberCommand(env), leadCommand(env), backupCommand(env), restoreCommand(env))
	return cmd
}

func reportOf(st *granary.Status) *statusReport {
	r := &statusReport{
		Cluster: st.Cluster, Leader: st.Leader, Masters: masterReportsOf(st),
		VolumeServers: st.Servers, ServersUp: st.ServersUp, Disks: st.Disks, DisksUp: st.DisksUp,
		Volumes: st.Volumes, Files: st.Files, LogicalBytes: st.LogicalBytes, UniqueBytes: st.UniqueBytes,
		BlockBytes: st.BlockBytes, StoredBytes: st.StoredBytes, Sessions: st.Sessions,
		Policy: st.Policy.String(), Effective: fmt.Sprintf("%d+%d", st.EffectiveK, st.EffectiveM),
		FailureDomain: st.FailureDomain, Sync: "disk", Health: st.Health, Reasons: st.Reasons,
	}
	if r.Reasons == nil {
		r.Reasons = []string{}
	}
	return r
}

func (r *statusReport) table(t *tableWriter) {
	t.row("cluster", r.Cluster)
	t.row("health", r.Health)
	for _, reason := range r.Reasons {
		t.row("", reason)
	}
	t.row("leader", r.Leader)
	t.row("masters", r.Masters.counts())
	t.row("volume servers", fmt.Sprintf("%d of %d up", r.ServersUp, r.VolumeServers))
	t.row("disks", fmt.Sprintf("%d of %d up", r.DisksUp, r.Disks))
	t.row("policy", fmt.Sprintf("%s (now %s, failure domain: %s)", r.Policy, r.Effective, r.FailureDomain))
	t.row("acknowledged", "when on the disks of a whole row and in the log of a majority")
	t.row("volumes", r.Volumes)
	t.row("files", r.Files)
	t.row("logical", byteText(r.LogicalBytes))
	t.row("unique", byteText(r.UniqueBytes)+" after deduplication")
	t.row("stored", byteText(r.StoredBytes)+" on all disks, parity included")
	t.row("sessions", r.Sessions)
}

func volumeCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "volume", Short: "See the volumes"}
	ls := &cobra.Command{
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
	env.clusterFlag(ls)
	env.outputFlag(ls)
	cmd.AddCommand(ls)
	return cmd
}

// volumeReport is one line of "volume ls".
type volumeReport struct {
	ID        granary.VolumeID  `json:"id"`
	State     string            `json:"state"`
	Code      string            `json:"code"`
	Epoch     granary.Epoch     `json:"epoch"`
	Owner     granary.SessionID `json:"owner,omitempty"`
	Watermark uint64            `json:"watermark"`
	LiveBytes uint64            `json:"liveBytes"`
	DeadBytes uint64            `json:"deadBytes"`
	Shards    []shardReport     `json:"shards"`
}

type shardReport struct {
	Shard  int              `json:"shard"`
	Disk   granary.DiskID   `json:"disk"`
	Server granary.ServerID `json:"server"`
	Addr   string           `json:"addr"`
	Up     bool             `json:"up"`
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
		ID: v.ID, State: v.State.String(), Code: fmt.Sprintf("%d+%d", v.DataShards, v.ParityShards), Epoch: v.Epoch,
		Owner: v.Owner, Watermark: v.Watermark, LiveBytes: v.LiveBytes, DeadBytes: v.DeadBytes, Shards: []shardReport{},
	}
	for i, s := range v.Shards {
		r.Shards = append(r.Shards, shardReport{Shard: i, Disk: s.Disk, Server: s.Server, Addr: s.Addr, Up: s.Up})
	}
	return r
}

func (list volumeReports) table(t *tableWriter) {
	t.row("VOLUME", "STATE", "CODE", "WATERMARK", "LIVE", "DEAD", "SHARDS UP", "DISKS")
	for _, v := range list {
		var disks []string
		up := 0
		for _, s := range v.Shards {
			disks = append(disks, shortID(string(s.Disk)))
			if s.Up {
				up++
			}
		}
		t.row(v.ID, v.State, v.Code, byteText(v.Watermark), byteText(v.LiveBytes), byteText(v.DeadBytes),
			fmt.Sprintf("%d/%d", up, len(v.Shards)), strings.Join(disks, " "))
	}
}

// shortID is enough of an id for people to tell disks apart.
func shortID(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}

func diskCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "disk", Short: "See the disks"}
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the disks of all volume servers",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				d, err := client.Ask[*granary.Disks](ctx, c, &granary.ListDisks{})
				if err != nil {
					return err
				}
				list := diskReportsOf(d)
				return env.print(cmd.OutOrStdout(), list, list.table)
			})
		},
	}
	env.clusterFlag(ls)
	env.outputFlag(ls)
	cmd.AddCommand(ls)
	return cmd
}

// diskReport is one line of "disk ls".
type diskReport struct {
	ID       granary.DiskID   `json:"id"`
	Server   granary.ServerID `json:"server"`
	Addr     string           `json:"addr"`
	Zone     string           `json:"zone,omitempty"`
	Rack     string           `json:"rack,omitempty"`
	Path     string           `json:"path"`
	Up       bool             `json:"up"`
	ReadOnly string           `json:"readOnly,omitempty"`
	Total    uint64           `json:"totalBytes"`
	Free     uint64           `json:"freeBytes"`
	Used     uint64           `json:"usedBytes"`
	Shards   int              `json:"shards"`
}

type diskReports []diskReport

func diskReportsOf(d *granary.Disks) diskReports {
	servers := map[granary.ServerID]granary.Server{}
	for _, s := range d.Servers {
		servers[s.ID] = s
	}
	list := diskReports{}
	for _, k := range d.Disks {
		s := servers[k.Server]
		list = append(list, diskReport{
			ID: k.ID, Server: k.Server, Addr: s.Addr, Zone: s.Zone, Rack: s.Rack, Path: k.Usage.Path, Up: k.Up,
			ReadOnly: k.Usage.ReadOnly, Total: k.Usage.Total, Free: k.Usage.Free, Used: k.Usage.Used, Shards: k.Usage.Shards,
		})
	}
	return list
}

func (list diskReports) table(t *tableWriter) {
	t.row("DISK", "SERVER", "ADDRESS", "STATE", "USED", "FREE", "SHARDS", "PATH")
	for _, d := range list {
		state := "up"
		if d.ReadOnly != "" {
			state = "read-only: " + d.ReadOnly
		}
		if !d.Up {
			state = "down"
		}
		t.row(shortID(string(d.ID)), shortID(string(d.Server)), d.Addr, state, byteText(d.Used), byteText(d.Free), d.Shards, d.Path)
	}
}
