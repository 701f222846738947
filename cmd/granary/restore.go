package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/backup"
	"github.com/dsorchard/granary/master"
)

// restoreOptions are the flags of "cluster restore".
type restoreOptions struct {
	placeOptions
	listenOptions
	data string
	id   string
	raw  bool
}

func restoreCommand(env *environment) *cobra.Command {
	o := &restoreOptions{}
	cmd := &cobra.Command{
		Use:   "restore FILE|s3://BUCKET/KEY",
		Short: "Make a master out of a backup, for a cluster that lost its masters",
		Long: `Make the directory of a master that goes on with the cluster of a backup. It is
alone at first; others are added to it with 'granary cluster member add'. What the
cluster did after the backup is lost; the volume servers are used as they are.

Stop all old masters first, and never start them again with their directories: they
would go on with another history of the same cluster.

  granary cluster restore /backups/granary-2030-01-01 --data /srv/granary/master --id m1 --listen 10.0.0.1
  granary serve master --data /srv/granary/master --id m1 --listen 10.0.0.1

--id, --listen and --listen-base are those that the master will be started with. The
directory must be empty or not there. The command can be repeated if it breaks.`,
		Args: exactArgs("FILE|s3://BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error { return restore(cmd, env, o, args[0]) },
	}
	env.outputFlag(cmd)
	o.placeOptions.flags(cmd, env)
	o.listenOptions.flags(cmd)
	cmd.Flags().StringVar(&o.data, "data", "granary-data/master", "directory of the new master")
	cmd.Flags().StringVar(&o.id, "id", "", "name of the new master (default: its gRPC address)")
	cmd.Flags().BoolVar(&o.raw, "no-check", false, "do not recount the state in the backup first; restore it as it is")
	return cmd
}

// restoreReport is what "cluster restore --output json" prints. Fields are added, not renamed.
type restoreReport struct {
	Cluster     granary.ClusterID `json:"cluster"`
	Incarnation uint64            `json:"incarnation"`
	Backup      *backupReport     `json:"backup"`
	Index       granary.Index     `json:"index"`
	Data        string            `json:"data"`
	Start       string            `json:"start"`
}

func (r *restoreReport) table(t *tableWriter) {
	t.row("cluster", r.Cluster)
	t.row("incarnation", r.Incarnation)
	t.row("as of", r.Backup.State.LastChange.Format(time.RFC3339))
	if n := r.Backup.State.Inodes; n > 0 {
		t.row("inodes", n)
	}
	t.row("logical", byteText(r.Backup.State.LogicalBytes))
	t.row("data", r.Data)
	t.row("start it", r.Start)
}

func restore(cmd *cobra.Command, env *environment, o *restoreOptions, name string) error {
	if err := o.validate(); err != nil {
		return err
	}
	place, err := o.place(env, name)
	if err != nil {
		return err
	}
	log, err := env.logger()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	p := newProgress(os.Stderr)
	var r *restoreReport
	err = readBackup(ctx, place, p, func(b *backup.Reader) error {
		done, err := master.Restore(ctx, master.RestoreOptions{
			Dir: o.data, ID: o.id, GRPCAddr: o.addr(portMaster), RaftAddr: o.addr(portRaft),
			Stream: b, Cluster: b.Cluster, Index: b.Index, NoCheck: o.raw, Log: log,
		})
		if err != nil {
			return err
		}
		r = &restoreReport{Cluster: b.Cluster, Incarnation: done.Incarnation, Index: done.Index, Data: o.data, Start: o.startCommand()}
		r.Backup = backupReportOf(name, &b.Header)
		r.Backup.State = stateReportOf(&done.State)
		return nil
	})
	p.done()
	if err != nil {
		return err
	}
	return env.print(cmd.OutOrStdout(), r, r.table)
}

// startCommand is what starts the restored master.
func (o *restoreOptions) startCommand() string {
	words := []string{"granary serve master --data", o.data}
	if o.id != "" {
		words = append(words, "--id", o.id)
	}
	words = append(words, "--listen", o.host)
	if o.base != defaultBase {
		words = append(words, "--listen-base", fmt.Sprint(o.base))
	}
	if o.insecure {
		words = append(words, "--insecure")
	}
	return strings.Join(words, " ")
}
