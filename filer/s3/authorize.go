package s3

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/iam"
)

func accessDenied() *apiError { return refuse(codeAccessDenied, "Access Denied.") }

// resourceARN names a bucket, or an object in it.
func resourceARN(bucket, key string) string {
	if key == "" {
		return "arn:aws:s3:::" + bucket
	}
	return "arn:aws:s3:::" + bucket + "/" + key
}

// authorize refuses an operation that the caller may not do.
func (q *request) authorize(op operation) error {
	actions := op.actions
	if op.version != nil && q.query.Has("versionId") {
		actions = op.version
	}
	for _, action := range actions {
		if err := q.permit(action); err != nil {
			return err
		}
	}
	return nil
}

// target is what an action is on: a bucket, or an object in it.
type target struct {
	bucket  string
	info    *filer.Info // of the bucket; nil if there need be none
	key     string      // "" for the bucket itself
	version granary.ObjectVersion
}

// permit refuses an action on the request's own bucket or object.
func (q *request) permit(action string) error {
	switch {
	case q.bucket == "":
		return q.permitOn(action, target{bucket: "*"})
	case action == "s3:CreateBucket":
		return q.permitOn(action, target{bucket: q.bucket})
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	t := target{bucket: q.bucket, info: b, key: q.key}
	if q.key != "" {
		if t.version, err = q.version(); err != nil && !q.deletesForeign() {
			return err
		}
	}
	return q.permitOn(action, t)
}

// permitKey refuses an action on an object of the request's bucket.
func (q *request) permitKey(action, key string, version granary.ObjectVersion) error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	return q.permitOn(action, target{q.bucket, b, key, version})
}

// may reports whether an action is allowed; that it cannot be told is an error.
func may(err error) (bool, error) {
	if e, ok := err.(*apiError); ok && e.code == codeAccessDenied {
		return false, nil
	}
	return err == nil, err
}

// permitOn refuses an action on a bucket, or an object in it: by policies, and where they allow it by the permissions of the file system.
func (q *request) permitOn(action string, t target) error {
	if err := q.permitByPolicy(action, t); err != nil {
		return err
	}
	cred := q.identity.caller.cred
	if cred == nil || t.info == nil {
		return nil
	}
	var access granary.Access
	switch action {
	case "s3:GetObject", "s3:GetObjectVersion":
		access = granary.AccessRead
	case "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion":
		access = granary.AccessWrite
	default:
		return nil
	}
	return q.h.store.PermitKey(q.r.Context(), *cred, t.info.Attr.Inode, t.key, t.version, access)
}

// permitByPolicy refuses what neither a policy nor a list allows, or a policy denies. Tags of the object are fetched only if a policy looks at them.
func (q *request) permitByPolicy(action string, t target) error {
	c, b := q.identity.caller, t.info
	p := iam.Policies{Identity: c.policies, Session: c.session, Root: c.root}
	var block publicAccessBlock
	if b != nil {
		var err error
		if p.Resource, err = q.h.bucketPolicy(b); err != nil {
			return err
		}
		if block, err = publicAccessBlockOf(b); err != nil {
			return err
		}
	}
	if p.Root && p.Session == nil && (p.Resource == nil || ownPolicy(action)) {
		return nil
	}
	r := &iam.Request{Action: action, Resource: resourceARN(t.bucket, t.key), Principal: c.principal, Keys: q.conditionKeys(action)}
	looksAtTags := func(p *iam.Policy) bool { return p != nil && p.Mentions("s3:existingobjecttag/") }
	if b != nil && t.key != "" && (looksAtTags(p.Resource) || slices.ContainsFunc(p.Session, looksAtTags) || slices.ContainsFunc(p.Identity, looksAtTags)) {
		found, err := q.tagsOf(t)
		if err != nil {
			return err
		}
		for _, has := range found {
			r.Keys["s3:existingobjecttag/"+strings.ToLower(*has.Key)] = []string{*has.Value}
		}
	}
	if p.Resource != nil && c.principal.Anonymous && block.RestrictPublicBuckets && p.Resource.Public() {
		return accessDenied() // nothing else could allow it but an ACL, which is public, too
	}
	if iam.Decide(p, r) {
		return nil
	}
	if b == nil {
		return accessDenied()
	}
	var err error
	if p.Granted, err = q.granted(action, t, &block); err != nil {
		return err
	}
	if !p.Granted || !iam.Decide(p, r) {
		return accessDenied()
	}
	return nil
}

// ownPolicy reports whether an action is about the bucket's policy itself: the root user can always mend one that shuts it out.
func ownPolicy(action string) bool {
	return action == "s3:GetBucketPolicy" || action == "s3:PutBucketPolicy" || action == "s3:DeleteBucketPolicy"
}

// conditionKeys returns what conditions of policies can look at.
func (q *request) conditionKeys(action string) map[string][]string {
	keys := q.h.globalKeys(q.identity.caller, q.r.RemoteAddr, q.r.TLS != nil)
	set := func(name, value string) {
		if value != "" {
			keys[name] = []string{value}
		}
	}
	header := q.r.Header
	set("aws:useragent", header.Get("User-Agent"))
	set("aws:referer", header.Get("Referer"))
	set("s3:resourceaccount", accountID)
	q.signatureKeys(set)
	for _, name := range []string{"prefix", "delimiter", "max-keys"} {
		if strings.HasPrefix(action, "s3:List") && q.query.Has(name) {
			keys["s3:"+name] = []string{q.query.Get(name)}
		}
	}
	set("s3:versionid", q.query.Get("versionId"))
	set("s3:locationconstraint", q.h.region)
	for _, name := range []string{
		"x-amz-acl", "x-amz-copy-source", "x-amz-metadata-directive", "x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-content-sha256",
		"x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-aws-kms-key-id",
		"x-amz-grant-read", "x-amz-grant-write", "x-amz-grant-read-acp", "x-amz-grant-write-acp", "x-amz-grant-full-control", "if-match", "if-none-match",
	} {
		set("s3:"+name, header.Get(name))
	}
	set("s3:object-lock-mode", header.Get("X-Amz-Object-Lock-Mode"))
	set("s3:object-lock-legal-hold", header.Get("X-Amz-Object-Lock-Legal-Hold"))
	if date := header.Get("X-Amz-Object-Lock-Retain-Until-Date"); date != "" {
		set("s3:object-lock-retain-until-date", date)
		if until, err := time.Parse(time.RFC3339, date); err == nil {
			set("s3:object-lock-remaining-retention-days", strconv.Itoa(int(until.Sub(q.h.now()).Hours()/24)))
		}
	}
	if tags, err := parseTags(header.Get("X-Amz-Tagging")); err == nil {
		for _, t := range tags {
			set("s3:requestobjecttag/"+strings.ToLower(*t.Key), *t.Value)
			keys["s3:requestobjecttagkeys"] = append(keys["s3:requestobjecttagkeys"], *t.Key)
		}
	}
	return keys
}

// signatureKeys tells how the request was signed.
func (q *request) signatureKeys(set func(name, value string)) {
	if q.identity.scope.accessKey == "" {
		return
	}
	version, kind := algorithmV4, "REST-HEADER"
	if q.identity.version2 {
		version = algorithmV2
	}
	set("s3:signatureversion", version)
	if q.presigned() {
		kind = "REST-QUERY-STRING"
	}
	set("s3:authtype", kind)
	if signed, err := time.Parse(dateTimeFormat, q.identity.dateTime); err == nil {
		set("s3:signatureage", strconv.FormatInt(q.h.now().Sub(signed).Milliseconds(), 10))
	}
}

// globalKeys are those that any service has.
func (h *Handler) globalKeys(c *caller, remote string, secure bool) map[string][]string {
	keys := map[string][]string{"aws:securetransport": {strconv.FormatBool(secure)}, "aws:principaltype": {c.kind()}}
	now := h.now().UTC()
	keys["aws:currenttime"] = []string{now.Format(time.RFC3339)}
	keys["aws:epochtime"] = []string{strconv.FormatInt(now.Unix(), 10)}
	if host, _, err := net.SplitHostPort(remote); err == nil {
		keys["aws:sourceip"] = []string{host}
	}
	if c.principal.Anonymous {
		keys["aws:userid"] = []string{"anonymous"}
		return keys
	}
	keys["aws:userid"], keys["aws:principalaccount"] = []string{c.id}, []string{accountID}
	keys["aws:principalarn"] = c.principal.ARNs[:1]
	if c.name != "" {
		keys["aws:username"] = []string{c.name}
	}
	for _, t := range c.tags {
		keys["aws:principaltag/"+strings.ToLower(t.Key)] = []string{t.Value}
	}
	return keys
}

// tagsOf returns the tags of an object; none if there is no such object.
func (q *request) tagsOf(t target) ([]tag, error) {
	info, err := q.h.store.Stat(q.r.Context(), t.info.Attr.Inode, t.key, filer.StatOptions{Xattrs: true, Key: true, Object: t.version})
	if err != nil {
		if e := explain(readError(err), codeNoSuchKey); e.code == codeNoSuchKey {
			return nil, nil
		}
		return nil, err
	}
	stored, _ := info.Xattr(xattrTagging)
	return readTags(stored)
}

// permitHeaders refuses what headers ask for a new object, and the caller may not give it.
func (q *request) permitHeaders() error {
	for _, c := range []struct{ header, action string }{
		{"X-Amz-Tagging", "s3:PutObjectTagging"}, {"X-Amz-Object-Lock-Mode", "s3:PutObjectRetention"},
		{"X-Amz-Object-Lock-Legal-Hold", "s3:PutObjectLegalHold"}, {"X-Amz-Acl", "s3:PutObjectAcl"},
	} {
		if q.r.Header.Get(c.header) == "" {
			continue
		}
		if err := q.permit(c.action); err != nil {
			return err
		}
	}
	for name := range q.r.Header {
		if strings.HasPrefix(name, "X-Amz-Grant-") {
			return q.permit("s3:PutObjectAcl")
		}
	}
	return nil
}

// permitSource refuses to copy what the caller may not read.
func (q *request) permitSource(bucket string, b *filer.Info, key string, version granary.ObjectVersion) error {
	action := "s3:GetObject"
	if version != 0 {
		action = "s3:GetObjectVersion"
	}
	return q.permitOn(action, target{bucket, b, key, version})
}

// hide refuses to tell that an object is missing to whom the bucket may not be listed.
func (q *request) hide(err error) error {
	e, ok := err.(*apiError)
	if !ok || e.code != codeNoSuchKey {
		return err
	}
	b, berr := q.openBucket()
	if berr != nil {
		return berr
	}
	listable, perr := may(q.permitOn("s3:ListBucket", target{bucket: q.bucket, info: b}))
	switch {
	case perr != nil:
		return perr
	case !listable:
		return accessDenied()
	}
	return err
}
