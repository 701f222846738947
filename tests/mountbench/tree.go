package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sources is the work of programs on a tree of sources, which is a git work tree.
func (b *bench) sources(ctx context.Context) error {
	if b.tree == "" {
		return errors.New("--tree is missing")
	}
	sh := func(line string) func(int) error {
		return func(int) error {
			cmd := exec.CommandContext(ctx, "sh", "-ec", line)
			cmd.Dir = b.dir
			cmd.Env = append(os.Environ(), "TREE="+b.tree, "GIT_OPTIONAL_LOCKS=0", "GIT_CONFIG_COUNT=1",
				"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", line, err, out)
			}
			return nil
		}
	}
	cold := func(int) error { return b.chill(ctx) }
	steps := []struct {
		name    string
		times   int
		prepare func(int) error
		line    string
	}{
		{"untar", 1, nil, `tar xf "$TREE"`},
		// Once so that git's index knows the new inodes; the index must be older than what it is about.
		{"", 1, nil, `GIT_OPTIONAL_LOCKS=1 git -C tree status --porcelain`},
		{"status-cold", 1, cold, `git -C tree status --porcelain`},
		{"status-warm", 3, nil, `git -C tree status --porcelain`},
		{"grep-cold", 1, cold, `! grep -rn "no such words anywhere" tree`},
		{"grep-warm", 3, nil, `! grep -rn "no such words anywhere" tree`},
		{"cp", 1, nil, `cp -r tree copy`},
		{"rm", 1, nil, `rm -rf copy`},
	}
	for _, step := range steps {
		s, err := b.timed(ctx, step.times, step.prepare, sh(step.line))
		if err != nil {
			return err
		}
		took, cpu := s.median()
		if step.name == "" {
			continue
		}
		if err := b.result(step.name, took.Seconds(), "s", fmt.Sprintf("%.2f cpu-s", cpu)); err != nil {
			return err
		}
	}
	return nil
}

// coherence times how long after a change by one mount the other sees it, which has looked just before: a new size, another name, a
// name that went.
func (b *bench) coherence(ctx context.Context) error {
	if b.second == "" {
		return nil
	}
	rel, err := filepath.Rel(b.path, b.dir)
	if err != nil {
		return err
	}
	here, there := filepath.Join(b.dir, "f"), filepath.Join(b.second, rel, "f")
	var waits []time.Duration // there is one caller
	size := int64(0)
	change := func(ctx context.Context, i int) error {
		var seen func() bool
		var err error
		switch i % 3 {
		case 0:
			size = int64(i%1000 + 1)
			err = os.WriteFile(here, []byte(strings.Repeat("x", int(size))), 0o644)
			seen = func() bool { st, err := os.Stat(there); return err == nil && st.Size() == size }
		case 1:
			err = os.Rename(here, here+"2")
			seen = func() bool { _, err := os.Stat(there + "2"); return err == nil }
		case 2:
			err = os.Remove(here + "2")
			seen = func() bool { _, err := os.Stat(there + "2"); return errors.Is(err, os.ErrNotExist) }
		}
		if err != nil {
			return err
		}
		began := time.Now()
		for !seen() {
			if time.Since(began) > 10*time.Second {
				return errors.New("a change was not seen within 10 s")
			}
		}
		waits = append(waits, time.Since(began))
		return nil
	}
	if _, err := b.repeated(ctx, 1, 3000, change); err != nil {
		return err
	}
	if len(waits) == 0 {
		return errors.New("nothing was changed")
	}
	if err := b.result("seen", float64(quantile(waits, 0.5).Microseconds())/1000, "ms", fmt.Sprintf("%d changes", len(waits))); err != nil {
		return err
	}
	return b.result("seen-99", float64(quantile(waits, 0.99).Microseconds())/1000, "ms", "")
}
