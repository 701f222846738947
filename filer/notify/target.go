package notify

import (
	"net/url"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// Types of targets, as ARNs end in them.
const (
	TypeWebhook = "webhook"
	TypeNATS    = "nats"
	TypeKafka   = "kafka"
	TypeRedis   = "redis"
)

// Limits of targets.
const (
	TargetsMax       = 100
	targetNameMax    = 64   // bytes
	targetURLMax     = 2048 // bytes
	webhookTokenMax  = 4096 // bytes
	arnPartition     = "granary"
	arnService       = "sqs"
	arnFieldsOfQueue = 6
)

// Target is an endpoint that events are delivered to. Its URL says what it is:
//
//	http://HOST[:PORT]/PATH, https://…           a webhook: events are POSTed, one at a time, and acknowledged by a status of 2xx
//	nats://[USER:PASSWORD@]HOST[:4222]/SUBJECT   nats+tls:// with TLS; ?jetstream: acknowledged by the stream that has the subject
//	kafka://[USER:PASSWORD@]HOST[:9092]/TOPIC    kafka+tls:// with TLS; ?broker=HOST:PORT&… names more of the cluster
//	redis://[USER:PASSWORD@]HOST[:6379]/KEY      rediss:// with TLS; RPUSH to a list; ?pubsub: PUBLISH to a channel; ?stream: XADD
type Target struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Token string `json:"token,omitempty"` // of a webhook: what the header Authorization says
}

// types maps schemes of URLs to types of targets.
func types() map[string]string {
	return map[string]string{
		"http": TypeWebhook, "https": TypeWebhook, "nats": TypeNATS, "nats+tls": TypeNATS,
		"kafka": TypeKafka, "kafka+tls": TypeKafka, "redis": TypeRedis, "rediss": TypeRedis,
	}
}

// Validate refuses a target that cannot be one.
func (t *Target) Validate() error {
	invalid := func(format string, args ...any) error {
		return granary.Errorf(granary.KindInvalid, "notify.target", t.Name, format, args...)
	}
	if t.Name == "" || len(t.Name) > targetNameMax || strings.ContainsFunc(t.Name, func(r rune) bool { return !nameRune(r) }) {
		return invalid("a name has 1 to %d letters, digits, hyphens and underscores", targetNameMax)
	}
	if len(t.URL) > targetURLMax || len(t.Token) > webhookTokenMax || strings.ContainsAny(t.Token, "\r\n\x00") {
		return invalid("its URL may have %d bytes, and its token one line of %d", targetURLMax, webhookTokenMax)
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return invalid("its URL cannot be read") // the cause would show the password
	}
	place := strings.TrimPrefix(u.Path, "/")
	switch kind := types()[u.Scheme]; {
	case kind == "":
		return invalid("a URL begins with http, https, nats, nats+tls, kafka, kafka+tls, redis or rediss")
	case u.Host == "" || u.Fragment != "":
		return invalid("a URL names a host, and has no fragment")
	case t.Token != "" && kind != TypeWebhook:
		return invalid("only webhooks have a token")
	case kind == TypeNATS && (place == "" || strings.ContainsAny(place, " \t\r\n*>")):
		return invalid("its URL names a subject, without wildcards: nats://HOST:4222/SUBJECT")
	case kind == TypeKafka && (place == "" || strings.Contains(place, "/")):
		return invalid("its URL names a topic: kafka://HOST:9092/TOPIC")
	case kind == TypeRedis && place == "":
		return invalid("its URL names a key: redis://HOST:6379/KEY")
	}
	return checkQuery(u, types()[u.Scheme], invalid)
}

// checkQuery refuses what a URL asks for and would not get.
func checkQuery(u *url.URL, kind string, invalid func(string, ...any) error) error {
	if kind == TypeWebhook {
		return nil
	}
	known := map[string][]string{TypeNATS: {"jetstream"}, TypeRedis: {"list", "pubsub", "stream", "db"}, TypeKafka: {"broker"}}[kind]
	modes := 0
	for name, values := range u.Query() {
		if !slices.Contains(known, name) || len(values) > 1 && name != "broker" {
			return invalid("its URL has an unknown parameter %q", name)
		}
		if name == "list" || name == "pubsub" || name == "stream" {
			modes++
		}
	}
	if modes > 1 {
		return invalid("its URL says more than one of list, pubsub and stream")
	}
	return nil
}

func nameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// Type returns what kind of endpoint a valid target is.
func (t *Target) Type() string {
	scheme, _, _ := strings.Cut(t.URL, ":")
	return types()[scheme]
}

// ARN returns the name that configurations of buckets have for a target.
func (t *Target) ARN() string {
	return strings.Join([]string{"arn", arnPartition, arnService, "", t.Name, t.Type()}, ":")
}

// Shown returns the URL without a password.
func (t *Target) Shown() string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

// ParseARN returns name and type of the target that an ARN names: arn:granary:sqs:REGION:NAME:TYPE, whatever the region. What MinIO calls
// its own, and the services of topics and functions, are accepted, too.
func ParseARN(arn string) (name, kind string, err error) {
	parts := strings.Split(arn, ":")
	if len(parts) != arnFieldsOfQueue || parts[0] != "arn" || parts[1] != arnPartition && parts[1] != "minio" ||
		parts[2] != arnService && parts[2] != "sns" && parts[2] != "lambda" {
		return "", "", granary.Errorf(granary.KindInvalid, "notify.arn", arn, "it is not of the form arn:granary:sqs::NAME:TYPE")
	}
	return parts[4], parts[5], nil
}
