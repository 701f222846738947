package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/fuse"
)

// idOptions are the flags that say who the users of a mount are in the cluster.
type idOptions struct {
	squash    string
	anonymous [2]uint32 // uid, gid
	users     []string
	groups    []string
}

const nobody = 65534

func (o *idOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.squash, "squash", "none", "who acts as --anon-uid and --anon-gid, and in no other group: none, root (uid 0 of this host) or all")
	f.Uint32Var(&o.anonymous[0], "anon-uid", nobody, "uid of those who are squashed, or not in --uid-map")
	f.Uint32Var(&o.anonymous[1], "anon-gid", nobody, "gid of those who are squashed, or not in --gid-map")
	f.StringArrayVar(&o.users, "uid-map", nil, "HOST:CLUSTER[:COUNT]: uids of this host from HOST on are those of the cluster from CLUSTER on; again for more; none: they are the same")
	f.StringArrayVar(&o.groups, "gid-map", nil, "HOST:CLUSTER[:COUNT] for gids")
}

// parse returns what the flags say.
func (o *idOptions) parse() (fuse.IDs, error) {
	ids := fuse.IDs{AnonymousUID: o.anonymous[0], AnonymousGID: o.anonymous[1]}
	switch o.squash {
	case "none":
	case "root":
		ids.Squash = fuse.SquashRoot
	case "all":
		ids.Squash = fuse.SquashAll
	default:
		return ids, usagef("--squash %q is none of none, root, all", o.squash)
	}
	var err error
	if ids.Users, err = parseIDMap("--uid-map", o.users); err != nil {
		return ids, err
	}
	ids.Groups, err = parseIDMap("--gid-map", o.groups)
	return ids, err
}

func parseIDMap(flag string, texts []string) (fuse.IDMap, error) {
	var m fuse.IDMap
	for _, text := range texts {
		parts := strings.Split(text, ":")
		numbers := [3]uint32{2: 1}
		ok := len(parts) == 2 || len(parts) == 3
		for i := 0; ok && i < len(parts); i++ {
			n, err := strconv.ParseUint(parts[i], 10, 32)
			numbers[i], ok = uint32(n), err == nil
		}
		if !ok {
			return nil, usagef("%s %q is not HOST:CLUSTER or HOST:CLUSTER:COUNT", flag, text)
		}
		m = append(m, fuse.IDRange{Host: numbers[0], Cluster: numbers[1], Count: numbers[2]})
	}
	if err := m.Validate(); err != nil {
		return nil, usagef("%s: %w", flag, err)
	}
	return m, nil
}
