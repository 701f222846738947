package s3

import (
	"net/http"
	"slices"
	"strconv"
)

// operation is one of S3.
type operation struct {
	serve     func(*request) error // an error that it returns is answered by request.fail
	takesBody bool
	actions   []string // that must be allowed on the bucket or object: the whole check, but for what names another object or is asked for by headers
	version   []string // those if a versionId is named; nil for the same
}

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
	if len(q.query) == 0 {
		return ""
	}
	for _, name := range subresources() {
		if q.query.Has(name) {
			return name
		}
	}
	return ""
}

// reads and writes are operations that need one permission.
func reads(serve func(*request) error, action string) operation {
	return operation{serve: serve, actions: []string{action}}
}

func writes(serve func(*request) error, action string) operation {
	return operation{serve: serve, takesBody: true, actions: []string{action}}
}

// versioned is an operation on an object, which needs another permission for one that is named by its version.
func (o operation) versioned(actions ...string) operation {
	o.version = actions
	return o
}

// refusal is what is refused as not implemented, whoever asks.
func refusal() operation {
	return operation{serve: (*request).notImplemented, takesBody: true}
}

// route finds the operation of a request.
func (q *request) route() (operation, bool) {
	call := q.r.Method + " " + q.subresource()
	switch {
	case q.bucket == "":
		return reads((*request).listBuckets, "s3:ListAllMyBuckets"), q.r.Method == http.MethodGet
	case q.key == "":
		if op, ok := bucketOperation(call); ok {
			return op, true
		}
	default:
		if op, ok := objectOperation(call, q.r.Header.Get("X-Amz-Copy-Source") != ""); ok {
			return op, true
		}
	}
	switch {
	case call == "POST ": // of a key: forms are posted to buckets
	case slices.Contains([]string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}, q.r.Method):
		return refusal(), true
	}
	return operation{}, false
}

// bucketOperation is the table of operations on buckets, by method and subresource.
func bucketOperation(call string) (operation, bool) {
	switch call {
	case "GET ":
		return reads((*request).listObjects, "s3:ListBucket"), true
	case "GET versions":
		return reads((*request).listObjectVersions, "s3:ListBucketVersions"), true
	case "GET uploads":
		return reads((*request).listMultipartUploads, "s3:ListBucketMultipartUploads"), true
	case "HEAD ":
		return reads((*request).headBucket, "s3:ListBucket"), true
	case "PUT ":
		return writes((*request).createBucket, "s3:CreateBucket"), true
	case "DELETE ":
		return reads((*request).deleteBucket, "s3:DeleteBucket"), true
	case "POST ":
		return operation{serve: (*request).postObject, takesBody: true}, true // it is no form: that is served apart
	case "POST delete":
		return operation{serve: (*request).deleteObjects, takesBody: true}, true // which asks for each object
	case "GET location":
		return reads((*request).getBucketLocation, "s3:GetBucketLocation"), true
	case "GET versioning":
		return reads((*request).getBucketVersioning, "s3:GetBucketVersioning"), true
	case "PUT versioning":
		return writes((*request).putBucketVersioning, "s3:PutBucketVersioning"), true
	case "GET object-lock":
		return reads((*request).getObjectLockConfiguration, "s3:GetBucketObjectLockConfiguration"), true
	case "PUT object-lock":
		return writes((*request).putObjectLockConfiguration, "s3:PutBucketObjectLockConfiguration"), true
	case "GET acl":
		return reads((*request).getBucketACL, "s3:GetBucketAcl"), true
	case "PUT acl":
		return writes((*request).putBucketACL, "s3:PutBucketAcl"), true
	case "GET policy":
		return reads((*request).getBucketPolicy, "s3:GetBucketPolicy"), true
	case "PUT policy":
		return writes((*request).putBucketPolicy, "s3:PutBucketPolicy"), true
	case "DELETE policy":
		return reads((*request).deleteBucketPolicy, "s3:DeleteBucketPolicy"), true
	case "GET policyStatus":
		return reads((*request).getBucketPolicyStatus, "s3:GetBucketPolicyStatus"), true
	}
	return configurationOperation(call)
}

// configurationOperation is the part of the table about what is kept as it comes, or cannot be configured.
func configurationOperation(call string) (operation, bool) {
	get, put, remove := (*request).getConfiguration, (*request).putConfiguration, (*request).deleteConfiguration
	none, gone := (*request).getBucketConfiguration, (*request).deleteBucketConfiguration
	switch call {
	case "GET tagging":
		return reads((*request).getBucketTagging, "s3:GetBucketTagging"), true
	case "PUT tagging":
		return writes((*request).putBucketTagging, "s3:PutBucketTagging"), true
	case "DELETE tagging":
		return reads(remove, "s3:PutBucketTagging"), true
	case "GET cors":
		return reads(get, "s3:GetBucketCORS"), true
	case "PUT cors":
		return writes(put, "s3:PutBucketCORS"), true
	case "DELETE cors":
		return reads(remove, "s3:PutBucketCORS"), true
	case "GET encryption":
		return reads(get, "s3:GetEncryptionConfiguration"), true
	case "PUT encryption":
		return writes(put, "s3:PutEncryptionConfiguration"), true
	case "DELETE encryption":
		return reads(remove, "s3:PutEncryptionConfiguration"), true
	case "GET ownershipControls":
		return reads(get, "s3:GetBucketOwnershipControls"), true
	case "PUT ownershipControls":
		return writes(put, "s3:PutBucketOwnershipControls"), true
	case "DELETE ownershipControls":
		return reads(remove, "s3:PutBucketOwnershipControls"), true
	case "GET publicAccessBlock":
		return reads(get, "s3:GetBucketPublicAccessBlock"), true
	case "PUT publicAccessBlock":
		return writes(put, "s3:PutBucketPublicAccessBlock"), true
	case "DELETE publicAccessBlock":
		return reads(remove, "s3:PutBucketPublicAccessBlock"), true
	case "GET lifecycle":
		return reads(get, "s3:GetLifecycleConfiguration"), true
	case "PUT lifecycle":
		return writes(put, "s3:PutLifecycleConfiguration"), true
	case "DELETE lifecycle":
		return reads(remove, "s3:PutLifecycleConfiguration"), true
	case "GET notification":
		return reads((*request).getBucketNotification, "s3:GetBucketNotification"), true
	case "PUT notification":
		return writes((*request).putBucketNotification, "s3:PutBucketNotification"), true
	case "GET logging":
		return reads(get, "s3:GetBucketLogging"), true
	case "PUT logging":
		return writes((*request).putBucketLogging, "s3:PutBucketLogging"), true
	case "GET accelerate":
		return reads(get, "s3:GetAccelerateConfiguration"), true
	case "PUT accelerate":
		return writes(put, "s3:PutAccelerateConfiguration"), true
	case "GET requestPayment":
		return reads(get, "s3:GetBucketRequestPayment"), true
	case "PUT requestPayment":
		return writes(put, "s3:PutBucketRequestPayment"), true
	case "GET website":
		return reads(get, "s3:GetBucketWebsite"), true
	case "PUT website":
		return writes(put, "s3:PutBucketWebsite"), true
	case "DELETE website":
		return reads(remove, "s3:DeleteBucketWebsite"), true
	case "GET replication":
		return reads(none, "s3:GetReplicationConfiguration"), true
	case "DELETE replication":
		return reads(gone, "s3:PutReplicationConfiguration"), true
	case "GET inventory":
		return reads(none, "s3:GetInventoryConfiguration"), true
	case "GET analytics":
		return reads(none, "s3:GetAnalyticsConfiguration"), true
	case "GET metrics":
		return reads(none, "s3:GetMetricsConfiguration"), true
	case "GET intelligent-tiering":
		return reads(none, "s3:GetIntelligentTieringConfiguration"), true
	}
	return operation{}, false
}

// objectOperation is the table of operations on objects.
func objectOperation(call string, copies bool) (operation, bool) {
	switch call {
	case "GET ":
		return reads((*request).getObject, "s3:GetObject").versioned("s3:GetObjectVersion"), true
	case "HEAD ":
		return reads((*request).headObject, "s3:GetObject").versioned("s3:GetObjectVersion"), true
	case "PUT ":
		if copies {
			return reads((*request).copyObject, "s3:PutObject"), true
		}
		return writes((*request).putObject, "s3:PutObject"), true
	case "DELETE ":
		return reads((*request).deleteObject, "s3:DeleteObject").versioned("s3:DeleteObjectVersion"), true
	case "GET acl":
		return reads((*request).getObjectACL, "s3:GetObjectAcl").versioned("s3:GetObjectVersionAcl"), true
	case "PUT acl":
		return writes((*request).putObjectACL, "s3:PutObjectAcl").versioned("s3:PutObjectVersionAcl"), true
	case "GET tagging":
		return reads((*request).getObjectTagging, "s3:GetObjectTagging").versioned("s3:GetObjectVersionTagging"), true
	case "DELETE tagging":
		return reads((*request).deleteObjectTagging, "s3:DeleteObjectTagging").versioned("s3:DeleteObjectVersionTagging"), true
	case "PUT tagging":
		return writes((*request).putObjectTagging, "s3:PutObjectTagging").versioned("s3:PutObjectVersionTagging"), true
	case "GET attributes":
		op := operation{serve: (*request).getObjectAttributes, actions: []string{"s3:GetObject", "s3:GetObjectAttributes"}}
		return op.versioned("s3:GetObjectVersion", "s3:GetObjectVersionAttributes"), true
	case "GET retention":
		return reads((*request).getObjectRetention, "s3:GetObjectRetention"), true
	case "PUT retention":
		return writes((*request).putObjectRetention, "s3:PutObjectRetention"), true
	case "GET legal-hold":
		return reads((*request).getObjectLegalHold, "s3:GetObjectLegalHold"), true
	case "PUT legal-hold":
		return writes((*request).putObjectLegalHold, "s3:PutObjectLegalHold"), true
	case "PUT renameObject":
		return reads((*request).renameObject, "s3:PutObject"), true
	case "POST uploads":
		return reads((*request).createMultipartUpload, "s3:PutObject"), true
	case "PUT uploadId":
		if copies {
			return reads((*request).uploadPartCopy, "s3:PutObject"), true
		}
		return writes((*request).uploadPart, "s3:PutObject"), true
	case "POST uploadId":
		return writes((*request).completeMultipartUpload, "s3:PutObject"), true
	case "DELETE uploadId":
		return reads((*request).abortMultipartUpload, "s3:AbortMultipartUpload"), true
	case "GET uploadId":
		return reads((*request).listParts, "s3:ListMultipartUploadParts"), true
	}
	return operation{}, false
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
	switch {
	case err != nil:
		return 0, refuseArgument(name, text, "Provided %s not an integer or within integer range", name)
	case n < 0:
		return 0, refuseArgument(name, text, "Argument %s must be an integer between 0 and 2147483647", name)
	}
	return min(int(n), valueMax), nil
}
