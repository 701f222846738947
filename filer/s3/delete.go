package s3

import (
	"net/http"
	"sync"

	"github.com/dsorchard/granary"
)

// deleteMax is how many keys DeleteObjects takes, and deleteBodyMax how long its document may be.
const (
	deleteMax     = 1000
	deleteBodyMax = 8 << 20
)

// deleteWorkers is how many keys of one DeleteObjects are removed at a time.
const deleteWorkers = 8

func (q *request) deleteObject() error {
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	match, err := writeCondition(q.r.Header)
	if err != nil {
		return err
	}
	version, err := q.version()
	if err != nil && q.deletesForeign() {
		q.w.Header().Set("X-Amz-Version-Id", q.query.Get("versionId"))
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	r, err := q.removeKey(root, q.key, version, match)
	if err != nil {
		return err
	}
	if r.Marker {
		q.w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	switch {
	case r.Attr.Object != 0 && (r.Marker || version != 0):
		q.w.Header().Set("X-Amz-Version-Id", versionID(&r.Attr))
	case version != 0:
		q.w.Header().Set("X-Amz-Version-Id", q.query.Get("versionId"))
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// deletesForeign reports whether the request deletes a version by an id as other stores have them: there is none, and that is success.
func (q *request) deletesForeign() bool {
	id := q.query.Get("versionId")
	_, err := parseVersionID(id)
	return err != nil && q.r.Method == http.MethodDelete && foreignVersion(id)
}

// removeKey removes an object, or a version of it for good; that there is none is success.
func (q *request) removeKey(root granary.InodeID, key string, version granary.ObjectVersion, match *granary.Precondition) (granary.Result, error) {
	bypass, err := q.bypasses(key, version)
	if err != nil {
		return granary.Result{}, err
	}
	r, err := q.h.store.RemoveKey(q.r.Context(), &granary.Unlink{Parent: root, Name: key, Object: version, Match: match, Bypass: bypass})
	switch granary.KindOf(err) {
	case granary.KindNotFound, granary.KindNotDir, granary.KindNameTooLong:
		if match != nil {
			return r, noSuchKey()
		}
		return r, nil
	default:
		return r, lockError(err)
	}
}

func (q *request) deleteObjects() error {
	var asked deleteRequest
	if err := readXML(q.body, deleteBodyMax, &asked); err != nil {
		return err
	}
	if n := len(asked.Objects); n == 0 || n > deleteMax {
		return refuse(codeMalformedXML, "The XML you provided did not validate: it names %d objects, not 1 to %d.", n, deleteMax)
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	return q.slowly(func() (any, error) {
		removed, errs := q.removeKeys(root, asked.Objects)
		result := &deleteResult{Xmlns: xmlNamespace}
		for i, o := range asked.Objects {
			switch {
			case errs[i] != nil:
				e := explain(errs[i], codeNoSuchKey)
				result.Errors = append(result.Errors, deleteError{Key: o.Key, VersionID: o.VersionID, Code: e.code, Message: e.message})
			case !asked.Quiet:
				item := deletedItem{Key: o.Key, VersionID: o.VersionID, DeleteMarker: removed[i].Marker}
				if removed[i].Marker {
					item.MarkerVersionID = versionID(&removed[i].Attr)
				}
				result.Deleted = append(result.Deleted, item)
			}
		}
		return result, nil
	})
}

// removeKeys removes objects, and returns what was done, and an error or nil, for each.
func (q *request) removeKeys(root granary.InodeID, objects []deleteItem) ([]granary.Result, []error) {
	removed, errs := make([]granary.Result, len(objects)), make([]error, len(objects))
	var group sync.WaitGroup
	free := make(chan struct{}, deleteWorkers)
	for i, o := range objects {
		free <- struct{}{}
		group.Go(func() {
			removed[i], errs[i] = q.removeItem(root, o)
			<-free
		})
	}
	group.Wait()
	return removed, errs
}

func (q *request) removeItem(root granary.InodeID, o deleteItem) (granary.Result, error) {
	if o.Key == "" {
		return granary.Result{}, refuse(codeInvalidArgument, "The key is empty.")
	}
	version, err := parseVersionID(o.VersionID)
	if err != nil {
		return granary.Result{}, err
	}
	action := "s3:DeleteObject"
	if version != 0 {
		action = "s3:DeleteObjectVersion"
	}
	if err := q.permitKey(action, o.Key, version); err != nil {
		return granary.Result{}, err
	}
	var match *granary.Precondition
	if o.ETag != "" {
		match = &granary.Precondition{Present: true, ETag: unquoteETag(o.ETag)}
	}
	return q.removeKey(root, o.Key, version, match)
}
