package s3

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Limits of the default retention, as in AWS.
const (
	retentionDaysMax  = 36500
	retentionYearsMax = 100
)

type objectLockConfiguration struct {
	XMLName           xml.Name `xml:"ObjectLockConfiguration"`
	Xmlns             string   `xml:"xmlns,attr,omitempty"`
	ObjectLockEnabled string
	Rule              *objectLockRule
}

type objectLockRule struct {
	DefaultRetention *defaultRetention
}

type defaultRetention struct {
	Mode  string
	Days  *int `xml:",omitempty"`
	Years *int `xml:",omitempty"`
}

func (d *defaultRetention) check() error {
	switch {
	case d.Days != nil && d.Years != nil, d.Days == nil && d.Years == nil,
		d.Mode != granary.RetentionGovernance && d.Mode != granary.RetentionCompliance:
		return malformedXML()
	case d.Days != nil && *d.Days <= 0, d.Years != nil && *d.Years <= 0:
		return refuse(codeInvalidArgument, "Default retention period must be a positive integer value.")
	case d.Days != nil && *d.Days > retentionDaysMax, d.Years != nil && *d.Years > retentionYearsMax:
		return refuse(codeInvalidArgument, "Default retention period too large.")
	}
	return nil
}

func (q *request) getObjectLockConfiguration() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	configuration, err := lockConfiguration(b)
	if err != nil {
		return err
	}
	if configuration == nil {
		return refuse(codeNoObjectLock, "Object Lock configuration does not exist for this bucket.")
	}
	configuration.Xmlns = xmlNamespace
	return writeXML(q.w, http.StatusOK, configuration)
}

// lockConfiguration returns how versions are locked in a bucket; nil if they are not.
func lockConfiguration(b *filer.Info) (*objectLockConfiguration, error) {
	stored, ok := b.Xattr(granary.XattrObjectLock)
	if !ok {
		return nil, nil
	}
	var c objectLockConfiguration
	if err := xml.Unmarshal(stored, &c); err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "s3.lock", b.Name, "%w", err)
	}
	return &c, nil
}

func (q *request) putObjectLockConfiguration() error {
	var asked objectLockConfiguration
	if err := readXML(q.body, documentSizeMax, &asked); err != nil {
		return err
	}
	if asked.ObjectLockEnabled != "" && asked.ObjectLockEnabled != "Enabled" || asked.Rule != nil && asked.Rule.DefaultRetention == nil {
		return malformedXML()
	}
	if asked.Rule != nil {
		if err := asked.Rule.DefaultRetention.check(); err != nil {
			return err
		}
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if state, _ := b.Xattr(granary.XattrVersioning); string(state) != granary.VersioningEnabled {
		return refuse(codeInvalidBucketState, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
	}
	if err := q.storeLockConfiguration(b, &asked); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) storeLockConfiguration(b *filer.Info, c *objectLockConfiguration) error {
	c.XMLName, c.Xmlns, c.ObjectLockEnabled = xml.Name{Local: "ObjectLockConfiguration"}, "", "Enabled"
	stored, err := xml.Marshal(c)
	if err != nil {
		return granary.Errorf(granary.KindInternal, "s3.lock", b.Name, "%w", err)
	}
	return q.setConfiguration(b, granary.XattrObjectLock, stored)
}

// bucketLocks refuses locks in a bucket that has none.
func bucketLocks(b *filer.Info, missing string) error {
	if _, ok := b.Xattr(granary.XattrObjectLock); !ok {
		return refuse(codeInvalidRequest, "%s", missing)
	}
	return nil
}

// retentionValue is how a retention is kept.
func retentionValue(mode string, until time.Time) []byte {
	return []byte(mode + " " + strconv.FormatInt(until.UnixNano(), 10))
}

// lockOf returns the locks that a request gives to a new object, or those that its bucket gives to all, as attributes.
func (q *request) lockOf(b *filer.Info) ([]granary.Xattr, error) {
	header := q.r.Header
	mode, date, hold := header.Get("X-Amz-Object-Lock-Mode"), header.Get("X-Amz-Object-Lock-Retain-Until-Date"), header.Get("X-Amz-Object-Lock-Legal-Hold")
	if mode == "" && date == "" && hold == "" {
		return q.defaultLock(b)
	}
	if (mode == "") != (date == "") {
		return nil, refuse(codeInvalidArgument, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied.")
	}
	var xattrs []granary.Xattr
	if mode != "" {
		if mode != granary.RetentionGovernance && mode != granary.RetentionCompliance {
			return nil, refuse(codeInvalidArgument, "Unknown wormMode directive.")
		}
		until, err := q.retainUntil(date)
		if err != nil {
			return nil, err
		}
		xattrs = append(xattrs, granary.Xattr{Name: granary.XattrRetention, Value: retentionValue(mode, until)})
	}
	switch hold {
	case "", "OFF":
	case granary.LegalHoldOn:
		xattrs = append(xattrs, granary.Xattr{Name: granary.XattrLegalHold, Value: []byte(hold)})
	default:
		return nil, refuse(codeInvalidArgument, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	if err := bucketLocks(b, "Bucket is missing ObjectLockConfiguration"); err != nil {
		return nil, err
	}
	return xattrs, nil
}

// retainUntil parses the end of a retention, which is to come.
func (q *request) retainUntil(text string) (time.Time, error) {
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return until, refuse(codeInvalidArgument, "The retain until date must be provided in ISO 8601 format")
	}
	if until.Before(q.h.now()) {
		return until, refuse(codeInvalidArgument, "The retain until date must be in the future!")
	}
	return until, nil
}

func (q *request) defaultLock(b *filer.Info) ([]granary.Xattr, error) {
	c, err := lockConfiguration(b)
	if err != nil || c == nil || c.Rule == nil {
		return nil, err
	}
	until, d := q.h.now(), c.Rule.DefaultRetention
	if d.Days != nil {
		until = until.AddDate(0, 0, *d.Days)
	} else {
		until = until.AddDate(*d.Years, 0, 0)
	}
	return []granary.Xattr{{Name: granary.XattrRetention, Value: retentionValue(d.Mode, until)}}, nil
}

type retentionDocument struct {
	XMLName         xml.Name `xml:"Retention"`
	Xmlns           string   `xml:"xmlns,attr,omitempty"`
	Mode            string   `xml:",omitempty"`
	RetainUntilDate string   `xml:",omitempty"`
}

type legalHoldDocument struct {
	XMLName xml.Name `xml:"LegalHold"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Status  string
}

// retentionOf returns the retention of an object, past or not; "" for none.
func retentionOf(info *filer.Info) (mode string, until time.Time) {
	v, ok := info.Xattr(granary.XattrRetention)
	mode, text, _ := strings.Cut(string(v), " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return "", time.Time{}
	}
	return mode, time.Unix(0, n).UTC()
}

func (q *request) getObjectRetention() error {
	info, err := q.lockable()
	if err != nil {
		return err
	}
	mode, until := retentionOf(info)
	if mode == "" {
		return refuse(codeNoObjectLockHere, "The specified object does not have a ObjectLock configuration.")
	}
	return writeXML(q.w, http.StatusOK, &retentionDocument{Xmlns: xmlNamespace, Mode: mode, RetainUntilDate: until.Format(timeFormat)})
}

// lockable finds the request's object in a bucket with locks.
func (q *request) lockable() (*filer.Info, error) {
	b, err := q.openBucket()
	if err != nil {
		return nil, err
	}
	if err := bucketLocks(b, "Bucket is missing Object Lock Configuration"); err != nil {
		return nil, err
	}
	return q.existing()
}

// bypasses reports whether a request asks to change what is retained in the mode GOVERNANCE, and may.
func (q *request) bypasses(key string, version granary.ObjectVersion) (bool, error) {
	if !strings.EqualFold(q.r.Header.Get("X-Amz-Bypass-Governance-Retention"), "true") {
		return false, nil
	}
	return may(q.permitKey("s3:BypassGovernanceRetention", key, version))
}

func (q *request) putObjectRetention() error {
	var asked retentionDocument
	if err := readXML(q.body, documentSizeMax, &asked); err != nil {
		return err
	}
	info, err := q.lockable()
	if err != nil {
		return err
	}
	bypass, err := q.bypasses(q.key, info.Attr.Object)
	if err != nil {
		return err
	}
	if asked.Mode == "" && asked.RetainUntilDate == "" {
		err = q.dropAttribute(info.Attr.Inode, granary.XattrRetention, bypass)
	} else {
		if asked.Mode != granary.RetentionGovernance && asked.Mode != granary.RetentionCompliance {
			return malformedXML()
		}
		until, perr := q.retainUntil(asked.RetainUntilDate)
		if perr != nil {
			return perr
		}
		err = q.setAttribute(info.Attr.Inode, granary.XattrRetention, retentionValue(asked.Mode, until), bypass)
	}
	if err != nil {
		return lockError(err)
	}
	q.setVersionID(&info.Attr)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// lockError says what an operation on a locked object is refused with.
func lockError(err error) error {
	if granary.IsKind(err, granary.KindNotOwner) {
		return &apiError{code: codeAccessDenied, message: "Access Denied because object protected by object lock.", err: err}
	}
	return err
}

func (q *request) getObjectLegalHold() error {
	info, err := q.lockable()
	if err != nil {
		return err
	}
	v, ok := info.Xattr(granary.XattrLegalHold)
	if !ok {
		return refuse(codeNoObjectLockHere, "The specified object does not have a ObjectLock configuration.")
	}
	return writeXML(q.w, http.StatusOK, &legalHoldDocument{Xmlns: xmlNamespace, Status: string(v)})
}

func (q *request) putObjectLegalHold() error {
	var asked legalHoldDocument
	if err := readXML(q.body, documentSizeMax, &asked); err != nil {
		return err
	}
	if asked.Status != granary.LegalHoldOn && asked.Status != "OFF" {
		return malformedXML()
	}
	info, err := q.lockable()
	if err != nil {
		return err
	}
	if err := q.setAttribute(info.Attr.Inode, granary.XattrLegalHold, []byte(asked.Status), false); err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// setLock tells of an object's locks in headers.
func setLock(header http.Header, info *filer.Info) {
	if mode, until := retentionOf(info); mode != "" {
		header.Set("X-Amz-Object-Lock-Mode", mode)
		header.Set("X-Amz-Object-Lock-Retain-Until-Date", until.Format(timeFormat))
	}
	if v, ok := info.Xattr(granary.XattrLegalHold); ok {
		header.Set("X-Amz-Object-Lock-Legal-Hold", string(v))
	}
}
