package s3

import (
	"net/http"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
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
	if err := q.removeKey(root, q.key, match); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// removeKey removes an object; that there is none is success.
func (q *request) removeKey(root granary.InodeID, key string, match *granary.Precondition) error {
	err := q.h.store.Remove(q.r.Context(), root, key, filer.RemoveOptions{Key: true, Prune: true, Match: match})
	switch granary.KindOf(err) {
	case granary.KindNotFound, granary.KindNotDir, granary.KindNameTooLong:
		if match != nil {
			return noSuchKey()
		}
		return nil
	default:
		return err
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
		errs := q.removeKeys(root, asked.Objects)
		result := &deleteResult{Xmlns: xmlNamespace}
		for i, o := range asked.Objects {
			switch {
			case errs[i] != nil:
				e := explain(errs[i], codeNoSuchKey)
				result.Errors = append(result.Errors, deleteError{Key: o.Key, VersionID: o.VersionID, Code: e.code, Message: e.message})
			case !asked.Quiet:
				result.Deleted = append(result.Deleted, deletedItem{Key: o.Key, VersionID: o.VersionID})
			}
		}
		return result, nil
	})
}

// removeKeys removes objects, and returns an error or nil for each.
func (q *request) removeKeys(root granary.InodeID, objects []deleteItem) []error {
	errs := make([]error, len(objects))
	var group sync.WaitGroup
	free := make(chan struct{}, deleteWorkers)
	for i, o := range objects {
		free <- struct{}{}
		group.Go(func() {
			errs[i] = q.removeItem(root, o)
			<-free
		})
	}
	group.Wait()
	return errs
}

func (q *request) removeItem(root granary.InodeID, o deleteItem) error {
	switch {
	case o.Key == "":
		return refuse(codeInvalidArgument, "The key is empty.")
	case o.VersionID != "" && o.VersionID != "null":
		return q.noSuchVersion()
	case o.ETag == "":
		return q.removeKey(root, o.Key, nil)
	default:
		return q.removeKey(root, o.Key, &granary.Precondition{Present: true, ETag: unquoteETag(o.ETag)})
	}
}
