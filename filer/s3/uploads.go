package s3

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

// uploadWorkers is how many uploads' attributes are fetched at a time.
const uploadWorkers = 16

// uploads returns the uploads in progress of a bucket whose keys begin with a prefix, by key and then
// by when they began.
func (h *Handler) uploads(ctx context.Context, root granary.InodeID, prefix string) ([]*multipart, error) {
	var ids []string
	err := h.store.ReadDir(ctx, root.Dataset().System(), func(e granary.Entry) bool {
		ids = append(ids, e.Name)
		return true
	})
	if err != nil {
		return nil, err
	}
	found := make([]*multipart, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploadWorkers)
	for i, id := range ids {
		group.Go(func() error {
			m, err := h.findUpload(ctx, root, id)
			switch {
			case err == nil && strings.HasPrefix(m.key, prefix):
				found[i] = m
			case err != nil && explain(err, codeNoSuchUpload).code != codeNoSuchUpload:
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(m *multipart) bool { return m == nil })
	slices.SortFunc(found, func(a, b *multipart) int {
		return cmp.Or(strings.Compare(a.key, b.key), cmp.Compare(a.initiated, b.initiated), strings.Compare(a.id, b.id))
	})
	return found, nil
}

func (q *request) listMultipartUploads() error {
	prefix, delimiter := q.query.Get("prefix"), q.query.Get("delimiter")
	keyMarker, idMarker := q.query.Get("key-marker"), q.query.Get("upload-id-marker")
	encode, err := keyEncoder(q.query.Get("encoding-type"))
	if err != nil {
		return err
	}
	maxUploads, err := q.intQuery("max-uploads", granary.ListMax, granary.ListMax)
	if err != nil {
		return err
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	found, err := q.h.uploads(q.r.Context(), root, prefix)
	if err != nil {
		return err
	}
	document := &listUploadsResult{
		Xmlns: xmlNamespace, Bucket: q.bucket, KeyMarker: encode(keyMarker), UploadIDMarker: idMarker,
		Delimiter: encode(delimiter), Prefix: encode(prefix), EncodingType: q.query.Get("encoding-type"), MaxUploads: maxUploads,
	}
	lastKey, lastID, folding, count := "", "", "", 0
	after := afterUpload(found, keyMarker, idMarker)
	if rest, ok := strings.CutPrefix(keyMarker, prefix); ok && delimiter != "" && strings.HasSuffix(rest, delimiter) && strings.Index(rest, delimiter) == len(rest)-len(delimiter) {
		after = slices.DeleteFunc(after, func(m *multipart) bool { return strings.HasPrefix(m.key, keyMarker) }) // a common prefix that was listed
	}
	for _, m := range after {
		if folding != "" && strings.HasPrefix(m.key, folding) {
			continue
		}
		if count == maxUploads {
			document.IsTruncated = maxUploads > 0
			break
		}
		count++
		folding, lastKey, lastID = "", m.key, m.id
		if i := strings.Index(m.key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			folding = m.key[:len(prefix)+i+len(delimiter)]
			lastKey = folding
			document.CommonPrefixes = append(document.CommonPrefixes, commonPrefix{Prefix: encode(folding)})
			continue
		}
		item := uploadItem{
			Key: encode(m.key), UploadID: m.id, Initiator: clusterOwner(), Owner: clusterOwner(), StorageClass: cmp.Or(m.class, granary.StorageClassStandard),
			Initiated: isoTime(m.initiated),
		}
		item.ChecksumAlgorithm, item.ChecksumType = m.declared()
		document.Uploads = append(document.Uploads, item)
	}
	if document.IsTruncated {
		document.NextKeyMarker, document.NextUploadIDMarker = encode(lastKey), lastID
	}
	return writeXML(q.w, http.StatusOK, document)
}

// afterUpload skips uploads up to and including the one that the markers name; without an id, all of
// that key.
func afterUpload(found []*multipart, keyMarker, idMarker string) []*multipart {
	if keyMarker == "" {
		return found
	}
	if idMarker != "" {
		i := slices.IndexFunc(found, func(m *multipart) bool { return m.key == keyMarker && m.id == idMarker })
		if i >= 0 {
			return found[i+1:]
		}
	}
	i := slices.IndexFunc(found, func(m *multipart) bool { return m.key > keyMarker })
	if i < 0 {
		return nil
	}
	return found[i:]
}
