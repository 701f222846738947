package s3

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// xattrUploadEncryption keeps the record of an upload's data key: what package filer/seal says, without streams. Each part has it, too, with its own
// stream; the object gets all of them.
const xattrUploadEncryption = xattrUpload + "encryption"

// sealUpload makes up the data key of a new upload, if it is to be encrypted.
func (q *request) sealUpload() ([]granary.Xattr, error) {
	sealed, _, err := q.newSeal()
	if sealed == nil || err != nil {
		return nil, err
	}
	return []granary.Xattr{{Name: xattrUploadEncryption, Value: sealed.Record.Xattrs()[0].Value}}, nil
}

// uploadRecord reads what sealUpload has made; nil if the upload is plain.
func uploadRecord(dir *filer.Info) (*seal.Record, error) {
	v, ok := dir.Xattr(xattrUploadEncryption)
	if !ok {
		return nil, nil
	}
	return seal.RecordOf([]granary.Xattr{{Name: granary.XattrEncryption, Value: v}})
}

// partEncryption returns how the parts of an upload are encrypted, if the request says of it what it must.
func (q *request) partEncryption(m *multipart) (*encryption, error) {
	if err := q.noMethod(); err != nil {
		return nil, err
	}
	e, err := q.customerKey(sseHeader)
	switch {
	case err != nil:
		return nil, err
	case e == nil && m.record != nil && m.record.Mode == seal.ByCustomer:
		return nil, refuse(codeInvalidRequest, "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
	case e != nil && (m.record == nil || m.record.Mode != seal.ByCustomer):
		return nil, refuse(codeInvalidRequest, "The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.")
	case e == nil && m.record != nil:
		e = &encryption{}
	}
	return e, nil
}

// sealPart says in its options how a part is encrypted, and has a body of it know what its ETag is.
func (q *request) sealPart(m *multipart, number int, o *filer.UploadOptions, content *body) error {
	e, err := q.partEncryption(m)
	if e == nil || err != nil {
		return err
	}
	o.Seal, err = q.h.store.PartSeal(q.r.Context(), m.record, e.key(), uint16(number))
	if granary.IsKind(err, granary.KindPermission) {
		return refuse(codeInvalidRequest, "The provided encryption parameters did not match the ones used originally.")
	}
	if err != nil {
		return err
	}
	if e.byCustomer() {
		content.hideMD5()
	}
	e.tell(q.w.Header())
	return nil
}

// recordWorkers is how many parts' attributes are fetched at a time.
const recordWorkers = 16

// fetchRecords completes parts with how they are encrypted. One that was replaced since it was listed has changed the version of the upload's
// directory: the object is not made of it then.
func (h *Handler) fetchRecords(ctx context.Context, m *multipart, parts []part) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordWorkers)
	for i := range parts {
		p := &parts[i]
		group.Go(func() error {
			info, err := h.store.Stat(ctx, m.dir, partName(p.number), filer.StatOptions{Xattrs: true})
			if err != nil {
				return uploadError(err)
			}
			p.record, err = seal.RecordOf(info.Xattrs)
			return err
		})
	}
	return group.Wait()
}

// wholeRecord returns what says how the object is encrypted that is put together of parts.
func (h *Handler) wholeRecord(ctx context.Context, m *multipart, chosen []part) ([]granary.Xattr, error) {
	if m.record == nil {
		return nil, nil
	}
	if err := h.fetchRecords(ctx, m, chosen); err != nil {
		return nil, err
	}
	var streams []seal.Stream
	for i := range chosen {
		p := &chosen[i]
		if p.record == nil || !p.record.SameKey(m.record) || len(p.record.Streams) != 1 {
			return nil, granary.Errorf(granary.KindCorrupt, "s3.complete", partName(p.number), "the part is not encrypted as the upload is")
		}
		if p.attr.Size > 0 { // an empty one has nothing in the stream
			streams = append(streams, seal.Stream{Number: p.record.Streams[0].Number, Nonce: p.record.Streams[0].Nonce, Size: p.attr.Size})
		}
	}
	return m.record.With(streams...).Xattrs(), nil
}

// tellUpload says in an answer how the object of an upload is encrypted, where no key comes along.
func (q *request) tellUpload(m *multipart) {
	if m.record != nil && m.record.Mode == seal.ByCluster {
		(&encryption{}).tell(q.w.Header())
	}
}
