package main

import (
	"slices"
	"strings"
	"testing"
)

// TestFstabArguments has what mount(8) calls, and what becomes of it.
func TestFstabArguments(t *testing.T) {
	for in, want := range map[string]string{
		"h:7400:/ /mnt -o rw,allow_other,_netdev":                            "--allow-other --cluster h:7400 / /mnt",
		"a:1,b:2:/d /mnt":                                                    "--cluster a:1,b:2 /d /mnt",
		"/d /mnt -o ro,nosuid,nodev,noexec,x-systemd.automount":              "--read-only --no-exec /d /mnt",
		"granary /mnt -o cluster=a:1,b:2,subdir=/x,root_squash,patience=30s": "--cluster a:1,b:2 --subdir /x --squash=root --patience 30s /mnt",
		"none /mnt -o cache_dir=/c,cache_size=10GiB,memory=2GiB,uid_map=1:2": "--cache-dir /c --cache-size 10GiB --memory 2GiB --uid-map 1:2 /mnt",
		"/ /mnt -n -v -t granary -o defaults":                                "/ /mnt",
		"/ /mnt -nv -odefaults,ro":                                           "--read-only / /mnt",
		"/ /mnt -s -o whatever=1":                                            "/ /mnt",
		"/ /mnt -o whatever":                                                 "error",
		"/ /mnt -x":                                                          "error",
		"/ -o ro":                                                            "error",
	} {
		got, fake, err := fstabArguments(strings.Fields(in))
		switch {
		case err != nil && want == "error":
		case err != nil || fake || !slices.Equal(got, strings.Fields(want)):
			t.Errorf("%s: %q, %t, %v; want %s", in, got, fake, err, want)
		}
	}
	for in, want := range map[string]string{
		"/mnt":                          "/mnt",
		"/mnt -n -v -t fuse.granary":    "/mnt",
		"/mnt -fl -tfuse.granary -N ns": "--force --lazy /mnt",
		"/mnt -x":                       "error",
		"/mnt /mnt2":                    "error",
		"-l":                            "error",
	} {
		got, err := umountArguments(strings.Fields(in))
		switch {
		case err != nil && want == "error":
		case err != nil || !slices.Equal(got, strings.Fields(want)):
			t.Errorf("umount %s: %q, %v; want %s", in, got, err, want)
		}
	}
	if _, fake, err := fstabArguments([]string{"/", "/mnt", "-f"}); err != nil || !fake {
		t.Error("-f is to mount nothing", err)
	}
}
