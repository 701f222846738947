package s3

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/accounts"
)

// waitOf returns after how many seconds a refused request may come again; "" if it is admitted.
func waitOf(t *testing.T, p *passage, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := err.(*apiError)
	if !ok || e.code != codeSlowDown || p != nil {
		t.Fatal(err)
	}
	return e.header.Get("Retry-After")
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{now: time.Now}
		admit := func(c *caller) (*passage, string) {
			p, err := l.admit(c)
			return p, waitOf(t, p, err)
		}
		if p, wait := admit(&caller{}); p != nil || wait != "" {
			t.Fatal("who has no limits is counted")
		}
		slow := &caller{id: "slow", limits: granary.Limits{Requests: 4}}
		for i := range 4 {
			p, wait := admit(slow)
			if wait != "" {
				t.Fatalf("request %d is refused", i)
			}
			p.end()
		}
		if _, wait := admit(slow); wait != "1" {
			t.Fatalf("a fifth request in a second: %q", wait)
		}
		time.Sleep(250 * time.Millisecond)
		if _, wait := admit(slow); wait != "" {
			t.Fatal("there is no new one after a quarter of a second")
		}
		if _, wait := admit(slow); wait == "" {
			t.Fatal("there are two")
		}
		one := &caller{id: "one", limits: granary.Limits{InFlight: 1}}
		p, _ := admit(one)
		if _, wait := admit(one); wait == "" {
			t.Fatal("two requests at a time")
		}
		p.end()
		if _, wait := admit(one); wait != "" {
			t.Fatal("none is left")
		}
	})
}

func TestPacedBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{now: time.Now}
		c := &caller{id: "c", limits: granary.Limits{Bytes: 1 << 20}}
		p, err := l.admit(c)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		n, err := io.Copy(io.Discard, &pacedReader{t.Context(), strings.NewReader(strings.Repeat("x", 11<<20)), p})
		if took := time.Since(began); err != nil || n != 11<<20 || took < 9900*time.Millisecond || took > 10100*time.Millisecond {
			t.Fatal(n, err, took) // the first second's worth had been saved up
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.pass(ctx, 4<<20); !granary.IsKind(err, granary.KindCanceled) {
			t.Fatal(err)
		}
		if q, err := l.admit(c); waitOf(t, q, err) != "4" {
			t.Fatal("a request begins while four seconds' worth of bytes is owed")
		}
		time.Sleep(3 * time.Second)
		if q, err := l.admit(c); waitOf(t, q, err) != "" {
			t.Fatal(err)
		}
	})
}

// TestLimitedUser has a user with limits ask over HTTP.
func TestLimitedUser(t *testing.T) {
	s := newServer(t)
	u := accounts.NewUser("ann", "/")
	u.Limits = granary.Limits{Requests: 1, Bytes: 100 << 20}
	u.Inline = []granary.NamedDocument{{Name: "all", Document: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`}}
	if err := s.store.PutIdentity(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	k := accounts.NewKey("ann")
	if err := s.store.PutIdentity(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	get := call{method: "PUT", target: "/bucket/k", body: "x", access: k.Name, secret: k.Secret}
	s.do(t, get).want(t, 200)
	a := s.do(t, get)
	a.wantCode(t, codeSlowDown)
	if a.header.Get("Retry-After") != "1" {
		t.Fatal(a.header)
	}
	s.put(t, "k", "the root user has no limits")
}
