package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// fakeLocks is a locker in memory: one lock, on whatever path.
type fakeLocks struct {
	mu   sync.Mutex
	last granary.FencingToken
	held *granary.PathLock
	op   granary.AcquirePaths // the last
}

func (f *fakeLocks) LockPath(_ context.Context, root granary.InodeID, name string, subtree bool) (granary.LockPath, error) {
	return granary.LockPath{Base: root, Path: strings.TrimPrefix(name, "/"), Subtree: subtree}, nil
}

func (f *fakeLocks) AcquirePaths(ctx context.Context, _ granary.Cred, op granary.AcquirePaths) (client.Grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.op = op; f.held != nil {
		if !op.Wait {
			return client.Grant{}, granary.Errorf(granary.KindWouldBlock, "lock paths", "", "held by another")
		}
		<-ctx.Done()
		return client.Grant{}, granary.Errorf(granary.KindCanceled, "lock paths", "", "%w", ctx.Err())
	}
	f.last++
	f.held = &granary.PathLock{ID: granary.LockID(f.last), Token: f.last, Exclusive: op.Exclusive, TTL: op.TTL, Expires: 1, Owner: op.Owner}
	for _, p := range op.Paths {
		f.held.Paths = append(f.held.Paths, granary.LockedPath{Path: "/" + p.Path, Subtree: p.Subtree})
	}
	return client.Grant{Token: f.last, Expires: time.Unix(9, 0)}, nil
}

func (f *fakeLocks) RenewPaths(_ context.Context, _ granary.Cred, token granary.FencingToken, ttl, was time.Duration) (time.Time, error) {
	if ttl == 0 {
		ttl = was
	}
	return time.Unix(0, 0).Add(ttl), nil
}

func (f *fakeLocks) ReleasePaths(_ context.Context, _ granary.Cred, op granary.ReleasePaths) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil || f.held.Token != op.Token {
		return granary.Errorf(granary.KindNotFound, "release lock", "", "")
	}
	f.held = nil
	return nil
}

func (f *fakeLocks) Query(_ context.Context, q granary.Query) (granary.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &granary.PathLocks{}
	switch token := q.(*granary.ListPathLocks).Token; {
	case f.held != nil && (token == 0 || token == f.held.Token):
		a.Locks = append(a.Locks, *f.held)
	case token != 0:
		return nil, granary.Errorf(granary.KindNotFound, "get lock", "", "")
	}
	return a, nil
}

func TestLockEndpoints(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("POST", "/-/v1/locks", `{"path":"/a"}`), http.StatusNotImplemented)
	fake := &fakeLocks{}
	d.h.locks = fake
	var got lockDocument
	decode := func(method, target, body string, status int) {
		t.Helper()
		got = lockDocument{}
		w := d.want(d.do(method, target, body), status)
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err, w.Body)
		}
	}
	decode("POST", "/-/v1/locks", `{"path":"/a","paths":["b/../c"],"ttl":"1m30s","subtree":true,"owner":"me","description":"why"}`, http.StatusCreated)
	if got.Token != 1 || got.Path != "/a" || len(got.Paths) != 2 || got.Paths[1] != "/c" || got.Expires == nil || got.Owner != "me" {
		t.Errorf("%+v", got)
	}
	if op := fake.op; !op.Exclusive || op.Wait || op.TTL != 90e9 || !op.Paths[0].Subtree || op.Note != "why" {
		t.Errorf("%+v", op)
	}
	for body, status := range map[string]int{
		`{"path":"/a","ttl":5}`:          http.StatusLocked,
		`{"path":"/a","timeout":"10ms"}`: http.StatusLocked,
		`{"path":"/a","ttl":0}`:          http.StatusBadRequest,
		`{"ttl":5}`:                      http.StatusBadRequest,
		`{"path":"/a","tll":5}`:          http.StatusBadRequest,
		`{"path":"/a","ttl":"soon"}`:     http.StatusBadRequest,
		`[`:                              http.StatusBadRequest,
		`{"path":"` + strings.Repeat("a", 70000) + `"}`: http.StatusBadRequest,
	} {
		d.want(d.do("POST", "/-/v1/locks", body), status)
	}
	decode("GET", "/-/v1/locks/1", "", http.StatusOK)
	if !got.Exclusive || got.Token != 1 {
		t.Errorf("%+v", got)
	}
	for target, n := range map[string]int{"": 1, "?path=/a": 1, "?path=/a/below": 1, "?path=/": 1, "?path=/b": 0} {
		var list locksDocument
		w := d.want(d.do("GET", "/-/v1/locks"+target, ""), http.StatusOK)
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Locks) != n {
			t.Errorf("%s: %s %v", target, w.Body, err)
		}
	}
	decode("POST", "/-/v1/locks/1/renew", "", http.StatusOK)
	if got.Expires.Unix() != 90 {
		t.Errorf("%+v", got.Expires)
	}
	decode("POST", "/-/v1/locks/1/renew", `{"ttl":7}`, http.StatusOK)
	if got.Expires.Unix() != 7 {
		t.Errorf("%+v", got.Expires)
	}
	d.want(d.do("POST", "/-/v1/locks/2/renew", ""), http.StatusPreconditionFailed)
	d.want(d.do("GET", "/-/v1/locks/2", ""), http.StatusNotFound)
	d.want(d.do("GET", "/-/v1/locks/none", ""), http.StatusNotFound)
	d.want(d.do("PUT", "/-/v1/locks/1", ""), http.StatusMethodNotAllowed)
	d.want(d.do("GET", "/-/v1/locks/1/renew", ""), http.StatusMethodNotAllowed)
	d.want(d.do("PUT", "/-/v1/locks", ""), http.StatusMethodNotAllowed)
	d.want(d.do("DELETE", "/-/v1/locks/1", ""), http.StatusNoContent)
	d.want(d.do("DELETE", "/-/v1/locks/1?break", ""), http.StatusNotFound)
	d.want(d.do("PUT", "/f", "x", "Granary-Fence: nine"), http.StatusBadRequest)
	d.want(d.do("PUT", "/f", "x", "Granary-Fence: 9, 10"), http.StatusCreated)
}
