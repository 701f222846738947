package main

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestDiskFlags(t *testing.T) {
	o := diskOptions{class: "hdd", dirs: []string{"/a", "/b=ssd", "/c=d=", "/e=f=nvme-2"}, scrubEvery: time.Hour}
	r, err := o.role("x", "z", "r")
	if err != nil || !slices.Equal(r.dirs, []string{"/a", "/b", "/c=d", "/e=f"}) || r.scrubEvery != time.Hour {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := map[string]string{"/a": "hdd", "/b": "ssd", "/e=f": "nvme-2"}; !maps.Equal(r.classes, want) {
		t.Fatalf("%v, want %v", r.classes, want)
	}
	o = diskOptions{}
	if r, err = o.role("x", "", ""); err != nil || !slices.Equal(r.dirs, []string{"x"}) || len(r.classes) != 0 || r.scrubEvery >= 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, o := range []diskOptions{{class: "S S D"}, {dirs: []string{"/a=/b"}}, {dirs: []string{"/a=SSD"}}, {scrubEvery: -1}} {
		if r, err := o.role("x", "", ""); err == nil {
			t.Errorf("%+v is %+v", o, r)
		}
	}
}
