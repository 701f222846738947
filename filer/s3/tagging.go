package s3

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dsorchard/granary"
)

// Limits of tags, as in AWS.
const (
	tagsObjectMax = 10
	tagsBucketMax = 50
	tagKeyMax     = 128 // characters
	tagValueMax   = 256 // characters
)

// xattrTagging keeps the tags of an object or bucket, as the query of a URL.
const xattrTagging = xattrPrefix + "tagging"

type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	TagSet  *tagSet  `xml:"TagSet"`
}

type tagSet struct {
	Tags []tag `xml:"Tag"`
}

type tag struct {
	Key   *string
	Value *string
}

// parseTags reads the x-amz-tagging header.
func parseTags(header string) ([]tag, error) {
	if header == "" {
		return nil, nil
	}
	var tags []tag
	for pair := range strings.SplitSeq(header, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(k)
		value, verr := url.QueryUnescape(v)
		if kerr != nil || verr != nil || key == "" {
			return nil, refuse(codeInvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
		}
		tags = append(tags, tag{&key, &value})
	}
	if err := checkTags(tags, tagsObjectMax); err != nil {
		return nil, err
	}
	return tags, nil
}

// checkTags refuses tags that AWS would.
func checkTags(tags []tag, countMax int) error {
	if len(tags) > countMax {
		if countMax == tagsBucketMax {
			return refuse(codeBadRequest, "Bucket tag count cannot be greater than %d", countMax)
		}
		return refuse(codeBadRequest, "Object tags cannot be greater than %d", countMax)
	}
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case t.Key == nil || t.Value == nil:
			return malformedXML()
		case *t.Key == "" || utf8.RuneCountInString(*t.Key) > tagKeyMax || !tagText(*t.Key):
			return refuse(codeInvalidTag, "The TagKey you have provided is invalid")
		case utf8.RuneCountInString(*t.Value) > tagValueMax || !tagText(*t.Value):
			return refuse(codeInvalidTag, "The TagValue you have provided is invalid")
		case seen[*t.Key]:
			return refuse(codeInvalidTag, "Cannot provide multiple Tags with the same key")
		}
		seen[*t.Key] = true
	}
	return nil
}

// tagText reports whether a tag may hold a text: letters, digits, spaces and + - = . _ : / @.
func tagText(s string) bool {
	for _, r := range s {
		letter := r >= 0x80 || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune(" +-=._:/@", r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// storedTags is how tags are kept.
func storedTags(tags []tag) []byte {
	var b strings.Builder
	for i, t := range tags {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(*t.Key) + "=" + url.QueryEscape(*t.Value))
	}
	return []byte(b.String())
}

// readTags is the inverse of storedTags.
func readTags(stored []byte) ([]tag, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	var tags []tag
	for pair := range strings.SplitSeq(string(stored), "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(k)
		value, verr := url.QueryUnescape(v)
		if kerr != nil || verr != nil {
			return nil, granary.Errorf(granary.KindCorrupt, "s3.tags", "", "%q", stored)
		}
		tags = append(tags, tag{&key, &value})
	}
	return tags, nil
}

// taggingOf returns the tags that a request gives to a new object, as an attribute.
func (q *request) taggingOf() ([]granary.Xattr, error) {
	tags, err := parseTags(q.r.Header.Get("X-Amz-Tagging"))
	if err != nil || len(tags) == 0 {
		return nil, err
	}
	return []granary.Xattr{{Name: xattrTagging, Value: storedTags(tags)}}, nil
}

// readTagging reads a document of tags.
func (q *request) readTagging(countMax int) ([]tag, error) {
	var document tagging
	if err := readXML(q.body, documentSizeMax, &document); err != nil {
		return nil, err
	}
	if document.TagSet == nil {
		return nil, malformedXML()
	}
	return document.TagSet.Tags, checkTags(document.TagSet.Tags, countMax)
}

func (q *request) writeTagging(stored []byte) error {
	tags, err := readTags(stored)
	if err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, &tagging{Xmlns: xmlNamespace, TagSet: &tagSet{tags}})
}

func (q *request) getObjectTagging() error {
	info, err := q.existing()
	if err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	stored, _ := info.Xattr(xattrTagging)
	return q.writeTagging(stored)
}

func (q *request) putObjectTagging() error {
	tags, err := q.readTagging(tagsObjectMax)
	if err != nil {
		return err
	}
	info, err := q.existing()
	if err != nil {
		return err
	}
	if err := q.setAttribute(info.Attr.Inode, xattrTagging, storedTags(tags), false); err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) deleteObjectTagging() error {
	info, err := q.existing()
	if err != nil {
		return err
	}
	if err := q.dropAttribute(info.Attr.Inode, xattrTagging, false); err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (q *request) getBucketTagging() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	stored, ok := b.Xattr(xattrTagging)
	if !ok {
		return refuse(codeNoTagSet, "The TagSet does not exist.")
	}
	return q.writeTagging(stored)
}

func (q *request) putBucketTagging() error {
	tags, err := q.readTagging(tagsBucketMax)
	if err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if err := q.setConfiguration(b, xattrTagging, storedTags(tags)); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// setTagCount tells how many tags an object has.
func setTagCount(header http.Header, xattrs []granary.Xattr) {
	for _, x := range xattrs {
		if x.Name == xattrTagging && len(x.Value) > 0 {
			header.Set("X-Amz-Tagging-Count", strconv.Itoa(strings.Count(string(x.Value), "&")+1))
		}
	}
}
