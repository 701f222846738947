package s3

import (
	"os"
	"strings"
	"testing"
)

// operationCalls has a request of each operation of S3, which need not succeed.
func operationCalls() map[string]call {
	bucket := func(method, query string) call { return call{method: method, target: "/bucket" + query, body: "<x/>"} }
	object := func(method, query string) call {
		return call{method: method, target: "/bucket/k" + query, body: "<x/>"}
	}
	copying := map[string]string{"X-Amz-Copy-Source": "bucket/k"}
	calls := map[string]call{
		"ListBuckets": {method: "GET", target: "/"}, "CreateBucket": bucket("PUT", ""), "HeadBucket": bucket("HEAD", ""), "DeleteBucket": bucket("DELETE", ""),
		"ListObjects": bucket("GET", ""), "ListObjectsV2": bucket("GET", "?list-type=2"), "ListObjectVersions": bucket("GET", "?versions"),
		"ListMultipartUploads": bucket("GET", "?uploads"), "DeleteObjects": bucket("POST", "?delete"), "GetBucketLocation": bucket("GET", "?location"),
		"PostObject": bucket("POST", ""), "GetBucketAcl": bucket("GET", "?acl"), "PutBucketAcl": bucket("PUT", "?acl"),
		"PutObject": object("PUT", ""), "GetObject": object("GET", ""), "HeadObject": object("HEAD", ""), "DeleteObject": object("DELETE", ""),
		"CopyObject":          {method: "PUT", target: "/bucket/k2", header: copying},
		"GetObjectAttributes": object("GET", "?attributes"), "GetObjectAcl": object("GET", "?acl"), "PutObjectAcl": object("PUT", "?acl"),
		"RenameObject": object("PUT", "?renameObject"), "RestoreObject": object("POST", "?restore"), "SelectObjectContent": object("POST", "?select"), "GetObjectTorrent": object("GET", "?torrent"),
		"CreateMultipartUpload": object("POST", "?uploads"), "UploadPart": object("PUT", "?partNumber=1&uploadId=x"),
		"UploadPartCopy":          {method: "PUT", target: "/bucket/k?partNumber=1&uploadId=x", header: copying},
		"CompleteMultipartUpload": object("POST", "?uploadId=x"), "AbortMultipartUpload": object("DELETE", "?uploadId=x"), "ListParts": object("GET", "?uploadId=x"),
	}
	for name, sub := range map[string]string{
		"Versioning": "versioning", "Cors": "cors", "Tagging": "tagging", "OwnershipControls": "ownershipControls", "Policy": "policy", "Encryption": "encryption",
		"Website": "website", "Replication": "replication", "LifecycleConfiguration": "lifecycle", "NotificationConfiguration": "notification", "Logging": "logging",
		"RequestPayment": "requestPayment", "AccelerateConfiguration": "accelerate",
	} {
		calls["GetBucket"+name], calls["PutBucket"+name] = bucket("GET", "?"+sub), bucket("PUT", "?"+sub)
	}
	calls["GetObjectLockConfiguration"], calls["PutObjectLockConfiguration"] = bucket("GET", "?object-lock"), bucket("PUT", "?object-lock")
	calls["GetPublicAccessBlock"], calls["PutPublicAccessBlock"] = bucket("GET", "?publicAccessBlock"), bucket("PUT", "?publicAccessBlock")
	calls["PutBucketEncryption"] = call{method: "PUT", target: "/bucket?encryption", body: "<ServerSideEncryptionConfiguration/>"}
	calls["DeleteBucketWebsite"] = bucket("DELETE", "?website")
	calls["DeleteBucketEncryption"] = bucket("DELETE", "?encryption")
	calls["DeleteBucketLifecycle"] = bucket("DELETE", "?lifecycle")
	calls["DeletePublicAccessBlock"], calls["DeleteBucketPolicy"] = bucket("DELETE", "?publicAccessBlock"), bucket("DELETE", "?policy")
	calls["GetBucketPolicyStatus"] = bucket("GET", "?policyStatus")
	for name, sub := range map[string]string{"Cors": "cors", "Tagging": "tagging", "OwnershipControls": "ownershipControls"} {
		calls["DeleteBucket"+name] = bucket("DELETE", "?"+sub)
	}
	for name, sub := range map[string]string{"Tagging": "tagging", "Retention": "retention", "LegalHold": "legal-hold"} {
		calls["GetObject"+name], calls["PutObject"+name] = object("GET", "?"+sub), object("PUT", "?"+sub)
	}
	calls["DeleteObjectTagging"] = object("DELETE", "?tagging")
	return calls
}

// TestOperationsInREADME holds the table of operations against what the gateway does: what the table does not say is supported, is answered
// with NotImplemented, or with the fact that there is no such configuration.
func TestOperationsInREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| operation of S3 |")
	table, _, _ = strings.Cut(table, "\n\n")
	said := map[string]string{}
	for line := range strings.Lines(table) {
		columns := strings.Split(strings.TrimSpace(line), "|")
		if len(columns) < 4 || strings.HasPrefix(strings.TrimSpace(columns[1]), "---") {
			continue
		}
		for name := range strings.SplitSeq(columns[1], ",") {
			said[strings.TrimSpace(name)] = strings.TrimSpace(columns[2])
		}
	}
	s := newServer(t)
	for name, c := range operationCalls() {
		if name == "DeleteBucket" {
			continue
		}
		a := s.do(t, c)
		missing := strings.Contains(a.body, "<Code>NotImplemented</Code>") || a.status == 405
		switch is := said[name]; {
		case is != "yes" && is != "no" && is != "none":
			t.Errorf("%s is not in the table", name)
		case is == "yes" && missing, is == "no" && !missing:
			t.Errorf("%s is said to be supported: %q; the answer is %d %s", name, is, a.status, a.body)
		case is == "none" && (a.status >= 500 || missing):
			t.Errorf("%s is said to answer that there is none; the answer is %d %s", name, a.status, a.body)
		}
	}
	for name := range said {
		if _, known := operationCalls()[name]; !known {
			t.Errorf("the table has %q, which is not tested", name)
		}
	}
}
