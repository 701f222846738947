package main

import (
	"testing"

	"github.com/dsorchard/granary"
)

func TestOwnerFlag(t *testing.T) {
	for text, want := range map[string]granary.Cred{
		"0:0": {}, "1000:100": {UID: 1000, GID: 100}, "root": {}, "root:7": {GID: 7}, "7:root": {UID: 7}, "4294967294:1": {UID: 1<<32 - 2, GID: 1},
	} {
		var v, again ownerValue
		if err := v.Set(text); err != nil || v.cred.UID != want.UID || v.cred.GID != want.GID {
			t.Errorf("%q: %+v, %v", text, v.cred, err)
		}
		if err := again.Set(v.String()); err != nil || again.String() != v.String() {
			t.Errorf("%q: %s, %v", text, again.String(), err)
		}
	}
	for _, text := range []string{"", ":", "1000", "1000:", ":100", "-1:0", "4294967295:0", "0:4294967296", "no such user", "no such user:0", "0:no such group", "1:2:3"} {
		if v := newOwner(); v.Set(text) == nil {
			t.Errorf("%q is %+v", text, v.cred)
		}
	}
}
