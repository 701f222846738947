package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// awaitEvery lies between two looks at work that is waited for.
const awaitEvery = time.Second

// gauge shows how far work is, in one line of a terminal.
type gauge struct {
	out     io.Writer
	show    bool
	began   time.Time
	first   uint64 // left at the first look
	printed bool
}

func newGauge(out io.Writer) *gauge {
	g := &gauge{out: out, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		g.show = err == nil
	}
	return g
}

// left shows how much is left of what there was, and when that will be done at the rate so far.
func (g *gauge) left(what string, bytes uint64) {
	g.first = max(g.first, bytes)
	if !g.show {
		return
	}
	text := fmt.Sprintf("%s: %s left", what, byteText(bytes))
	if done, took := g.first-bytes, time.Since(g.began); done > 0 && bytes > 0 {
		text += fmt.Sprintf(", about %v", time.Duration(float64(took)*float64(bytes)/float64(done)).Round(time.Second))
	}
	fmt.Fprintf(g.out, "\r%s\x1b[K", text)
	g.printed = true
}

func (g *gauge) done() {
	if g.printed {
		fmt.Fprintln(g.out)
	}
}

// again pauses until the next look.
func again(ctx context.Context) error {
	select {
	case <-time.After(awaitEvery):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitEmpty returns when disks hold no shard of any volume. It fails when one of them is used again.
func awaitEmpty(ctx context.Context, c *client.Client, out io.Writer, disks []granary.DiskID) error {
	g := newGauge(out)
	defer g.done()
	for {
		list, err := listDisks(ctx, c)
		if err != nil {
			return err
		}
		volumes, bytes := 0, uint64(0)
		for _, d := range list {
			if !slices.Contains(disks, d.ID) {
				continue
			}
			if !d.State.Emptying() {
				return granary.Errorf(granary.KindCanceled, "drain", string(d.ID), "the disk is %s now", d.State)
			}
			volumes, bytes = volumes+d.Volumes, bytes+d.VolumeBytes
		}
		if volumes == 0 {
			return nil
		}
		g.left(fmt.Sprintf("%d volumes", volumes), bytes)
		if err := again(ctx); err != nil {
			return err
		}
	}
}

// awaitScrub returns the disks as they are when each has ended a pass that was under way or began after the call.
func awaitScrub(ctx context.Context, c *client.Client, out io.Writer, disks diskReports) (diskReports, error) {
	g := newGauge(out)
	defer g.done()
	before := map[granary.DiskID]string{}
	for _, d := range disks {
		before[d.ID] = d.Scrub.Ended
	}
	for {
		if err := again(ctx); err != nil { // first: what was begun has to be reported
			return nil, err
		}
		list, err := listDisks(ctx, c)
		if err != nil {
			return nil, err
		}
		now, left, busy := diskReports{}, uint64(0), 0
		for _, d := range list {
			ended, wanted := before[d.ID]
			if !wanted {
				continue
			}
			now = append(now, d)
			if d.Up && (d.Scrub.Total > 0 || d.Scrub.Ended == ended) {
				busy++
				left += d.Scrub.Total - min(d.Scrub.Bytes, d.Scrub.Total)
			}
		}
		if busy == 0 {
			return now, nil
		}
		g.left(fmt.Sprintf("%d disks", busy), left)
	}
}
