package s3

import (
	"encoding/xml"
	"net/http"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

func (q *request) getBucketACL() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	return q.writeList(b)
}

func (q *request) getObjectACL() error {
	info, err := q.existing()
	if err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	return q.writeList(info)
}

func (q *request) writeList(info *filer.Info) error {
	l, err := listOf(info)
	if err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, l)
}

func (q *request) putBucketACL() error {
	b, value, err := q.newList()
	if err != nil {
		return err
	}
	if err := q.setConfiguration(b, xattrACL, value); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) putObjectACL() error {
	_, value, err := q.newList()
	if err != nil {
		return err
	}
	info, err := q.existing()
	if err != nil {
		return err
	}
	if err := q.setAttribute(info.Attr.Inode, xattrACL, value, false); err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// newList reads the list of a PUT, as it is kept.
func (q *request) newList() (b *filer.Info, value []byte, err error) {
	if b, err = q.openBucket(); err != nil {
		return nil, nil, err
	}
	l, err := q.listToPut(b)
	if err != nil {
		return nil, nil, err
	}
	value, err = q.keptList(b, l)
	return b, value, err
}

// keptList is how a list is kept, where lists count and the bucket's block lets it.
func (q *request) keptList(b *filer.Info, l *accessList) ([]byte, error) {
	count, err := aclsCount(b)
	if err != nil {
		return nil, err
	}
	if !count && !l.plain() {
		return nil, refuse(codeACLNotSupported, "The bucket does not allow ACLs")
	}
	block, err := publicAccessBlockOf(b)
	if err != nil {
		return nil, err
	}
	if block.BlockPublicAcls && l.public() {
		return nil, accessDenied()
	}
	kept := *l
	kept.XMLName, kept.Xmlns = xml.Name{Local: "AccessControlPolicy"}, ""
	value, err := xml.Marshal(&kept)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "s3.acl", b.Name, "%w", err)
	}
	return value, nil
}

// listFor returns the list that headers give a new object, as an attribute.
func (q *request) listFor(b *filer.Info) ([]granary.Xattr, error) {
	l, err := q.headerList(false)
	if err != nil || l == nil {
		return nil, err
	}
	value, err := q.keptList(b, l)
	if err != nil || l.plain() {
		return nil, err
	}
	return []granary.Xattr{{Name: xattrACL, Value: value}}, nil
}
