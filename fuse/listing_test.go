package fuse

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// names is a directory that answers in pages.
type names struct {
	keys []string // sorted; a directory's ends in '/'
	page int
	err  error
}

func (d *names) read(after granary.Entry) (entries []granary.Entry, more bool, err error) {
	if d.err != nil {
		return nil, false, d.err
	}
	from := 0
	if after.Name != "" {
		at, found := slices.BinarySearch(d.keys, keyOf(&after))
		if from = at; found {
			from++
		}
	}
	to := min(from+d.page, len(d.keys))
	for _, key := range d.keys[from:to] {
		e := granary.Entry{Name: key, Attr: granary.Attr{Type: granary.TypeRegular}}
		if n := len(key) - 1; key[n] == '/' {
			e = granary.Entry{Name: key[:n], Attr: granary.Attr{Type: granary.TypeDirectory}}
		}
		entries = append(entries, e)
	}
	return entries, to < len(d.keys), nil
}

func (d *names) add(key string) {
	if at, found := slices.BinarySearch(d.keys, key); !found {
		d.keys = slices.Insert(d.keys, at, key)
	}
}

func (d *names) remove(key string) {
	if at, found := slices.BinarySearch(d.keys, key); found {
		d.keys = slices.Delete(d.keys, at, at+1)
	}
}

// TestListingKeepsNumbers lists a directory while names come and go, jumping to and fro: what was there all the time is
// found once, in order, under one number; and nothing is found twice.
func TestListingKeepsNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &names{page: rapid.IntRange(1, 5).Draw(t, "page")}
		stays := map[string]bool{}
		for i := range rapid.IntRange(0, 40).Draw(t, "stay") {
			key := fmt.Sprintf("%03d", 7*i)
			if i%3 == 0 {
				key += "/"
			}
			stays[key] = true
			d.add(key)
		}
		l := newListing(d.read)
		numbers := map[string]uint64{}
		// run lists from a number, and changes the directory as it goes.
		run := func(from uint64, steps int) (end bool) {
			var before string
			for range steps {
				if key := fmt.Sprintf("%03d", rapid.IntRange(0, 300).Draw(t, "key")); !stays[key] && !stays[key+"/"] {
					if rapid.Bool().Draw(t, "add") {
						d.add(key)
					} else {
						d.remove(key)
					}
				}
				s, err := l.find(from)
				if err != nil {
					t.Fatal(err)
				}
				if s == nil {
					return true
				}
				key := keyOf(&s.entry)
				if key <= before {
					t.Fatalf("%q comes after %q", key, before)
				}
				if n, seen := numbers[key]; seen && n != s.number {
					if stays[key] {
						t.Fatalf("%q was number %d, and is %d", key, n, s.number)
					}
				}
				numbers[key], before, from = s.number, key, s.number+1
			}
			return false
		}
		for range rapid.IntRange(0, 5).Draw(t, "jumps") {
			run(uint64(rapid.IntRange(dotEntries, dotEntries+60).Draw(t, "from")), rapid.IntRange(1, 30).Draw(t, "steps"))
		}
		if !run(dotEntries, 1000) {
			t.Fatal("the listing has no end")
		}
		for key := range stays {
			if _, ok := numbers[key]; !ok {
				t.Fatalf("%q was there all the time, and not listed", key)
			}
		}
	})
}

// TestListingError sees that a page that could not be read is read again.
func TestListingError(t *testing.T) {
	d := &names{keys: []string{"a", "b", "c"}, page: 2, err: errors.New("no answer")}
	l := newListing(d.read)
	if _, err := l.find(dotEntries); err == nil {
		t.Fatal("no error")
	}
	d.err = nil
	for i, want := range d.keys {
		s, err := l.find(uint64(dotEntries + i))
		if err != nil || s == nil || s.entry.Name != want {
			t.Fatalf("found %v, %v, want %q", s, err, want)
		}
	}
	d.err = errors.New("no answer")
	if _, err := l.find(dotEntries); err == nil {
		t.Fatal("no error of a page that is read again")
	}
	d.err = nil
	if s, err := l.find(dotEntries); err != nil || s.entry.Name != "a" {
		t.Fatalf("found %v, %v", s, err)
	}
}
