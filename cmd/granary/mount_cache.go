package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/internal/chunkcache"
)

// cacheOptions are the flags of a cache on a local disk.
type cacheOptions struct {
	dir  string
	size bytesValue
}

func (o *cacheOptions) flags(cmd *cobra.Command) {
	o.size = 10 << 30
	cmd.Flags().StringVar(&o.dir, "cache-dir", "", "directory on a local disk in which what is read is kept; mounts and filers of one user may share it (default none)")
	cmd.Flags().Var(&o.size, "cache-size", "bytes that --cache-dir may take, of all who share it")
}

// open opens the cache; nil without a directory.
func (o *cacheOptions) open(log *slog.Logger) (*chunkcache.Cache, error) {
	if o.dir == "" {
		return nil, nil
	}
	return chunkcache.Open(chunkcache.Options{Dir: o.dir, SizeMax: int64(o.size), Log: log})
}

// bytesValue is a flag that takes a number of bytes.
type bytesValue int64

// String implements pflag.Value: exactly, for it is handed on to processes.
func (v *bytesValue) String() string {
	n, unit := uint64(*v), 0
	for ; n >= 1024 && n%1024 == 0 && unit < 4; unit++ {
		n /= 1024
	}
	return fmt.Sprint(n) + [...]string{"", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// Type implements pflag.Value.
func (v *bytesValue) Type() string { return "SIZE" }

// Set implements pflag.Value.
func (v *bytesValue) Set(text string) error {
	n, err := parseBytes(text)
	if err != nil {
		return err
	}
	*v = bytesValue(n)
	return nil
}
