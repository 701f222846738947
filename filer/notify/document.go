package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

// eventVersion is that of S3's documents that the ones made here are like:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
const eventVersion = "2.1"

// notice is something that happened to an object.
type notice struct {
	kind    Type
	key     string
	size    *uint64
	etag    string
	version string // its id, in buckets with versioning
	at      granary.Position
	time    granary.Time
	uid     uint32
}

// sequencer grows with the history: texts of the same length, in the order of positions.
func sequencer(p granary.Position) string { return fmt.Sprintf("%016X%08X", uint64(p.Index), p.Seen) }

type (
	document struct {
		Records []record `json:"Records"`
	}
	record struct {
		EventVersion      string            `json:"eventVersion"`
		EventSource       string            `json:"eventSource"`
		Region            string            `json:"awsRegion"`
		Time              string            `json:"eventTime"`
		Name              string            `json:"eventName"`
		UserIdentity      principal         `json:"userIdentity"`
		RequestParameters map[string]string `json:"requestParameters"`
		ResponseElements  map[string]string `json:"responseElements"`
		S3                aboutS3           `json:"s3"`
	}
	principal struct {
		ID string `json:"principalId"`
	}
	aboutS3 struct {
		SchemaVersion   string      `json:"s3SchemaVersion"`
		ConfigurationID string      `json:"configurationId"`
		Bucket          aboutBucket `json:"bucket"`
		Object          aboutObject `json:"object"`
	}
	aboutBucket struct {
		Name          string    `json:"name"`
		OwnerIdentity principal `json:"ownerIdentity"`
		ARN           string    `json:"arn"`
	}
	aboutObject struct {
		Key       string  `json:"key"` // encodeKey
		Size      *uint64 `json:"size,omitempty"`
		ETag      string  `json:"eTag,omitempty"`
		VersionID string  `json:"versionId,omitempty"`
		Sequencer string  `json:"sequencer"`
	}
)

// encodeKey writes a key as S3 does here: as in the query of a URL, but with slashes as they are.
func encodeKey(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") }

// isoTime writes a time as S3 does.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// documentOf makes the document of an event that a rule wants.
func documentOf(n *notice, bucket, region string, r *Rule) ([]byte, error) {
	rec := record{
		EventVersion: eventVersion, EventSource: "aws:s3", Region: region, Time: isoTime(n.time.Std()), Name: string(n.kind)[len("s3:"):],
		UserIdentity:      principal{"uid:" + strconv.FormatUint(uint64(n.uid), 10)},
		RequestParameters: map[string]string{},
		ResponseElements:  map[string]string{"x-granary-position": n.at.String()},
		S3: aboutS3{SchemaVersion: "1.0", ConfigurationID: r.ID,
			Bucket: aboutBucket{Name: bucket, OwnerIdentity: principal{"granary"}, ARN: "arn:aws:s3:::" + bucket},
			Object: aboutObject{Key: encodeKey(n.key), Size: n.size, ETag: n.etag, VersionID: n.version, Sequencer: sequencer(n.at)}},
	}
	b, err := json.Marshal(&document{[]record{rec}})
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "notify.document", n.key, "%w", err)
	}
	return b, nil
}

// testDocument is what is sent when a configuration is stored.
func testDocument(bucket, request string, now time.Time) ([]byte, error) {
	b, err := json.Marshal(map[string]string{
		"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": isoTime(now), "Bucket": bucket, "RequestId": request, "HostId": "granary",
	})
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "notify.document", bucket, "%w", err)
	}
	return b, nil
}
