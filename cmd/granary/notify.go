package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer/notify"
)

func notifyCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Name the targets that buckets notify of changes, and see how the notifications fare",
		Long: `A target is an endpoint that buckets can notify of what happens to their objects:
a webhook, a subject of NATS, a topic of Kafka, or a list, channel or stream of
Redis. Each has an ARN, which the notification configurations of buckets name
("aws s3api put-bucket-notification-configuration").`,
	}
	target := &cobra.Command{Use: "target", Short: "Name, list, test and remove targets"}
	target.AddCommand(notifyAddCommand(env), notifyLsCommand(env), notifyTestCommand(env), notifyRmCommand(env))
	cmd.AddCommand(target, notifyStatusCommand(env))
	clusterFlags(env, cmd)
	return cmd
}

// withNotify runs a short command on notifications.
func (env *environment) withNotify(ctx context.Context, do func(context.Context, *notify.Service) error) error {
	return env.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		return do(ctx, notify.New(c, nil))
	})
}

func notifyAddCommand(env *environment) *cobra.Command {
	var t notify.Target
	var replace bool
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Name a target, and print its ARN",
		Long: `Name a target, and print its ARN. Its URL says what it is:

  http://HOST/PATH, https://…         a webhook: events are POSTed, and acknowledged by 2xx
  nats://HOST:4222/SUBJECT            nats+tls:// with TLS; ?jetstream: a stream acknowledges
  kafka://HOST:9092/TOPIC             kafka+tls:// with TLS; ?broker=HOST:PORT names more
  redis://HOST:6379/KEY               rediss:// with TLS; a list (RPUSH); ?pubsub: a channel;
                                      ?stream: a stream; ?db=N

User and password go before the host. --replace gives a target that there is another
address, or another password.`,
		Example: `  granary notify target add thumbs http://10.0.0.7:8080/events
  granary notify target add audit 'redis://:secret@10.0.0.8:6379/audit?stream'`,
		Args: exactArgs("NAME", "URL"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t.Name, t.URL = args[0], args[1]
		return env.withNotify(cmd.Context(), func(ctx context.Context, s *notify.Service) error {
			if err := s.AddTarget(ctx, t, replace); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), t.ARN())
			return err
		})
	}
	cmd.Flags().StringVar(&t.Token, "authorization", "", "of a webhook: the value of the header Authorization, such as \"Bearer …\"")
	cmd.Flags().BoolVar(&replace, "replace", false, "replace the target of that name")
	return cmd
}

// targetReport is a target in JSON and in listings. Fields are added, not renamed.
type targetReport struct {
	Name string `json:"name"`
	Type string `json:"type"`
	ARN  string `json:"arn"`
	URL  string `json:"url"` // without a password
}

func notifyLsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List targets", Args: exactArgs()}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.withNotify(cmd.Context(), func(ctx context.Context, s *notify.Service) error {
			targets, err := s.Targets(ctx)
			if err != nil {
				return err
			}
			list := []targetReport{}
			for i := range targets {
				t := &targets[i]
				list = append(list, targetReport{t.Name, t.Type(), t.ARN(), t.Shown()})
			}
			return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
				t.row("NAME", "ARN", "URL")
				for _, r := range list {
					t.row(r.Name, r.ARN, r.URL)
				}
			})
		})
	}
	env.outputFlag(cmd)
	return cmd
}

func notifyTestCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "test NAME", Short: "Send a target a test event, from this host", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withNotify(cmd.Context(), func(ctx context.Context, s *notify.Service) error { return s.TestTarget(ctx, args[0]) })
	}
	return cmd
}

func notifyRmCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Remove a target that no bucket notifies", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withNotify(cmd.Context(), func(ctx context.Context, s *notify.Service) error { return s.RemoveTarget(ctx, args[0]) })
		},
	}
}

func notifyStatusCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show for each bucket and target how the notifications fare",
		Long: `Show for each bucket and target what was delivered, how many changes of the bucket
wait, whether the target fails and why, and how often notifications were lost because
the change log did not keep them ("granary cluster changes"). Exits with code 1 if a
target fails, and with code 3 if notifications were lost.`,
		Args: exactArgs(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.withNotify(cmd.Context(), func(ctx context.Context, s *notify.Service) error {
			list, err := s.Status(ctx)
			if err != nil {
				return err
			}
			if list == nil {
				list = []notify.Status{}
			}
			if err := env.print(cmd.OutOrStdout(), list, func(t *tableWriter) { notifyTable(t, list) }); err != nil {
				return err
			}
			return notifyVerdict(list)
		})
	}
	env.outputFlag(cmd)
	return cmd
}

func notifyTable(t *tableWriter, list []notify.Status) {
	t.row("BUCKET", "TARGET", "DELIVERED", "WAITING", "AT", "LOST", "STATE")
	for i := range list {
		st := &list[i]
		waiting, state := fmt.Sprint(st.Pending), "ok"
		if st.More {
			waiting += "+"
		}
		switch {
		case st.Error != "":
			state = fmt.Sprintf("failing since %s: %s", st.Failing.Local().Format(time.DateTime), printable(st.Error))
		case st.Behind:
			state = "changes that it waits for are not kept any more"
		case st.Missed > 0:
			state = fmt.Sprintf("ok; lost what came before %s, at %s", st.MissedTo, st.MissedAt.Local().Format(time.DateTime))
		}
		t.row(st.Bucket, st.Target, st.Delivered, waiting, st.At, st.Missed, state)
	}
}

// notifyVerdict is the exit code.
func notifyVerdict(list []notify.Status) error {
	code := 0
	for i := range list {
		if list[i].Error != "" {
			code = max(code, 1)
		}
		if list[i].Missed > 0 || list[i].Behind {
			code = exitMissed
		}
	}
	if code == 0 {
		return nil
	}
	return &exitError{code}
}
