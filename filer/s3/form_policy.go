package s3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// postPolicy says what a form may hold: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
type postPolicy struct {
	expiration       time.Time
	conditions       []postCondition
	sized            bool
	sizeMin, sizeMax int64
}

// postCondition is about one field: it has a value, or begins with one.
type postCondition struct {
	field  string // in small letters
	value  string
	prefix bool
}

// String returns the condition as it is written.
func (c postCondition) String() string {
	operator := "eq"
	if c.prefix {
		operator = "starts-with"
	}
	return fmt.Sprintf("[%q, %q, %q]", operator, "$"+c.field, c.value)
}

func invalidPolicy(format string, args ...any) *apiError {
	return refuse(codeInvalidPolicy, format, args...)
}

// parsePostPolicy parses a policy, strictly: what is not understood could forbid something.
func parsePostPolicy(document []byte) (*postPolicy, error) {
	var raw struct {
		Expiration *string           `json:"expiration"`
		Conditions []json.RawMessage `json:"conditions"`
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil || d.More() {
		return nil, invalidPolicy("Invalid Policy: Invalid JSON.")
	}
	if raw.Expiration == nil {
		return nil, invalidPolicy("Invalid Policy: Policy missing expiration.")
	}
	if raw.Conditions == nil {
		return nil, invalidPolicy("Invalid Policy: Policy missing conditions.")
	}
	p := &postPolicy{}
	var err error
	if p.expiration, err = time.Parse(time.RFC3339, *raw.Expiration); err != nil {
		return nil, invalidPolicy("Invalid Policy: Invalid 'expiration' value: '%s'", *raw.Expiration)
	}
	for _, c := range raw.Conditions {
		if err := p.add(c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add parses a condition: {"FIELD": "VALUE", …}, ["eq", "$FIELD", "VALUE"], ["starts-with", "$FIELD", "VALUE"] or
// ["content-length-range", MIN, MAX].
func (p *postPolicy) add(raw json.RawMessage) error {
	invalid := invalidPolicy("Invalid Policy: Invalid Simple-Condition: %s", raw)
	var object map[string]string
	if json.Unmarshal(raw, &object) == nil && object != nil {
		if len(object) != 1 {
			return invalidPolicy("Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		for field, value := range object {
			p.conditions = append(p.conditions, postCondition{field: strings.ToLower(field), value: value})
		}
		return nil
	}
	var list []json.RawMessage
	var operator string
	if json.Unmarshal(raw, &list) != nil || len(list) != 3 || json.Unmarshal(list[0], &operator) != nil {
		return invalid
	}
	switch strings.ToLower(operator) {
	case "eq", "starts-with":
		var field, value string
		if json.Unmarshal(list[1], &field) != nil || json.Unmarshal(list[2], &value) != nil || len(field) < 2 || field[0] != '$' {
			return invalid
		}
		p.conditions = append(p.conditions, postCondition{strings.ToLower(field[1:]), value, strings.EqualFold(operator, "starts-with")})
	case "content-length-range":
		least, lerr := sizeOfJSON(list[1])
		most, merr := sizeOfJSON(list[2])
		if lerr != nil || merr != nil || least < 0 || most < least {
			return invalid
		}
		if p.sized { // both hold
			least, most = max(least, p.sizeMin), min(most, p.sizeMax)
		}
		p.sized, p.sizeMin, p.sizeMax = true, least, most
	default:
		return invalidPolicy("Invalid Policy: Invalid Condition: unknown operation '%s'.", operator)
	}
	return nil
}

// sizeOfJSON reads a number, which may be written as a string.
func sizeOfJSON(raw json.RawMessage) (int64, error) {
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil {
		return 0, err
	}
	return n.Int64()
}

// allows refuses a form that a policy does not allow: each condition must be met, and each field be in one.
func (p *postPolicy) allows(f *form, bucket, key string, now time.Time) error {
	failed := func(format string, args ...any) error {
		return refuse(codeAccessDenied, "Invalid according to Policy: "+format, args...)
	}
	if !now.Before(p.expiration) {
		return failed("Policy expired.")
	}
	spoken := map[string]bool{}
	for _, c := range p.conditions {
		spoken[c.field] = true
		value := f.fields[c.field]
		switch c.field {
		case "bucket":
			value = bucket
		case "key":
			value = key
		}
		if !c.holds(value) {
			return failed("Policy Condition failed: %s", c)
		}
	}
	for name := range f.fields {
		switch {
		case spoken[name], name == "policy", name == "x-amz-signature", name == "awsaccesskeyid", name == "signature", name == "bucket", strings.HasPrefix(name, "x-ignore-"),
			strings.HasPrefix(name, "x-amz-checksum-"):
		default:
			return failed("Extra input fields: %s", name)
		}
	}
	if !spoken["bucket"] {
		return failed("Policy Condition failed: the policy names no bucket")
	}
	if !spoken["key"] {
		return failed("Extra input fields: key")
	}
	return nil
}

func (c postCondition) holds(value string) bool {
	if !c.prefix {
		return value == c.value
	}
	if c.field != "content-type" {
		return strings.HasPrefix(value, c.value)
	}
	for one := range strings.SplitSeq(value, ",") {
		if !strings.HasPrefix(strings.TrimSpace(one), c.value) {
			return false
		}
	}
	return true
}
