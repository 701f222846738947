package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// diskOptions are the flags about the disks of a volume server.
type diskOptions struct {
	dirs       []string // DIR or DIR=CLASS
	class      string   // of those without one of their own
	format     []string
	reserve    uint64
	scrubEvery time.Duration
}

func (o *diskOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.dirs, "dir", nil, "directories that each stand for a disk, with its class if it has one: DIR or DIR=CLASS (default DATA/volume)")
	f.StringVar(&o.class, "class", "", "class of the disks that --dir gives none, such as ssd or hdd")
	f.StringSliceVar(&o.format, "format", nil, "directories that may be made new disks although they held others before: those are gone")
	f.Uint64Var(&o.reserve, "reserve", 0, "bytes kept free on each disk (default 64 MiB)")
	f.DurationVar(&o.scrubEvery, "scrub-every", 30*24*time.Hour, "how often every byte of the disks is verified; 0 for when it is asked for")
}

// role returns what the volume server needs; without --dir the given directory is its only disk.
func (o *diskOptions) role(dir, zone, rack string) (volumeRole, error) {
	r := volumeRole{zone: zone, rack: rack, reserve: o.reserve, format: o.format, scrubEvery: o.scrubEvery, classes: make(map[string]string)}
	dirs := o.dirs
	if len(dirs) == 0 {
		dirs = []string{dir}
	}
	switch {
	case o.scrubEvery < 0:
		return r, usagef("--scrub-every is negative")
	case o.scrubEvery == 0:
		r.scrubEvery = -1
	}
	if !isClass(o.class) {
		return r, usagef("--class %q is no class: a class is a word of a-z, 0-9, - and _", o.class)
	}
	for _, text := range dirs {
		dir, class := text, o.class
		if i := strings.LastIndexByte(text, '='); i >= 0 {
			dir, class = text[:i], text[i+1:]
		}
		if !isClass(class) {
			return r, usagef("--dir %q: %q is no class: a class is a word of a-z, 0-9, - and _; write DIR= if the name of the directory has a =", text, class)
		}
		r.dirs = append(r.dirs, dir)
		if class != "" {
			r.classes[dir] = class
		}
	}
	return r, nil
}

// isClass reports whether a text can be the class of a disk; "" is none.
func isClass(text string) bool {
	return len(text) <= 64 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
