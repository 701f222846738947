package s3

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/notify"
)

// notificationConfiguration says which events of a bucket go where. Package notify keeps it, and delivers.
type notificationConfiguration struct {
	XMLName     xml.Name           `xml:"NotificationConfiguration"`
	Xmlns       string             `xml:"xmlns,attr,omitempty"`
	Topics      []notificationRule `xml:"TopicConfiguration"`
	Queues      []notificationRule `xml:"QueueConfiguration"`
	Functions   []notificationRule `xml:"CloudFunctionConfiguration"`
	EventBridge *struct{}          `xml:"EventBridgeConfiguration"`
}

type notificationRule struct {
	ID       string              `xml:"Id,omitempty"`
	Topic    string              `xml:",omitempty"`
	Queue    string              `xml:",omitempty"`
	Function string              `xml:"CloudFunction,omitempty"`
	Events   []notify.Type       `xml:"Event"`
	Filter   *notificationFilter `xml:",omitempty"`
}

type notificationFilter struct {
	Key struct {
		Rules []filterRule `xml:"FilterRule"`
	} `xml:"S3Key"`
}

type filterRule struct{ Name, Value string }

// Forms of rules: the elements that they come as.
const (
	formTopic    = "topic"
	formQueue    = "queue"
	formFunction = "function"
)

func (q *request) getBucketNotification() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	document := &notificationConfiguration{Xmlns: xmlNamespace}
	if q.h.notify != nil {
		c, err := q.h.notify.Configuration(q.r.Context(), b.Attr.Inode)
		if err != nil {
			return err
		}
		for i := range c.Rules {
			document.add(&c.Rules[i])
		}
	}
	return writeXML(q.w, http.StatusOK, document)
}

// add adds a rule as it came.
func (c *notificationConfiguration) add(r *notify.Rule) {
	rule := notificationRule{ID: r.ID, Events: r.Events}
	if r.Prefix != "" || r.Suffix != "" {
		rule.Filter = &notificationFilter{}
		for _, f := range []filterRule{{"prefix", r.Prefix}, {"suffix", r.Suffix}} {
			if f.Value != "" {
				rule.Filter.Key.Rules = append(rule.Filter.Key.Rules, f)
			}
		}
	}
	switch r.Form {
	case formTopic:
		rule.Topic = r.ARN
		c.Topics = append(c.Topics, rule)
	case formFunction:
		rule.Function = r.ARN
		c.Functions = append(c.Functions, rule)
	default:
		rule.Queue = r.ARN
		c.Queues = append(c.Queues, rule)
	}
}

func (q *request) putBucketNotification() error {
	var document notificationConfiguration
	if err := readXML(q.body, documentSizeMax, &document); err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	switch {
	case document.EventBridge != nil:
		return refuse(codeNotImplemented, "A header or query you provided implies functionality that is not implemented: EventBridge.")
	case q.h.notify == nil:
		return q.notImplemented()
	}
	c := &notify.Configuration{Bucket: q.bucket}
	for _, some := range []struct {
		form  string
		rules []notificationRule
	}{{formTopic, document.Topics}, {formQueue, document.Queues}, {formFunction, document.Functions}} {
		for i := range some.rules {
			r, err := some.rules[i].parse(some.form)
			if err != nil {
				return err
			}
			c.Rules = append(c.Rules, *r)
		}
	}
	untested := strings.EqualFold(q.r.Header.Get("X-Amz-Skip-Destination-Validation"), "true")
	err = q.h.notify.Configure(q.r.Context(), b.Attr.Inode, c, q.id, untested)
	var e *granary.Error
	switch {
	case (errors.Is(err, notify.ErrNoTarget) || errors.Is(err, notify.ErrUnreachable)) && errors.As(err, &e): // why is for the log: it tells of the network
		return &apiError{code: codeInvalidArgument, message: "Unable to validate the following destination configurations: " + e.Subject, err: err}
	case granary.IsKind(err, granary.KindInvalid) && errors.As(err, &e) && e.Err != nil:
		return &apiError{code: codeInvalidArgument, message: e.Err.Error(), err: err}
	case err != nil:
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// parse reads a rule.
func (r *notificationRule) parse(form string) (*notify.Rule, error) {
	rule := &notify.Rule{ID: r.ID, Form: form, Events: r.Events, ARN: map[string]string{formTopic: r.Topic, formQueue: r.Queue, formFunction: r.Function}[form]}
	if rule.ARN == "" {
		return nil, malformedXML()
	}
	if rule.ID == "" {
		rule.ID = randomID()
	}
	name, _, err := notify.ParseARN(rule.ARN)
	if err != nil {
		return nil, refuse(codeInvalidArgument, "The ARN could not be parsed")
	}
	rule.Target = name
	if r.Filter == nil {
		return rule, nil
	}
	seen := map[string]bool{}
	for _, f := range r.Filter.Key.Rules {
		kind := strings.ToLower(f.Name)
		if seen[kind] {
			return nil, refuse(codeInvalidArgument, "Cannot specify more than one %s rule in a filter.", kind)
		}
		seen[kind] = true
		switch kind {
		case "prefix":
			rule.Prefix = f.Value
		case "suffix":
			rule.Suffix = f.Value
		default:
			return nil, refuse(codeInvalidArgument, "filter rule name must be either prefix or suffix")
		}
	}
	return rule, nil
}
