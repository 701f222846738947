package s3

import (
	"cmp"
	"context"

	"github.com/dsorchard/granary"
)

// classHeader names the storage class of an object.
const classHeader = "X-Amz-Storage-Class"

// xattrUploadClass keeps the class that an upload was begun with.
const xattrUploadClass = xattrUpload + "storage-class"

// classes is the part of a store that knows storage classes. Each method is that of filer.FS by the same name.
type classes interface {
	StorageClass(ctx context.Context, a *granary.Attr) (string, error)
	SetStorageClass(ctx context.Context, a *granary.Attr, class string) error
}

// parseClass returns the class that something is to be stored in; "" for STANDARD.
func parseClass(name string) (string, error) {
	switch {
	case name == "" || name == granary.StorageClassStandard:
		return "", nil
	case granary.IsStorageClass(name):
		return name, nil
	case name == "GLACIER" || name == "DEEP_ARCHIVE":
		return "", refuse(codeInvalidStorageClass, "The storage class you specified is not valid: %s, whose objects have to be restored before they can be read, is not offered.", name)
	}
	return "", refuse(codeInvalidStorageClass, "The storage class you specified is not valid: %q.", name)
}

// storageClass returns the class that a request asks for; "" for STANDARD. metadataOf has let in no other than parseClass does.
func (q *request) storageClass() string {
	class, _ := parseClass(q.r.Header.Get(classHeader)) // checkUnsupported has told of an error
	return class
}

// classOf returns the class of an object, as listings tell it.
func (q *request) classOf(a *granary.Attr) (string, error) {
	class, err := q.h.store.StorageClass(q.r.Context(), a)
	return cmp.Or(class, granary.StorageClassStandard), err
}

// tellClass says in the answer which class an object is of, if it is not STANDARD.
func (q *request) tellClass(a *granary.Attr) error {
	class, err := q.h.store.StorageClass(q.r.Context(), a)
	if class != "" {
		q.w.Header().Set(classHeader, class)
	}
	return err
}
