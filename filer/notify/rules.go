package notify

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dsorchard/granary"
)

// Type is a type of events, as configurations name it.
type Type string

// Types of events.
const (
	CreatedPut       Type = "s3:ObjectCreated:Put"
	CreatedPost      Type = "s3:ObjectCreated:Post"
	CreatedCopy      Type = "s3:ObjectCreated:Copy"
	CreatedMultipart Type = "s3:ObjectCreated:CompleteMultipartUpload"
	Removed          Type = "s3:ObjectRemoved:Delete"
	RemovedMarker    Type = "s3:ObjectRemoved:DeleteMarkerCreated"
	TaggingPut       Type = "s3:ObjectTagging:Put"
	TaggingDelete    Type = "s3:ObjectTagging:Delete"
	ACLPut           Type = "s3:ObjectAcl:Put"
	Expired          Type = "s3:LifecycleExpiration:Delete"
	ExpiredMarker    Type = "s3:LifecycleExpiration:DeleteMarkerCreated"
	Transitioned     Type = "s3:LifecycleTransition"
)

// Types returns the types of events that there are.
func Types() []Type {
	return []Type{CreatedPut, CreatedPost, CreatedCopy, CreatedMultipart, Removed, RemovedMarker, TaggingPut, TaggingDelete, ACLPut, Expired, ExpiredMarker, Transitioned}
}

// Known reports whether a type is one of Types, or a group of them: s3:ObjectCreated:*.
func (t Type) Known() bool {
	group, all := strings.CutSuffix(string(t), "*")
	return slices.ContainsFunc(Types(), func(one Type) bool {
		return one == t || all && group != "" && strings.HasSuffix(group, ":") && strings.HasPrefix(string(one), group) && strings.Count(group, ":") == 2
	})
}

// covers reports whether a rule that names t wants an event of type one.
func (t Type) covers(one Type) bool {
	group, all := strings.CutSuffix(string(t), "*")
	return t == one || all && strings.HasPrefix(string(one), group)
}

// Limits of configurations.
const (
	RulesMax       = 100
	ruleIDMax      = 255  // bytes
	filterValueMax = 1024 // bytes
)

// Configuration says which events of a bucket go where.
type Configuration struct {
	Bucket string `json:"bucket"` // what it was called when it was configured
	Rules  []Rule `json:"rules"`
}

// Rule is one part of a configuration.
type Rule struct {
	ID     string `json:"id"`
	Form   string `json:"form"` // the element of the document that it came as
	ARN    string `json:"arn"`  // as it came
	Target string `json:"target"`
	Events []Type `json:"events"`
	Prefix string `json:"prefix,omitempty"` // of keys
	Suffix string `json:"suffix,omitempty"`
}

// wants reports whether a rule is about an event.
func (r *Rule) wants(t Type, key string) bool {
	return strings.HasPrefix(key, r.Prefix) && strings.HasSuffix(key, r.Suffix) && slices.ContainsFunc(r.Events, func(e Type) bool { return e.covers(t) })
}

// overlaps reports whether an event could be wanted by both of two rules.
func (r *Rule) overlaps(o *Rule) bool {
	if !strings.HasPrefix(r.Prefix, o.Prefix) && !strings.HasPrefix(o.Prefix, r.Prefix) ||
		!strings.HasSuffix(r.Suffix, o.Suffix) && !strings.HasSuffix(o.Suffix, r.Suffix) {
		return false
	}
	return slices.ContainsFunc(Types(), func(t Type) bool {
		wants := func(e Type) bool { return e.covers(t) }
		return slices.ContainsFunc(r.Events, wants) && slices.ContainsFunc(o.Events, wants)
	})
}

// Validate refuses a configuration that cannot be carried out, in the words of AWS. Whether there are such targets it does not know.
//
// As with MinIO, and other than with AWS, two targets may get the same events.
func (c *Configuration) Validate() error {
	invalid := func(text string) error {
		return granary.Errorf(granary.KindInvalid, "notify.configure", c.Bucket, "%s", text)
	}
	if len(c.Rules) > RulesMax {
		return invalid("The number of notification configurations exceeds the limit.")
	}
	ids := map[string]bool{}
	for i := range c.Rules {
		r := &c.Rules[i]
		switch {
		case len(r.ID) > ruleIDMax:
			return invalid("ID length should not exceed allowed limit of 255")
		case ids[r.ID]:
			return invalid("Same ID used for multiple configurations. IDs must be unique")
		case len(r.Events) == 0 || slices.ContainsFunc(r.Events, func(t Type) bool { return !t.Known() }):
			return invalid("A specified event is not supported for notifications.")
		case !utf8.ValidString(r.Prefix) || !utf8.ValidString(r.Suffix) || len(r.Prefix) > filterValueMax || len(r.Suffix) > filterValueMax:
			return invalid("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation")
		}
		ids[r.ID] = true
		for j := range i {
			if o := &c.Rules[j]; o.Target == r.Target && r.overlaps(o) {
				return invalid("Configurations overlap. Configurations on the same bucket cannot share a common event type.")
			}
		}
	}
	return nil
}

// targets returns the names of the targets of a configuration, each once, in order.
func (c *Configuration) targets() []string {
	var names []string
	for i := range c.Rules {
		names = append(names, c.Rules[i].Target)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
