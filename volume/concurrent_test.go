package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Many shards live their lives at once, over HTTP, through two open files; readers and listings go on meanwhile.
func TestConcurrentShards(t *testing.T) {
	o := testOptions(t, t.TempDir(), t.TempDir())
	o.OpenFilesMax = 2
	s := open(t, o)
	c, addr := serve(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for _, u := range s.Usage() {
		readers.Go(func() {
			for ctx.Err() == nil {
				infos, err := c.List(context.Background(), addr, u.Disk)
				if err != nil {
					t.Error(err)
					return
				}
				for _, i := range infos {
					_, _, err := c.ReadAt(context.Background(), addr, i.Ref, make([]byte, 5000), 0)
					if err != nil && !granary.IsKind(err, granary.KindNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	var writers errgroup.Group
	for i, u := range s.Usage() {
		for v := granary.VolumeID(1); v <= 4; v++ {
			ref := granary.ShardRef{Disk: u.Disk, Volume: v, Shard: uint8(i)}
			writers.Go(func() error { return live(c, addr, ref) })
		}
	}
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
	cancel()
	readers.Wait()
	for i, u := range s.Usage() {
		<-s.disks[i].walked
		if u.Used != 0 || u.Shards != 0 {
			t.Errorf("after all were dropped: %+v", u)
		}
	}
}

// live is a shard's life.
func live(c *Client, addr string, ref granary.ShardRef) error {
	ctx := context.Background()
	var want []byte
	for i := range 8 {
		data := fill(3000, byte(i)+byte(ref.Volume))
		if err := c.Append(ctx, addr, appendOf(ref, uint64(len(want)), uint64(len(want)), data)); err != nil {
			return err
		}
		want = append(want, data...)
	}
	if err := c.Seal(ctx, addr, &granary.Seal{Ref: ref, Epoch: 2, Length: uint64(len(want))}); err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, _, err := c.ReadAt(ctx, addr, ref, got, 0)
	if err != nil || n != len(want) || !bytes.Equal(got, want) {
		return fmt.Errorf("shard %v reads back %d bytes, others than were written: %w", ref, n, err)
	}
	return errors.Join(c.Verify(ctx, addr, ref), c.Drop(ctx, addr, ref, 2, 0))
}

// A disk that hangs is reported as such, and does not keep the server from reporting the other.
func TestHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
		good := disk.NewMem(disk.MemOptions{})
		o := testOptions(t, "hung", "good")
		o.OpenFS = func(dir string) (disk.FS, error) {
			if dir == "hung" {
				return hung, nil
			}
			return good, nil
		}
		s := open(t, o)
		release := make(chan struct{})
		hung.SetHook(func(disk.Call) disk.Fault { return disk.Fault{Wait: func() { <-release }} })
		time.Sleep((hungAfter + 2) * time.Second)
		u := s.Usage()
		if u[0].ReadOnly == "" || u[1].ReadOnly != "" {
			t.Errorf("usage %+v", u)
		}
		wantKind(t, s.Append(t.Context(), appendOf(firstRef(s, 1), 0, 0, fill(1, 1))), granary.KindUnavailable)
		if u[0].Failing != "" {
			t.Errorf("after a short while it is failing already: %s", u[0].Failing)
		}
		time.Sleep(deadAfter * time.Second)
		if u := s.Usage(); u[0].Failing == "" || u[1].Failing != "" {
			t.Errorf("usage %+v", u)
		}
		hung.SetHook(nil)
		close(release)
		time.Sleep(2 * time.Second)
		if u := s.Usage(); u[0].ReadOnly != "" || u[0].Failing != "" {
			t.Errorf("after it answers again: %+v", u)
		}
		hung.SetHook(func(disk.Call) disk.Fault { return disk.Fault{Err: syscall.EIO} })
		time.Sleep(2 * time.Second)
		if u := s.Usage(); u[0].ReadOnly == "" || u[0].Failing == "" {
			t.Errorf("a disk that fails is not reported: %+v", u)
		}
		hung.SetHook(nil)
	})
}
