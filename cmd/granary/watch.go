package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// exitMissed says that changes were missed, because the log did not keep them.
const exitMissed = 3

// watching is what "granary watch" was asked.
type watching struct {
	env       *environment
	from      string
	recursive bool
	once      bool
	limit     uint64

	out    io.Writer
	errOut io.Writer
	inode  granary.InodeID
	told   uint64
	missed bool
}

func watchCommand(env *environment) *cobra.Command {
	w := &watching{env: env}
	cmd := &cobra.Command{
		Use:   "watch PATH",
		Short: "Tell of the changes of a file, or below a directory, in the order in which they were committed",
		Long: `Tell of the changes of a file, or of a directory and all below it, one in a line, in the
order in which they were committed, whoever made them: mounts, S3, HTTP, commands. Each
has a position; --from POSITION goes on after it, and nothing is told twice or left out.
Changes are kept for a time ("granary cluster changes"). A watch that asks for what is
not kept any more says so, goes on with the oldest there is, and exits with code 3 at
its end; with -o json it prints {"behind":…,"oldest":POSITION}.

It ends at --limit, with --once when all there is has been told, when what is watched has
been removed, and at Ctrl-C.`,
		Example: "  granary watch /data\n  granary watch /data --from oldest --once -o json\n  granary watch /buckets/photos --from 48211.2",
		Args:    exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.out, w.errOut = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, _ granary.Cred) error {
				return w.run(ctx, fs, args[0])
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.from, "from", "now", "where to begin: now, oldest, an index of the log, or a position as each change has one")
	f.BoolVar(&w.recursive, "recursive", true, "tell of all below a directory; false: only of the directory and its entries")
	f.BoolVar(&w.once, "once", false, "tell of what there is, and wait for nothing")
	f.Uint64Var(&w.limit, "limit", 0, "end after so many changes; 0: never")
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}

func (w *watching) run(ctx context.Context, fs *filer.FS, name string) error {
	if w.env.output != "json" && w.env.output != "table" && w.env.output != "" {
		return usagef("--output %q is neither table nor json", w.env.output)
	}
	o, err := filer.WatchStart(w.from)
	if err != nil {
		return usagef("--from: %w", err)
	}
	clean, err := filer.CleanPath(name)
	if err != nil {
		return err
	}
	info, err := fs.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true})
	if err != nil {
		return err
	}
	w.inode = info.Attr.Inode
	watcher := fs.Client().Watch(w.inode, o)
	if err := w.follow(ctx, watcher); err != nil {
		return err
	}
	if w.missed {
		return &exitError{exitMissed}
	}
	return nil
}

// follow tells of changes until the watch ends.
func (w *watching) follow(ctx context.Context, watcher *client.Watcher) error {
	wait := time.Duration(granary.WatchWaitMax)
	if w.once {
		wait = 0
	}
	for {
		events, err := watcher.Next(ctx, wait)
		var behind *granary.Behind
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &behind):
			if err := w.behind(behind); err != nil {
				return err
			}
			continue
		case granary.IsKind(err, granary.KindNotFound) && watcher.Position() != (granary.Position{}):
			fmt.Fprintln(w.errOut, "granary:", err)
			return nil
		case err != nil:
			return err
		case len(events) == 0 && w.once:
			return nil
		}
		for i := range events {
			if err := w.tell(&events[i]); err != nil {
				return err
			}
			if w.limit > 0 && w.told == w.limit {
				return nil
			}
		}
	}
}

// behind says that changes were missed.
func (w *watching) behind(b *granary.Behind) error {
	w.missed = true
	if w.env.output == "json" {
		return printJSON(w.out, map[string]any{"behind": true, "oldest": b.Oldest})
	}
	_, err := fmt.Fprintf(w.errOut, "granary: watch: changes were missed: the log keeps those from %s on, and the watch goes on there\n", b.Oldest)
	return err
}

// tell writes one change.
func (w *watching) tell(e *granary.Event) error {
	if !w.recursive && e.Parent != w.inode && e.OldParent != w.inode && e.Inode != w.inode {
		return nil
	}
	w.told++
	if w.env.output == "json" {
		return printJSON(w.out, filer.ChangeDocumentOf(e))
	}
	_, err := fmt.Fprintln(w.out, changeText(e))
	return err
}

// changeText describes a change in a line for people. Names are quoted as far as they have characters that would confuse a terminal.
func changeText(e *granary.Event) string {
	text := fmt.Sprintf("%s  %-12s  %-14s %s", e.Time.Std().Local().Format("15:04:05.000"), e.At, e.Kind, printable(e.Path))
	if e.OldPath != "" {
		text += " <- " + printable(e.OldPath)
	}
	var more []string
	for _, m := range []struct {
		is   bool
		text string
	}{
		{e.Type != granary.TypeRegular && e.Type != 0, e.Type.String()},
		{e.Size != 0 && e.Type == granary.TypeRegular, byteText(e.Size)},
		{e.Attribute != "", printable(e.Attribute)},
		{e.Replaced, "replaced"},
		{e.Exchanged, "exchanged"},
		{e.UID != 0, fmt.Sprintf("by %d", e.UID)},
	} {
		if m.is {
			more = append(more, m.text)
		}
	}
	if len(more) > 0 {
		text += "  (" + strings.Join(more, ", ") + ")"
	}
	return text
}

// printable quotes a name that is not to be written to a terminal as it is.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// changesReport is how changes are kept. Fields are added, not renamed.
type changesReport struct {
	Keep     string           `json:"keep"`
	MaxBytes uint64           `json:"maxBytes"`
	Bytes    uint64           `json:"bytes"`
	Oldest   granary.Position `json:"oldest"`
}

func changesCommand(env *environment) *cobra.Command {
	var keep time.Duration
	var size string
	cmd := &cobra.Command{
		Use:   "changes",
		Short: "Show, and with flags change, how long changes are kept for those who watch",
		Example: `  granary cluster changes
  granary cluster changes --keep 24h --max 1GiB
  granary cluster changes --keep 0             # none are kept, and nobody can watch`,
		Args: exactArgs(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			a, err := client.Ask[*granary.ChangeLogIs](ctx, c, &granary.GetChangeLog{})
			if err != nil {
				return err
			}
			set := cmd.Flags().Changed
			if set("keep") {
				a.Settings.Keep = granary.Time(keep)
			}
			if set("max") {
				if a.Settings.MaxBytes, err = parseBytes(size); err != nil {
					return usagef("--max: %w", err)
				}
			}
			if set("keep") || set("max") {
				if err := a.Settings.Validate(); err != nil {
					return err
				}
				if _, err := c.Do(ctx, granary.Cred{}, &granary.SetChangeLog{Settings: a.Settings}); err != nil {
					return err
				}
			}
			r := changesReport{time.Duration(a.Settings.Keep).String(), a.Settings.MaxBytes, a.Bytes, a.Oldest}
			return env.print(cmd.OutOrStdout(), r, func(t *tableWriter) {
				t.row("kept for", r.Keep)
				t.row("up to", byteText(r.MaxBytes))
				t.row("now", byteText(r.Bytes))
				t.row("oldest", r.Oldest)
			})
		})
	}
	f := cmd.Flags()
	f.DurationVar(&keep, "keep", 0, "how long changes are kept; 0: not at all")
	f.StringVar(&size, "max", "", "bytes of changes that are kept at most, such as 256MiB")
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}
