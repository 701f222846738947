// Package s3 serves the S3 API over a file system: a net/http handler that AWS's SDKs and command
// line, minio-go, rclone and s3cmd take for S3.
//
// A bucket is a directory of /buckets, and a dataset. The object "a/b" is the file b in the
// directory a: the same file that a mount sees. Directories that an upload makes on its way are
// implicit, and go with the last object in them. An empty object whose key ends in a slash is a mark on its directory; other
// directories are no objects.
//
// A key is a key, of 1 to 1,024 bytes of UTF-8, whatever a path could make of it: "a" beside "a/b", "a//b", "..". Where a mount
// cannot have such a name it has an escape of it: package master, Names.
//
// # Differences from AWS
//
// A symbolic link that a mount made is followed by GET and HEAD, and never listed.
//
// There is one account, which owns all buckets. Who may do what, policies say (package filer/iam): those of users, groups and roles (package
// filer/accounts, whose APIs are served on the same port), and that of the bucket; the account's root user may do what no bucket policy denies.
// router.go has which actions an operation needs. Users that are somebody in the file system (Identity.Cred) must have its
// permissions besides, and own what they make; what others make belongs to the Owner of the file system's options. What is known of a caller is at
// most a second old (filer.FS.Holder).
//
// Lifecycle rules are carried out by the filers, one at a time for a bucket (Lifecycle). Days are counted from the end of the day of
// the last modification. A transition (transition.go) changes the storage class, and the content follows as after any change of a policy.
//
// Storage classes are the store's (granary.ClassRule): a class is a policy of an object's own. Those that need a restore are refused.
//
// Access control lists (acl.go, acl_parse.go, acl_serve.go) allow what policies do not, in buckets whose ownership controls say that lists count.
//
// Objects are encrypted as package filer/seal says, with keys of the cluster (SSE-S3) or of customers (SSE-C); there is no KMS. A customer's key is
// taken over connections that are encrypted, from this machine, or if Options.PlainKeys says so. The ETag of what it encrypts is random.
//
// Versions, delete markers and locks are the store's (granary.ObjectVersion): whatever door takes an object away or replaces it, in a bucket
// with versioning it stays as an earlier version, and what is locked is refused everywhere. Writing to a file through a mount changes the
// newest version. The default retention of a bucket is for objects that come through this door.
//
// A signature is accepted for any region.
//
// # Format
//
// Extended attributes of an object's file:
//
//	granary.content.etag             MD5 of the content in hexadecimal; of the parts' MD5s, "-N", for N parts
//	granary.content.checksum-NAME    x-amz-checksum-NAME, base64; with "-N" if it is of N parts' checksums
//	granary.content.parts            sizes of the parts: COUNTxSIZE,…
//	granary.content.upload           id of the upload that it was completed of
//	granary.content.part-sums        checksums of the parts: algorithm, space, and they themselves, in binary
//	granary.content.encryption       how it is encrypted: package filer/seal
//	granary.s3.tagging               tags, as the query of a URL
//	granary.s3.acl                   list, as a document of XML
//	granary.s3.retention, legal-hold locks: package granary, XattrRetention and XattrLegalHold
//	granary.s3.HEADER                a header kept: content-type, cache-control, content-disposition,
//	                                 content-encoding, content-language, expires, x-amz-meta-…
//	granary.s3.long-metadata         those x-amz-meta-… whose names are too long for that, as a query
//
// A bucket's root has granary.s3.versioning and granary.s3.object-lock (package granary), and granary.s3.cors, ownership, public-access-block,
// lifecycle, website, logging, accelerate, request-payment, acl, encryption, policy and tagging: the documents of XML or JSON, and tags as those of objects.
//
// What describes the content goes when a mount changes the file; the ETag is then made of inode and
// content version (granary.ETagOf).
//
// An upload in progress is a directory of the bucket's hidden one, DatasetID.System:
//
//	UPLOADID                         32 hexadecimal digits; with the object's metadata, and
//	    granary.s3.upload.key        the object's key
//	    granary.s3.upload.retention, legal-hold, which the object gets
//	    granary.s3.upload.storage-class, which the object gets
//	    granary.s3.upload.encryption the record of its data key, without streams: package filer/seal
//	    granary.s3.upload.checksum   algorithm, space, FULL_OBJECT or COMPOSITE
//	UPLOADID/NNNNN                   a part: its number in five digits; never inline
//
// # Invariants
//
//  1. Nothing of a request's body is published before all that the request claims about it has been
//     verified: length, signed hash or chunk signatures, Content-MD5, checksums in headers and
//     trailers. body.Read says io.EOF only then.
//  2. An object appears, is replaced, or goes in one step of the store; conditions of the request
//     are checked in that same step. For a multipart upload the step is Compose: before it the parts can be seen by
//     nobody, and in it the upload's directory goes. It fails if a part was uploaded after the parts were checked.
//  3. An answer that has begun and cannot be finished is cut off, never ended as if it were whole.
//  4. What is not done is refused, never ignored: a header that asks for a property that would not be
//     given, a subresource that is not served.
//  5. No operation is done that the caller's and the bucket's policies do not allow: it is asked before the body is read, for each object that an operation
//     reads or changes (TestUsersAreBound, TestEveryOperationHasAnAction). A policy that cannot be read refuses everything.
//  6. Memory per request is bounded: bodies stream, in both directions.
package s3
