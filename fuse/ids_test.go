package fuse

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/dsorchard/granary"
)

func TestIDs(t *testing.T) {
	ids := IDs{
		Users: IDMap{{1000, 5000, 10}, {0, 0, 1}}, Groups: IDMap{{100, 900, 1}},
		Squash: SquashRoot, AnonymousUID: 7, AnonymousGID: 8,
	}
	for _, test := range []struct{ in, want granary.Cred }{
		{granary.Cred{UID: 1003, GID: 100, Groups: []uint32{4, 100}}, granary.Cred{UID: 5003, GID: 900, Groups: []uint32{900}}},
		{granary.Cred{UID: 1003, GID: 4}, granary.Cred{UID: 5003, GID: 8}},
		{granary.Cred{UID: 1010, GID: 100, Groups: []uint32{100}}, granary.Cred{UID: 7, GID: 8}},
		{granary.Cred{UID: 0, GID: 0}, granary.Cred{UID: 7, GID: 8}},
	} {
		if got := ids.cred(test.in); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%+v is %+v, want %+v", test.in, got, test.want)
		}
	}
	var same IDs
	if in := (granary.Cred{UID: 0, GID: 4, Groups: []uint32{1}}); !reflect.DeepEqual(same.cred(in), in) {
		t.Error("the zero value changes something")
	}
	if ids.Users.toHost(5009) != 1009 || ids.Users.toHost(1003) != overflowID || ids.Users.toHost(0) != 0 {
		t.Error("ids of the cluster are translated wrongly")
	}
	uid, gid := uint32(1001), uint32(100)
	op := granary.SetAttr{UID: &uid, GID: &gid}
	if !ids.owner(&op) || uid != 5001 || gid != 900 {
		t.Error(uid, gid)
	}
	if uid = 3; ids.owner(&op) {
		t.Error("given to a uid that is in no map")
	}
}

func TestIDMapValidate(t *testing.T) {
	for _, test := range []struct {
		m  IDMap
		ok bool
	}{
		{nil, true},
		{IDMap{{10, 20, 5}, {15, 0, 20}}, true},
		{IDMap{{10, 20, 5}, {14, 0, 1}}, false},
		{IDMap{{10, 20, 5}, {15, 24, 1}}, false},
		{IDMap{{10, 20, 0}}, false},
		{IDMap{{1, 2, 1<<32 - 1}}, false},
	} {
		if err := test.m.Validate(); (err == nil) != test.ok {
			t.Errorf("%v: %v", test.m, err)
		}
	}
}

func TestIDsOfLists(t *testing.T) {
	ids := IDs{Users: IDMap{{1, 513, 1}}, Groups: IDMap{{2, 770, 1}}}
	host := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 1, 0, 0, 0, 8, 0, 4, 0, 2, 0, 0, 0}
	cluster := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 1, 2, 0, 0, 8, 0, 4, 0, 2, 3, 0, 0}
	if got, ok := ids.acl(host, false); !ok || !bytes.Equal(got, cluster) {
		t.Errorf("%v", got)
	}
	if got, ok := ids.acl(cluster, true); !ok || !bytes.Equal(got, host) {
		t.Errorf("%v", got)
	}
	if _, ok := ids.acl(cluster, false); ok {
		t.Error("a uid in no map was taken")
	}
}
