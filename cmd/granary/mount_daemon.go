package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// daemonize starts this program again with --foreground, in a session of its own, and waits until
// the mount is ready or has failed.
func daemonize(command *cobra.Command, o *mountOptions) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	args, err := o.daemonArguments(command)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(exe, args...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if o.logFile != "" {
		log, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return errors.Join(err, w.Close())
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
	}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return err
	}
	said, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(said)); text != "ok" {
		if text == "" {
			text = "the mount process ended without a word"
		}
		return errors.New(text)
	}
	return cmd.Process.Release()
}

// daemonArguments are this command's arguments for a process in /, with what the environment says, too.
func (o *mountOptions) daemonArguments(command *cobra.Command) ([]string, error) {
	point, err := filepath.Abs(o.mountPoint)
	if err != nil {
		return nil, err
	}
	if o.cache.dir != "" {
		if o.cache.dir, err = filepath.Abs(o.cache.dir); err != nil {
			return nil, err
		}
	}
	args := []string{"mount", o.path, point, "--foreground", "--ready-fd", "3"}
	command.Flags().VisitAll(func(f *pflag.Flag) {
		always := f.Name == "cluster" || f.Name == "log-level" // they may come from the environment
		if !f.Changed && !always || f.Name == "foreground" || f.Name == "ready-fd" {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	return args, nil
}

// readiness is how a mount tells who started it that it is ready, or why not.
type readiness struct{ file *os.File }

func (r *readiness) ok() error {
	if r.file == nil {
		return nil
	}
	_, err := fmt.Fprintln(r.file, "ok")
	err = errors.Join(err, r.file.Close())
	r.file = nil
	return err
}

func (r *readiness) failed(err error) {
	if r.file != nil && err != nil {
		fmt.Fprintln(r.file, err)
	}
}
