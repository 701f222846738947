package s3

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	forms "mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Limits of forms, as in AWS.
const (
	formFieldsSize = 20 << 10 // bytes of all fields before the file
	formFieldsMax  = 100
)

// form is a form of a browser that uploads an object: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
type form struct {
	fields map[string]string // by names in small letters
	file   *forms.Part
}

// postsForm reports whether a request is such a form.
func (q *request) postsForm() bool {
	kind, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	return q.r.Method == http.MethodPost && q.bucket != "" && q.key == "" && q.subresource() == "" && err == nil && kind == "multipart/form-data"
}

// postObject refuses what posts no form to a bucket.
func (q *request) postObject() error {
	return refuse(codePrecondition, "Bucket POST must be of the enclosure-type multipart/form-data")
}

// readForm reads a form up to its file, which must be the last field: what follows is not looked at.
func (q *request) readForm() (*form, error) {
	reader, err := q.r.MultipartReader()
	if err != nil {
		return nil, malformedForm()
	}
	f, size := &form{fields: map[string]string{}}, 0
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return nil, refuse(codeInvalidArgument, "POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, malformedForm()
		}
		name := strings.ToLower(part.FormName())
		switch name {
		case "file":
			f.file = part
			return f, nil
		case "":
			return nil, malformedForm()
		}
		value, err := io.ReadAll(io.LimitReader(part, formFieldsSize+1))
		if err != nil {
			return nil, malformedForm()
		}
		if size += len(name) + len(value); size > formFieldsSize || len(f.fields) >= formFieldsMax {
			return nil, refuse(codeFormTooLong, "Your POST request fields preceding the upload file was too large.")
		}
		if _, twice := f.fields[name]; twice {
			return nil, refuse(codeInvalidArgument, "The field %q is there twice.", name)
		}
		f.fields[name] = string(value)
	}
}

func malformedForm() *apiError {
	return refuse(codeMalformedPOST, "The body of your POST request is not well-formed multipart/form-data.")
}

// postForm makes an object of the file of a form, if the policy that came along, signed, allows all that the form says, and the caller may. A
// form that is not signed is anonymous.
func (q *request) postForm() error {
	f, err := q.readForm()
	if err != nil {
		return err
	}
	if q.key, err = f.key(); err != nil {
		return err
	}
	policy, err := q.authenticatePost(f)
	if err != nil {
		return err
	}
	if policy != nil {
		if err := policy.allows(f, q.bucket, q.key, q.h.now()); err != nil {
			return err
		}
	}
	if q.r, err = f.request(q.r); err != nil {
		return err
	}
	q.from(granary.OriginPost)
	q.allowOrigin()
	if err := checkKey(q.key); err != nil {
		return err
	}
	if err := q.permit("s3:PutObject"); err != nil {
		return err
	}
	if q.body, err = f.body(policy); err != nil {
		return err
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	properties, err := q.propertiesOf()
	if err != nil {
		return err
	}
	sealed, err := q.sealObject()
	if err != nil {
		return err
	}
	info, err := q.publish(filer.UploadOptions{
		Owner: q.identity.caller.cred, Root: root, Path: q.key, Key: true, Mode: fileMode, Xattrs: properties, Seal: sealed,
		StorageClass: q.storageClass(),
	})
	if err != nil {
		return explain(err, codeNoSuchBucket)
	}
	return q.posted(f, info)
}

// key returns the key that a form names.
func (f *form) key() (string, error) {
	key := f.fields["key"]
	if key == "" {
		return "", refuse(codeInvalidArgument, "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	name := f.file.FileName()
	if i := strings.LastIndexAny(name, `/\`); i >= 0 { // some browsers tell the whole path
		name = name[i+1:]
	}
	return strings.ReplaceAll(key, "${filename}", name), nil
}

// authenticatePost verifies the signature of a form's policy; nil for a form without.
func (q *request) authenticatePost(f *form) (*postPolicy, error) {
	encoded := f.fields["policy"]
	if encoded == "" {
		if f.fields["x-amz-signature"] != "" || f.fields["signature"] != "" {
			return nil, refuse(codeInvalidArgument, "Bucket POST must contain a field named 'policy'.  If it is specified, please check the order of the fields.")
		}
		q.identity = identity{caller: anonymous()}
		return nil, nil
	}
	verify := q.verifyForm
	if f.fields["awsaccesskeyid"] != "" || f.fields["signature"] != "" {
		verify = q.verifyFormV2
	}
	var err error
	if q.identity, err = verify(f, encoded); err != nil {
		return nil, err
	}
	document, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, invalidPolicy("Invalid Policy: Invalid 'Policy' encoding.")
	}
	return parsePostPolicy(document)
}

// needFields refuses a form that lacks one of some fields.
func (f *form) needFields(names ...string) error {
	for _, name := range names {
		if f.fields[name] == "" {
			return refuse(codeInvalidArgument, "Bucket POST must contain a field named '%s'.  If it is specified, please check the order of the fields.", name)
		}
	}
	return nil
}

// verifyFormV2 is verifyForm for Signature Version 2.
func (q *request) verifyFormV2(f *form, policy string) (identity, error) {
	if err := f.needFields("awsaccesskeyid", "signature"); err != nil {
		return identity{}, err
	}
	accessKey := f.fields["awsaccesskeyid"]
	who, err := q.h.callerOf(q.r.Context(), accessKey, f.fields["x-amz-security-token"])
	if err != nil {
		return identity{}, err
	}
	if !sameSignature(signV2(who.secret, policy), f.fields["signature"]) {
		return identity{}, wrongSignature(accessKey, f.fields["signature"])
	}
	return identity{caller: who, scope: scope{accessKey: accessKey}, version2: true}, nil
}

// verifyForm verifies the signature of a form's policy as it came.
func (q *request) verifyForm(f *form, policy string) (identity, error) {
	if err := f.needFields("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"); err != nil {
		return identity{}, err
	}
	if f.fields["x-amz-algorithm"] != algorithmV4 {
		return identity{}, refuse(codeInvalidArgument, "X-Amz-Algorithm only supports %q.", algorithmV4)
	}
	scope, wrong := parseScope(f.fields["x-amz-credential"])
	if wrong != "" || scope.service != scopeService {
		return identity{}, refuse(codeAuthQuery, "Error parsing the X-Amz-Credential parameter; %s", wrong)
	}
	date := f.fields["x-amz-date"]
	if _, err := time.Parse(dateTimeFormat, date); err != nil || !strings.HasPrefix(date, scope.date) {
		return identity{}, refuse(codeAccessDenied, "Invalid according to Policy: the date of the credential is not that of X-Amz-Date.")
	}
	who, err := q.h.callerOf(q.r.Context(), scope.accessKey, f.fields["x-amz-security-token"])
	if err != nil {
		return identity{}, err
	}
	computed := hex.EncodeToString(hmacSHA256(signingKey(who.secret, scope), policy))
	if !sameSignature(computed, f.fields["x-amz-signature"]) {
		return identity{}, wrongSignature(scope.accessKey, f.fields["x-amz-signature"])
	}
	return identity{caller: who, scope: scope, dateTime: date}, nil
}

// request is the request of a PUT that does what the form says.
func (f *form) request(r *http.Request) (*http.Request, error) {
	put := r.Clone(r.Context())
	put.Header = http.Header{}
	for _, name := range []string{"Origin", "Referer", "User-Agent"} {
		if v := r.Header.Values(name); v != nil {
			put.Header[name] = v
		}
	}
	for name, value := range f.fields {
		switch {
		case name == "acl":
			put.Header.Set("X-Amz-Acl", value)
		case name == "tagging":
			var t tagging
			if err := decodeXML([]byte(value), &t); err != nil || t.TagSet == nil {
				return nil, malformedXML()
			}
			if err := checkTags(t.TagSet.Tags, tagsObjectMax); err != nil {
				return nil, err
			}
			put.Header.Set("X-Amz-Tagging", string(storedTags(t.TagSet.Tags)))
		case strings.HasPrefix(name, "x-amz-"), name == "cache-control", name == "content-type", name == "content-disposition",
			name == "content-encoding", name == "content-language", name == "expires":
			put.Header.Set(name, value)
		}
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Copy-Source"} {
		put.Header.Del(name)
	}
	return put, nil
}

// body is the file, of which the length is not known before its end.
func (f *form) body(policy *postPolicy) (*body, error) {
	header := http.Header{}
	for name, value := range f.fields {
		if strings.HasPrefix(name, "x-amz-checksum-") {
			header.Set(name, value)
		}
	}
	digests, err := declaredDigests(header, nil)
	if err != nil {
		return nil, err
	}
	b := &body{in: f.file, size: -1, digests: digests}
	if policy != nil && policy.sized {
		b.in = &sizedReader{in: f.file, least: policy.sizeMin, most: policy.sizeMax}
	}
	b.computeMD5()
	b.addDefault()
	return b, nil
}

// sizedReader refuses a file that is shorter or longer than its form's policy says.
type sizedReader struct {
	in          io.Reader
	least, most int64
	read        int64
}

// Read implements io.Reader.
func (s *sizedReader) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	s.read += int64(n)
	switch {
	case s.read > s.most:
		return 0, refuse(codeEntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
	case err == io.EOF && s.read < s.least:
		return 0, refuse(codeEntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, malformedForm()
	}
	return n, err
}

type postResponse struct {
	XMLName  xml.Name `xml:"PostResponse"`
	Location string
	Bucket   string
	Key      string
	ETag     string
}

// posted answers as the form wants it.
func (q *request) posted(f *form, info *filer.Info) error {
	etag := quoteETag(q.body.etag())
	header := q.w.Header()
	q.setMadeVersion(&info.Attr)
	header.Set("Etag", etag)
	setChecksums(header, q.body.sums())
	location := q.objectURL()
	header.Set("Location", location)
	to := f.fields["success_action_redirect"]
	if to == "" {
		to = f.fields["redirect"]
	}
	if u, err := url.Parse(to); to != "" && err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		v := u.Query()
		v.Set("bucket", q.bucket)
		v.Set("key", q.key)
		v.Set("etag", etag)
		u.RawQuery = v.Encode()
		header.Set("Location", u.String())
		q.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	switch f.fields["success_action_status"] {
	case "200":
		q.w.WriteHeader(http.StatusOK)
	case "201":
		return writeXML(q.w, http.StatusCreated, &postResponse{Location: location, Bucket: q.bucket, Key: q.key, ETag: etag})
	default:
		q.w.WriteHeader(http.StatusNoContent)
	}
	return nil
}
