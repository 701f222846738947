package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
)

// xattrLogging keeps where the requests to a bucket are logged.
const xattrLogging = xattrPrefix + "logging"

type (
	loggingStatus struct {
		XMLName xml.Name        `xml:"BucketLoggingStatus"`
		Xmlns   string          `xml:"xmlns,attr,omitempty"`
		Enabled *loggingEnabled `xml:"LoggingEnabled"`
	}
	loggingEnabled struct {
		TargetBucket string
		TargetPrefix string
		Grants       *struct{}      `xml:"TargetGrants"`
		KeyFormat    *loggingFormat `xml:"TargetObjectKeyFormat"`
	}
	loggingFormat struct {
		Simple      *struct{}           `xml:"SimplePrefix"`
		Partitioned *loggingPartitioned `xml:"PartitionedPrefix"`
	}
	loggingPartitioned struct {
		DateSource string `xml:"PartitionDateSource,omitempty"`
	}
)

// Where the date in the key of a partitioned log comes from.
const (
	partitionEventTime    = "EventTime"
	partitionDeliveryTime = "DeliveryTime"
)

func checkLogging(c *loggingStatus) error {
	c.XMLName, c.Xmlns = xml.Name{Local: "BucketLoggingStatus"}, xmlNamespace
	e := c.Enabled
	if e == nil {
		return nil
	}
	if e.Grants != nil {
		return refuse(codeNotImplemented, "A header or query you provided implies functionality that is not implemented: TargetGrants.")
	}
	f := e.KeyFormat
	switch {
	case e.TargetBucket == "", len(e.TargetPrefix) > keyLengthMax/2:
		return malformedXML()
	case f == nil:
	case (f.Simple == nil) == (f.Partitioned == nil):
		return malformedXML()
	case f.Partitioned != nil && f.Partitioned.DateSource != "" && f.Partitioned.DateSource != partitionEventTime && f.Partitioned.DateSource != partitionDeliveryTime:
		return malformedXML()
	}
	return nil
}

// putBucketLogging sets where requests are logged. The gateway delivers logs by its own authority, so who sets that must be allowed to write there.
func (q *request) putBucketLogging() error {
	document, err := readDocument(q.body, documentSizeMax)
	if err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	c := new(loggingStatus)
	if err := decodeXML(document, c); err != nil {
		return err
	}
	if err := checkLogging(c); err != nil {
		return err
	}
	if c.Enabled == nil {
		if err := q.dropAttribute(b.Attr.Inode, xattrLogging, false); err != nil {
			return err
		}
		q.w.WriteHeader(http.StatusOK)
		return nil
	}
	to, err := q.h.bucketInfo(q.r.Context(), c.Enabled.TargetBucket)
	if err != nil && explain(err, codeNoSuchBucket).code != codeNoSuchBucket {
		return err
	}
	if err != nil {
		return refuse(codeInvalidLogTarget, "The target bucket for logging does not exist")
	}
	if err := q.permitOn("s3:PutObject", target{bucket: c.Enabled.TargetBucket, info: to, key: c.Enabled.TargetPrefix + "log"}); err != nil {
		return err
	}
	if _, locks := to.Xattr(granary.XattrObjectLock); locks {
		return refuse(codeInvalidLogTarget, "The target bucket for logging has Object Lock enabled")
	}
	value, err := xml.Marshal(c)
	if err != nil {
		return granary.Errorf(granary.KindInternal, "s3.logging", q.bucket, "%w", err)
	}
	if err := q.setConfiguration(b, xattrLogging, value); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// logOperation is what AWS's logs call the request.
func (q *request) logOperation() string {
	kind, method, sub := "REST", q.r.Method, q.subresource()
	copies := q.r.Header.Get("X-Amz-Copy-Source") != ""
	if q.site {
		kind, sub = "WEBSITE", ""
	}
	resource := "BUCKET"
	switch {
	case method == http.MethodOptions:
		resource = "PREFLIGHT"
	case q.key != "" && sub == "uploadId" && method == http.MethodPut:
		if resource = "PART"; copies {
			method = "COPY"
		}
	case sub == "uploadId":
		resource = "UPLOAD"
	case q.key != "" && sub == "":
		if resource = "OBJECT"; copies && method == http.MethodPut {
			method = "COPY"
		}
	case q.key != "" && (sub == "tagging" || sub == "acl" || sub == "attributes"):
		resource = map[string]string{"tagging": "OBJECT_TAGGING", "acl": "ACL", "attributes": "OBJECT_ATTRIBUTES"}[sub]
	case sub == "delete":
		resource = "MULTI_OBJECT_DELETE"
	case sub == "versions" || sub == "policy":
		resource += strings.ToUpper(sub)
	case sub == "logging" || sub == "policyStatus":
		resource = map[string]string{"logging": "LOGGING_STATUS", "policyStatus": "BUCKETPOLICYSTATUS"}[sub]
	case sub != "":
		resource = strings.ToUpper(strings.ReplaceAll(sub, "-", "_"))
	}
	return kind + "." + method + "." + resource
}
