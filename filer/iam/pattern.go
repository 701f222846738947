package iam

import (
	"strings"
)

// match reports whether a text fits a pattern, in which '*' stands for any bytes and '?' for one. A byte of the pattern that literal says
// stands for itself, whatever it is.
func match(pattern, s string, literal []bool) bool {
	// The greedy algorithm: on a mismatch go back to the last '*' alone, for an earlier one could give no more.
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		wild := p < len(pattern) && (literal == nil || !literal[p])
		switch {
		case wild && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == s[i] || wild && pattern[p] == '?'):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' && (literal == nil || !literal[p]) {
		p++
	}
	return p == len(pattern)
}

// matchesAny reports whether a text fits one of some plain patterns.
func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if match(p, s, nil) {
			return true
		}
	}
	return false
}

// expand puts in the values of variables: ${key}, ${key, 'default'}, and ${*}, ${?}, ${$}, which stand for these letters themselves.
// What comes of a variable is matched as it is. It fails if a variable has no value: then nothing matches.
func expand(s string, r *Request) (out string, literal []bool, ok bool) {
	if !strings.Contains(s, "${") {
		return s, nil, true
	}
	var b strings.Builder
	add := func(text string, fixed bool) {
		b.WriteString(text)
		for range len(text) {
			literal = append(literal, fixed)
		}
	}
	for {
		before, rest, found := strings.Cut(s, "${")
		add(before, false)
		if !found {
			return b.String(), literal, true
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed { // which checkVariables refuses
			return "", nil, false
		}
		value, ok := variable(name, r)
		if !ok {
			return "", nil, false
		}
		add(value, true)
		s = after
	}
}

func variable(name string, r *Request) (string, bool) {
	switch name {
	case "*", "?", "$":
		return name, true
	}
	key, fallback, given := strings.Cut(name, ",")
	if values := r.Keys[strings.ToLower(strings.TrimSpace(key))]; len(values) == 1 {
		return values[0], true
	}
	return strings.Trim(strings.TrimSpace(fallback), "'"), given
}

// checkVariables refuses a variable that has no end, or no name.
func checkVariables(s string) error {
	for {
		_, rest, found := strings.Cut(s, "${")
		if !found {
			return nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" || strings.Contains(name, "${") {
			return malformed("Invalid variable in %q.", s)
		}
		s = after
	}
}
