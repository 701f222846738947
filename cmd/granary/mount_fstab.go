package main

import (
	"slices"
	"strings"
)

// fstabArguments turns the arguments that mount(8) gives to mount.granary, SOURCE MOUNTPOINT
// [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE], into those of granary mount. SOURCE is [HOST:PORT,…:]/PATH, or a word without a slash. fake is
// whether nothing is to be mounted.
func fstabArguments(args []string) (out []string, fake bool, err error) {
	var places, options []string
	sloppy := false
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			places = append(places, arg)
			continue
		}
		for j := 1; j < len(arg); j++ {
			switch letter := arg[j]; letter {
			case 's':
				sloppy = true
			case 'f':
				fake = true
			case 'n', 'v', 'r', 'w': // mount(8) says ro and rw as options, too
			case 'o', 't', 'N':
				value := arg[j+1:]
				if value == "" && i+1 < len(args) {
					i++
					value = args[i]
				}
				if letter == 'o' {
					options = append(options, strings.Split(value, ",")...)
				}
				j = len(arg)
			default:
				return nil, false, usagef("mount.granary does not know %s", arg)
			}
		}
	}
	if len(places) != 2 {
		return nil, false, usagef("mount.granary takes SOURCE MOUNTPOINT [-o OPTIONS], not %q", args)
	}
	out, err = fstabOptions(joinLists(options), sloppy)
	if err != nil {
		return nil, false, err
	}
	return append(out, fstabSource(places[0], places[1])...), fake, nil
}

// umountArguments turns the arguments that umount(8) gives to umount.fuse.granary, MOUNTPOINT [-flnrv] [-N NAMESPACE] [-t TYPE], into those of
// granary umount.
func umountArguments(args []string) (out []string, err error) {
	var points []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			points = append(points, arg)
			continue
		}
		for j := 1; j < len(arg); j++ {
			switch arg[j] {
			case 'f':
				out = append(out, "--force")
			case 'l':
				out = append(out, "--lazy")
			case 'n', 'r', 'v':
			case 't', 'N':
				if arg[j+1:] == "" {
					i++
				}
				j = len(arg)
			default:
				return nil, usagef("umount.fuse.granary does not know %s", arg)
			}
		}
	}
	if len(points) != 1 {
		return nil, usagef("umount.fuse.granary takes one MOUNTPOINT, not %q", args)
	}
	return append(out, points[0]), nil
}

// joinLists puts the pieces of values that have commas of their own, such as the addresses of masters, together again.
func joinLists(options []string) []string {
	var out []string
	for _, o := range options {
		last := len(out) - 1
		if last >= 0 && strings.HasPrefix(out[last], "cluster=") && strings.Contains(o, ":") && !strings.Contains(o, "=") {
			out[last] += "," + o
			continue
		}
		out = append(out, o)
	}
	return out
}

// fstabSource returns the arguments that say what is mounted where.
func fstabSource(source, point string) []string {
	var out []string
	if i := strings.LastIndex(source, ":/"); i > 0 {
		out = append(out, "--cluster", source[:i])
		source = source[i+1:]
	}
	if !strings.HasPrefix(source, "/") {
		return append(out, point) // "granary", "none": all is said by options
	}
	return append(out, source, point)
}

// fstabOptions turns a list of mount(8) into flags. What is not known is an error, as with other file systems, unless sloppy.
func fstabOptions(list []string, sloppy bool) ([]string, error) {
	flags := map[string]string{
		"ro": "--read-only", "allow_other": "--allow-other", "noexec": "--no-exec", "suid": "--suid", "dev": "--dev",
		"root_squash": "--squash=root", "all_squash": "--squash=all", "no_root_squash": "--squash=none",
	}
	valued := []string{
		"cluster", "subdir", "patience", "log_file", "log_level", "cache_dir", "cache_size", "memory", "anon_uid", "anon_gid", "uid_map", "gid_map",
	}
	// What says nothing to us: mount(8), systemd and others deal with it, or it is how mounts are anyway.
	ignored := []string{
		"", "defaults", "rw", "auto", "noauto", "user", "users", "nouser", "owner", "group", "nofail", "_netdev", "nosuid", "nodev", "exec", "async",
		"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime",
		"iversion", "noiversion", "silent", "loud", "nomand", "default_permissions",
	}
	var out []string
	for _, o := range list {
		name, value, _ := strings.Cut(o, "=")
		switch {
		case flags[name] != "":
			out = append(out, flags[name])
		case slices.Contains(valued, name):
			out = append(out, "--"+strings.ReplaceAll(name, "_", "-"), value)
		case slices.Contains(ignored, name), strings.HasPrefix(name, "x-"), strings.HasPrefix(name, "X-"), name == "comment", sloppy:
		default:
			return nil, usagef("option %q is not known; see 'granary mount --help'", o)
		}
	}
	return out, nil
}
