package s3

import (
	"encoding/xml"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

// xattrLifecycle keeps a bucket's rules, as a document of XML.
const xattrLifecycle = xattrPrefix + "lifecycle"

const lifecycleRulesMax = 1000

// hoursOfDay is the day that dates are whole ones of.
const hoursOfDay = 24 * time.Hour

type lifecycleConfiguration struct {
	XMLName xml.Name        `xml:"LifecycleConfiguration"`
	Xmlns   string          `xml:"xmlns,attr,omitempty"`
	Rules   []lifecycleRule `xml:"Rule"`
}

type lifecycleRule struct {
	ID          string `xml:",omitempty"`
	Status      string
	Prefix      *string                `xml:",omitempty"` // of the first version of the API
	Filter      *lifecycleFilter       `xml:",omitempty"`
	Expiration  *lifecycleExpiration   `xml:",omitempty"`
	Noncurrent  *noncurrentExpiration  `xml:"NoncurrentVersionExpiration,omitempty"`
	Incomplete  *incompleteUpload      `xml:"AbortIncompleteMultipartUpload,omitempty"`
	Transitions []transition           `xml:"Transition,omitempty"`
	Moves       []noncurrentTransition `xml:"NoncurrentVersionTransition,omitempty"`
}

type lifecycleFilter struct {
	filterTerms
	And *filterTerms `xml:",omitempty"`
}

type filterTerms struct {
	Prefix  *string `xml:",omitempty"`
	Tags    []tag   `xml:"Tag,omitempty"`
	Greater *int64  `xml:"ObjectSizeGreaterThan,omitempty"`
	Less    *int64  `xml:"ObjectSizeLessThan,omitempty"`
}

type lifecycleExpiration struct {
	Days   *int       `xml:",omitempty"`
	Date   *time.Time `xml:",omitempty"`
	Marker *bool      `xml:"ExpiredObjectDeleteMarker,omitempty"`
}

type noncurrentExpiration struct {
	Days  *int `xml:"NoncurrentDays"`
	Newer *int `xml:"NewerNoncurrentVersions,omitempty"`
}

type incompleteUpload struct {
	Days *int `xml:"DaysAfterInitiation"`
}

func checkLifecycle(c *lifecycleConfiguration) error {
	malformed := malformedXML()
	if len(c.Rules) == 0 || len(c.Rules) > lifecycleRulesMax {
		return malformed
	}
	ids := map[string]bool{}
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.ID != "" && ids[r.ID] {
			return refuse(codeInvalidArgument, "Rule ID must be unique. Found same ID for more than one rule")
		}
		if r.ID == "" {
			r.ID = randomID()
		}
		ids[r.ID] = true
		if len(r.ID) > 255 {
			return refuse(codeInvalidArgument, "ID length should not exceed allowed limit of 255")
		}
		if err := r.check(); err != nil {
			return err
		}
	}
	c.XMLName, c.Xmlns = xml.Name{Local: "LifecycleConfiguration"}, xmlNamespace
	return nil
}

func (r *lifecycleRule) check() error {
	malformed := malformedXML()
	positive := func(days *int) bool { return days == nil || *days > 0 }
	switch {
	case r.Status != "Enabled" && r.Status != "Disabled", r.Prefix != nil && r.Filter != nil, r.Prefix == nil && r.Filter == nil,
		r.Expiration == nil && r.Noncurrent == nil && r.Incomplete == nil && len(r.Transitions)+len(r.Moves) == 0:
		return malformed
	case r.Noncurrent != nil && (r.Noncurrent.Days == nil || r.Noncurrent.Newer != nil && (*r.Noncurrent.Newer < 1 || *r.Noncurrent.Newer > 100)),
		r.Incomplete != nil && r.Incomplete.Days == nil:
		return malformed
	case r.Noncurrent != nil && !positive(r.Noncurrent.Days), r.Incomplete != nil && !positive(r.Incomplete.Days):
		return refuse(codeInvalidArgument, "Days must be a positive integer.")
	}
	if e := r.Expiration; e != nil {
		given := 0
		for _, is := range []bool{e.Days != nil, e.Date != nil, e.Marker != nil} {
			if is {
				given++
			}
		}
		switch {
		case given != 1:
			return malformed
		case !positive(e.Days):
			return refuse(codeInvalidArgument, "'Days' for Expiration action must be a positive integer")
		case e.Date != nil && !e.Date.Equal(e.Date.Truncate(hoursOfDay)):
			return refuse(codeInvalidArgument, "'Date' must be at midnight GMT")
		}
	}
	if err := r.checkTransitions(); err != nil {
		return err
	}
	terms := r.terms()
	if err := checkTags(terms.Tags, tagsObjectMax); err != nil {
		return err
	}
	if r.Incomplete != nil && (len(terms.Tags) > 0 || terms.Greater != nil || terms.Less != nil) {
		return refuse(codeInvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes.")
	}
	if r.Expiration != nil && r.Expiration.Marker != nil && len(terms.Tags) > 0 {
		return refuse(codeInvalidRequest, "Tag based filter cannot be used along with ExpiredObjectDeleteMarker.")
	}
	return nil
}

// terms returns what a rule's objects have in common.
func (r *lifecycleRule) terms() filterTerms {
	switch {
	case r.Filter == nil:
		return filterTerms{Prefix: r.Prefix}
	case r.Filter.And != nil:
		return *r.Filter.And
	}
	return r.Filter.filterTerms
}

// prefix returns what the keys of a rule's objects begin with.
func (r *lifecycleRule) prefix() string {
	if p := r.terms().Prefix; p != nil {
		return *p
	}
	return ""
}

// covers reports whether a rule is for an object; tags are asked for only if they matter.
func (r *lifecycleRule) covers(item *granary.ListItem, tags func() ([]tag, error)) (bool, error) {
	terms := r.terms()
	size := sizeOf(&item.Attr)
	if !strings.HasPrefix(item.Key, r.prefix()) || terms.Greater != nil && size <= *terms.Greater || terms.Less != nil && size >= *terms.Less {
		return false, nil
	}
	if len(terms.Tags) == 0 || item.Marker {
		return len(terms.Tags) == 0, nil
	}
	has, err := tags()
	if err != nil {
		return false, err
	}
	for _, want := range terms.Tags {
		found := false
		for _, t := range has {
			found = found || *t.Key == *want.Key && *t.Value == *want.Value
		}
		if !found {
			return false, nil
		}
	}
	return true, nil
}
