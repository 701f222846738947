package iam

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Error says what is wrong with a document: AWS calls it MalformedPolicyDocument, or MalformedPolicy where it is a bucket's.
type Error struct{ Message string }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func malformed(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// member is a member of an object.
type member struct {
	name  string
	value json.RawMessage
}

// object takes an object apart, in its order. Names must be unique: encoding/json would silently take the last.
func object(raw []byte, what string) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	t, err := d.Token()
	if err != nil || t != json.Delim('{') {
		return nil, malformed("Policies must be valid JSON and the first byte must be '{': %s is no object.", what)
	}
	var members []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, malformed("This policy contains invalid Json.")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, malformed("This policy contains invalid Json.")
		}
		if seen[name] {
			return nil, malformed("Duplicate field %q.", name)
		}
		seen[name] = true
		members = append(members, member{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed("This policy contains invalid Json.")
	}
	if d.More() {
		return nil, malformed("This policy contains invalid Json.")
	}
	if _, err := d.Token(); err == nil {
		return nil, malformed("This policy contains invalid Json.")
	}
	return members, nil
}

func text(raw json.RawMessage, what string) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", malformed("%s must be a string.", what)
	}
	return *s, nil
}

// oneOrMore returns the elements of a list, or the one value that stands for a list of one.
func oneOrMore(raw json.RawMessage) ([]json.RawMessage, error) {
	if trimmed := bytes.TrimLeft(raw, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, malformed("This policy contains invalid Json.")
		}
		return list, nil
	}
	return []json.RawMessage{raw}, nil
}

// texts is a string, or a list of at least one.
func texts(raw json.RawMessage, what string) ([]string, error) {
	list, err := oneOrMore(raw)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, malformed("%s must not be empty.", what)
	}
	all := make([]string, len(list))
	for i, r := range list {
		if all[i], err = text(r, what); err != nil {
			return nil, err
		}
		if all[i] == "" {
			return nil, malformed("%s must not be empty.", what)
		}
	}
	return all, nil
}

// values are those of a condition: strings, numbers and booleans, as text.
func values(raw json.RawMessage) ([]string, error) {
	list, err := oneOrMore(raw)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(list))
	for i, r := range list {
		var v any
		d := json.NewDecoder(bytes.NewReader(r))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return nil, malformed("This policy contains invalid Json.")
		}
		switch v := v.(type) {
		case string:
			all[i] = v
		case json.Number:
			all[i] = v.String()
		case bool:
			all[i] = fmt.Sprint(v)
		default:
			return nil, malformed("A condition's value must be a string, a number or a boolean.")
		}
	}
	return all, nil
}
