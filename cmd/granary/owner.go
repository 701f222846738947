package main

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
)

// ownerValue is a flag that names a user and a group, as chown does: UID:GID, NAME:GROUP, or NAME with its login group.
type ownerValue struct{ cred granary.Cred }

// newOwner is who runs this process.
func newOwner() ownerValue {
	return ownerValue{granary.Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}}
}

// flag adds --owner, by default who runs this process.
func (v *ownerValue) flag(cmd *cobra.Command, usage string) {
	*v = newOwner()
	cmd.Flags().Var(v, "owner", usage+": UID:GID or names")
}

// String implements pflag.Value.
func (v *ownerValue) String() string { return fmt.Sprintf("%d:%d", v.cred.UID, v.cred.GID) }

// Type implements pflag.Value.
func (v *ownerValue) Type() string { return "USER:GROUP" }

// Set implements pflag.Value.
func (v *ownerValue) Set(text string) error {
	name, group, both := strings.Cut(text, ":")
	if !both {
		u, err := user.Lookup(name)
		if err != nil {
			return fmt.Errorf("%q is no user; give UID:GID", name)
		}
		name, group = u.Uid, u.Gid
	}
	uid, err := ownerID(name, func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return err
	}
	gid, err := ownerID(group, func() (string, error) {
		g, err := user.LookupGroup(group)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	if err != nil {
		return err
	}
	v.cred = granary.Cred{UID: uid, GID: gid}
	return nil
}

// ownerID reads the number of a user or a group, or finds that of its name. The highest number is no id: to chown it says
// "as it is".
func ownerID(text string, find func() (string, error)) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		number, ferr := find()
		if ferr != nil {
			return 0, ferr
		}
		id, err = strconv.ParseUint(number, 10, 32)
	}
	if err != nil || id == math.MaxUint32 {
		return 0, fmt.Errorf("%q is no id", text)
	}
	return uint32(id), nil
}
