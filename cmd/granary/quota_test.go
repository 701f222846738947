package main

import (
	"errors"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1000000": 1000000, "10B": 10, "1K": 1024, "1k": 1024, "1KiB": 1024, "1kB": 1000, "10GiB": 10 << 30, "10 GB": 10e9,
		"1.5M": 3 << 19, "7EiB": 7 << 60, "9007199254740993": 9007199254740993,
	} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "ten", "10X", "10GG", "GiB", "10iB", "8EiB", "1e30", "NaN", "Inf", "10Bi"} {
		var usage *usageError
		if got, err := parseBytes(text); !errors.As(err, &usage) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
