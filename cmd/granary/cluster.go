package main

import (
	"context"
	"fmt"

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
	cmd.AddCommand(status, memberCommand(env), leadCommand(env), backupCommand(env), restoreCommand(env),
		durabilityCommand(env), tasksCommand(env), upkeepCommand(env), changesCommand(env), encryptionCommand(env))
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
