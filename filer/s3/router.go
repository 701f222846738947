package s3

import (
	"net/http"
	"strconv"
)

// operation serves one request. An error that it returns is answered by request.fail.
type operation func(*request) error

// subresources are the query parameters that make a request mean something else than its method
// says, in the order in which they are looked for. One that is not served is refused: never taken
// for the plain request, or else PutBucketFoo would create buckets.
func subresources() []string {
	return []string{
		"uploadId", "uploads", "delete", "versions", "location", "versioning", "acl", "policy", "policyStatus", "lifecycle",
		"cors", "tagging", "encryption", "object-lock", "website", "notification", "replication", "logging", "accelerate",
		"requestPayment", "publicAccessBlock", "ownershipControls", "inventory", "analytics", "metrics",
		"intelligent-tiering", "retention", "legal-hold", "torrent", "attributes", "restore", "select", "session",
		"metadataTable", "metadataConfiguration", "renameObject",
	}
}

func (q *request) subresource() string {
	for _, name := range subresources() {
		if q.query.Has(name) {
			return name
		}
	}
	return ""
}

// route finds the operation of a request, and whether it reads the body itself.
func (q *request) route() (op operation, takesBody bool) {
	switch {
	case q.bucket == "":
		if q.r.Method == http.MethodGet {
			return (*request).listBuckets, false
		}
		return nil, false
	case q.key == "":
		return q.routeBucket(q.subresource())
	default:
		return q.routeObject(q.subresource())
	}
}

func (q *request) routeBucket(sub string) (op operation, takesBody bool) {
	switch q.r.Method + " " + sub {
	case "GET ":
		if q.query.Get("list-type") == "2" {
			return (*request).listObjectsV2, false
		}
		return (*request).listObjectsV1, false
	case "GET versions":
		return (*request).listObjectVersions, false
	case "GET uploads":
		return (*request).listMultipartUploads, false
	case "GET versioning":
		return (*request).getBucketVersioning, false
	case "PUT versioning":
		return (*request).putBucketVersioning, true
	case "GET object-lock":
		return (*request).getObjectLockConfiguration, false
	case "PUT object-lock":
		return (*request).putObjectLockConfiguration, true
	case "GET tagging":
		return (*request).getBucketTagging, false
	case "PUT tagging":
		return (*request).putBucketTagging, true
	case "DELETE tagging", "DELETE cors", "DELETE encryption", "DELETE ownershipControls":
		return (*request).deleteConfiguration, false
	case "GET cors", "GET encryption", "GET ownershipControls":
		return (*request).getConfiguration, false
	case "PUT cors", "PUT encryption", "PUT ownershipControls":
		return (*request).putConfiguration, true
	case "GET location":
		return (*request).getBucketLocation, false
	case "GET acl":
		return (*request).getBucketACL, false
	case "HEAD ":
		return (*request).headBucket, false
	case "PUT ":
		return (*request).createBucket, true
	case "DELETE ":
		return (*request).deleteBucket, false
	case "POST delete":
		return (*request).deleteObjects, true
	}
	switch q.r.Method {
	case http.MethodGet:
		return (*request).getBucketConfiguration, false
	case http.MethodDelete:
		return (*request).deleteBucketConfiguration, false
	case http.MethodPut, http.MethodPost:
		return (*request).notImplemented, true
	default:
		return nil, false
	}
}

func (q *request) routeObject(sub string) (op operation, takesBody bool) {
	copies := q.r.Header.Get("X-Amz-Copy-Source") != ""
	switch q.r.Method + " " + sub {
	case "GET ":
		return (*request).getObject, false
	case "HEAD ":
		return (*request).headObject, false
	case "PUT ":
		if copies {
			return (*request).copyObject, false
		}
		return (*request).putObject, true
	case "DELETE ":
		return (*request).deleteObject, false
	case "GET acl":
		return (*request).getObjectACL, false
	case "GET tagging":
		return (*request).getObjectTagging, false
	case "DELETE tagging":
		return (*request).deleteObjectTagging, false
	case "PUT tagging":
		return (*request).putObjectTagging, true
	case "GET attributes":
		return (*request).getObjectAttributes, false
	case "GET retention":
		return (*request).getObjectRetention, false
	case "PUT retention":
		return (*request).putObjectRetention, true
	case "GET legal-hold":
		return (*request).getObjectLegalHold, false
	case "PUT legal-hold":
		return (*request).putObjectLegalHold, true
	case "POST uploads":
		return (*request).createMultipartUpload, false
	case "PUT uploadId":
		if copies {
			return (*request).uploadPartCopy, false
		}
		return (*request).uploadPart, true
	case "POST uploadId":
		return (*request).completeMultipartUpload, true
	case "DELETE uploadId":
		return (*request).abortMultipartUpload, false
	case "GET uploadId":
		return (*request).listParts, false
	}
	switch q.r.Method {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete:
		return (*request).notImplemented, true
	default:
		return nil, false
	}
}

func (q *request) notImplemented() error {
	what := q.r.Method
	if sub := q.subresource(); sub != "" {
		what += " ?" + sub
	}
	return refuse(codeNotImplemented, "A header or query you provided implies functionality that is not implemented: %s.", what)
}

// intQuery returns a whole number of the query, within 0 to valueMax; above that, valueMax.
func (q *request) intQuery(name string, absent, valueMax int) (int, error) {
	text := q.query.Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, refuse(codeInvalidArgument, "Provided %s not an integer or within integer range: %q.", name, text)
	}
	return min(int(n), valueMax), nil
}
