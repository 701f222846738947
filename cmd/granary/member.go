package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// masterReport is one line of "cluster member ls".
type masterReport struct {
	ID     string        `json:"id"`
	Addr   string        `json:"addr"`
	Raft   string        `json:"raft"`
	Leader bool          `json:"leader"`
	Up     bool          `json:"up"`
	Voter  bool          `json:"voter"`
	Entry  granary.Index `json:"entry"` // the newest that it is known to have
}

type masterReports []masterReport

func masterReportsOf(st *granary.Status) masterReports {
	list := masterReports{}
	for _, m := range st.Masters {
		list = append(list, masterReport{ID: m.ID, Addr: m.Addr, Raft: m.Raft, Leader: m.Leader, Up: m.Up, Voter: m.Voter, Entry: m.Applied})
	}
	return list
}

func (list masterReports) table(t *tableWriter) {
	t.row("MASTER", "ADDRESS", "RAFT", "ROLE", "STATE", "ENTRY")
	for _, m := range list {
		t.row(m.ID, m.Addr, m.Raft, m.role(), m.state(), m.Entry)
	}
}

func (m *masterReport) role() string {
	switch {
	case m.Leader:
		return "leader"
	case m.Voter:
		return "voter"
	}
	return "non-voter"
}

func (m *masterReport) state() string {
	if m.Up {
		return "up"
	}
	return "down"
}

// counts says how many masters there are, and of what kind.
func (list masterReports) counts() string {
	up, voters := 0, 0
	for _, m := range list {
		if m.Up {
			up++
		}
		if m.Voter {
			voters++
		}
	}
	text := fmt.Sprintf("%d of %d up", up, len(list))
	if voters < len(list) {
		text += fmt.Sprintf(", %d vote, %d catch up", voters, len(list)-voters)
	}
	return text
}

func memberCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "See, add and remove masters",
		Long: `See the masters of the cluster, add new ones and remove those that are gone.

To replace a master whose directory or host was lost, remove it, start a new one
with --join, and add that; the id may be the same:

  granary cluster member remove m2
  granary serve master --id m2 --listen 10.0.0.2 --join 10.0.0.1:7400,10.0.0.3:7400
  granary cluster member add 10.0.0.2:7400`,
	}
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the masters",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				list, err := listMasters(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, list.table)
			})
		},
	}
	cmd.AddCommand(ls, memberAddCommand(env), memberRemoveCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
		env.outputFlag(c)
	}
	return cmd
}

func memberAddCommand(env *environment) *cobra.Command {
	var id string
	add := &cobra.Command{
		Use:   "add HOST:PORT",
		Short: "Add a master that waits with --join, by its gRPC address",
		Long: `Add a master that was started with --join and waits. It first gets all data, as one
that does not vote, however long that takes; then it votes, and the command ends. An
interrupted command is repeated to go on.`,
		Args: exactArgs("HOST:PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := splitAddr(args[0]); err != nil {
				return usagef("%w", err)
			}
			return env.changeMember(cmd, &granary.MemberChange{Action: granary.MemberAdd, ID: id, GRPCAddr: args[0]})
		},
	}
	add.Flags().StringVar(&id, "id", "", "refuse the master there if it has another id")
	return add
}

func memberRemoveCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a master for good, whether it runs or not",
		Long: `Remove a master for good: its directory is of no more use. One that leads hands over
first. What would leave no majority of masters that are up is refused.`,
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.changeMember(cmd, &granary.MemberChange{Action: granary.MemberRemove, ID: args[0]})
		},
	}
}

// changeMember changes the group of masters, shows how far it is, and prints who is left.
func (env *environment) changeMember(cmd *cobra.Command, change *granary.MemberChange) error {
	return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
		if change.Action == granary.MemberRemove {
			list, err := listMasters(ctx, c)
			if err != nil {
				return err
			}
			if list.find(change.ID) == nil {
				return fmt.Errorf("no master has the id %q: see 'granary cluster member ls'", change.ID)
			}
		}
		if err := c.ChangeMember(ctx, change, reporter(cmd.ErrOrStderr())); err != nil {
			return err
		}
		list, err := listMasters(ctx, c)
		if err != nil {
			return err
		}
		return env.print(cmd.OutOrStdout(), list, list.table)
	})
}

// reportEvery is the least time between two lines about the same.
const reportEvery = 2 * time.Second

// reporter prints how far a change is, not too often.
func reporter(out io.Writer) func(error) {
	var last time.Time
	return func(err error) {
		var e *granary.Error
		if time.Since(last) < reportEvery || !errors.As(err, &e) {
			return
		}
		last = time.Now()
		fmt.Fprintf(out, "%s: %v\n", e.Subject, e.Err)
	}
}

func listMasters(ctx context.Context, c *client.Client) (masterReports, error) {
	st, err := client.Ask[*granary.Status](ctx, c, &granary.GetStatus{})
	if err != nil {
		return nil, err
	}
	return masterReportsOf(st), nil
}

func (list masterReports) find(id string) *masterReport {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

func leadCommand(env *environment) *cobra.Command {
	lead := &cobra.Command{
		Use:   "lead [ID]",
		Short: "Hand the leadership to a master, or to whichever other is best",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one id at most, not %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			change := &granary.MemberChange{Action: granary.MemberLead}
			if len(args) == 1 {
				change.ID = args[0]
			}
			return env.changeMember(cmd, change)
		},
	}
	env.clusterFlag(lead)
	env.outputFlag(lead)
	return lead
}
