package iam

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Condition is one operator with one key of a statement.
type Condition struct {
	operator string // without what is before and after it
	set      setMode
	ifExists bool
	key      string // in small letters
	values   []string
}

// setMode says how a key of several values is compared.
type setMode uint8

const (
	setNone setMode = iota // the key has one value
	setAny                 // ForAnyValue
	setAll                 // ForAllValues
)

// comparisons are the operators: whether one value of a request fits one of a policy. The negated ones begin with or hold "Not".
type comparison func(have, want string, literal []bool) bool

// operators returns how an operator compares, and whether it is true when nothing fits.
func operators(name string) (compare comparison, negated, ok bool) {
	switch name {
	case "StringEquals", "StringNotEquals":
		compare = func(have, want string, _ []bool) bool { return have == want }
	case "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase":
		compare = func(have, want string, _ []bool) bool { return strings.EqualFold(have, want) }
	case "StringLike", "StringNotLike":
		compare = func(have, want string, literal []bool) bool { return match(want, have, literal) }
	case "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike":
		compare = matchARN
	case "NumericEquals", "NumericNotEquals":
		compare = numeric(func(c int) bool { return c == 0 })
	case "NumericLessThan":
		compare = numeric(func(c int) bool { return c < 0 })
	case "NumericLessThanEquals":
		compare = numeric(func(c int) bool { return c <= 0 })
	case "NumericGreaterThan":
		compare = numeric(func(c int) bool { return c > 0 })
	case "NumericGreaterThanEquals":
		compare = numeric(func(c int) bool { return c >= 0 })
	case "DateEquals", "DateNotEquals":
		compare = dates(func(c int) bool { return c == 0 })
	case "DateLessThan":
		compare = dates(func(c int) bool { return c < 0 })
	case "DateLessThanEquals":
		compare = dates(func(c int) bool { return c <= 0 })
	case "DateGreaterThan":
		compare = dates(func(c int) bool { return c > 0 })
	case "DateGreaterThanEquals":
		compare = dates(func(c int) bool { return c >= 0 })
	case "Bool":
		compare = func(have, want string, _ []bool) bool { return strings.EqualFold(have, want) }
	case "BinaryEquals":
		compare = func(have, want string, _ []bool) bool { return have == want }
	case "IpAddress", "NotIpAddress":
		compare = inNetwork
	default:
		return nil, false, false
	}
	return compare, strings.Contains(name, "Not"), true
}

func conditions(raw json.RawMessage) ([]Condition, error) {
	blocks, err := object(raw, "Condition")
	if err != nil {
		return nil, err
	}
	var all []Condition
	for _, block := range blocks {
		keys, err := object(block.value, block.name)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			c := Condition{key: strings.ToLower(k.name)}
			if err := c.parseOperator(block.name); err != nil {
				return nil, err
			}
			if c.values, err = values(k.value); err != nil {
				return nil, err
			}
			if err := c.check(); err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

func (c *Condition) parseOperator(name string) error {
	c.operator = name
	for prefix, mode := range map[string]setMode{"ForAnyValue:": setAny, "ForAllValues:": setAll} {
		if rest, ok := strings.CutPrefix(c.operator, prefix); ok {
			c.operator, c.set = rest, mode
		}
	}
	if rest, ok := strings.CutSuffix(c.operator, "IfExists"); ok {
		c.operator, c.ifExists = rest, true
	}
	if c.operator == "Null" && !c.ifExists {
		return nil
	}
	if _, _, ok := operators(c.operator); !ok {
		return malformed("Invalid Condition type : %s.", name)
	}
	return nil
}

// check refuses values that the operator cannot compare with, and keys that are none.
func (c *Condition) check() error {
	if prefix, name, ok := strings.Cut(c.key, ":"); !ok || prefix == "" || name == "" {
		return malformed("Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: %q.", c.key)
	}
	for i, v := range c.values {
		var err error
		fits := true
		switch {
		case strings.Contains(v, "${"):
		case strings.HasPrefix(c.operator, "Numeric"):
			_, err = strconv.ParseFloat(v, 64)
		case strings.HasPrefix(c.operator, "Date"):
			_, fits = parseDate(v)
		case c.operator == "Bool" || c.operator == "Null":
			fits = strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
		case strings.HasSuffix(c.operator, "IpAddress"):
			_, err = parseNetwork(v)
		case c.operator == "BinaryEquals":
			var b []byte
			b, err = base64.StdEncoding.DecodeString(v)
			c.values[i] = string(b)
		}
		if err != nil || !fits {
			return malformed("Invalid value %q for condition %s.", v, c.operator)
		}
	}
	return nil
}

// holds reports whether a request fulfils the condition. Variables are those of the policy's version.
func (c *Condition) holds(r *Request, variables bool) bool {
	have := r.Keys[c.key]
	if c.operator == "Null" {
		return slices.ContainsFunc(c.values, func(v string) bool { return strings.EqualFold(v, "true") == (len(have) == 0) })
	}
	compare, negated, ok := operators(c.operator)
	if !ok {
		return false
	}
	if len(have) == 0 {
		// A missing key: …IfExists and ForAllValues pass it, and so do the negated operators, as nothing is equal to nothing.
		return c.ifExists || c.set == setAll || negated && c.set != setAny
	}
	fits := func(h string) bool {
		found := slices.ContainsFunc(c.values, func(w string) bool {
			var literal []bool
			if variables {
				var ok bool
				if w, literal, ok = expand(w, r); !ok {
					return false
				}
			}
			return compare(h, w, literal)
		})
		return found != negated
	}
	switch c.set {
	case setAny:
		return slices.ContainsFunc(have, fits)
	case setAll:
		return !slices.ContainsFunc(have, func(h string) bool { return !fits(h) })
	}
	if negated { // each of several values must differ
		return !slices.ContainsFunc(have, func(h string) bool { return !fits(h) })
	}
	return slices.ContainsFunc(have, fits)
}

// matchARN compares each of the six parts of an ARN for itself.
func matchARN(have, want string, literal []bool) bool {
	h, w := strings.SplitN(have, ":", 6), strings.SplitN(want, ":", 6)
	if want == "*" {
		return true
	}
	if len(h) != 6 || len(w) != 6 {
		return false
	}
	at := 0
	for i := range h {
		var part []bool
		if literal != nil {
			part = literal[at : at+len(w[i])]
		}
		if !match(w[i], h[i], part) {
			return false
		}
		at += len(w[i]) + 1
	}
	return true
}

func numeric(fits func(int) bool) comparison {
	return func(have, want string, _ []bool) bool {
		h, err := strconv.ParseFloat(have, 64)
		w, werr := strconv.ParseFloat(want, 64)
		if err != nil || werr != nil || h != h || w != w {
			return false
		}
		switch {
		case h < w:
			return fits(-1)
		case h > w:
			return fits(1)
		}
		return fits(0)
	}
}

func dates(fits func(int) bool) comparison {
	return func(have, want string, _ []bool) bool {
		h, ok := parseDate(have)
		w, wok := parseDate(want)
		return ok && wok && fits(h.Compare(w))
	}
}

// parseDate takes the forms of ISO 8601 that AWS names, and seconds since the Unix epoch.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), true
	}
	return time.Time{}, false
}

func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func inNetwork(have, want string, _ []bool) bool {
	address, err := netip.ParseAddr(have)
	network, nerr := parseNetwork(want)
	return err == nil && nerr == nil && network.Contains(address.Unmap())
}
