package filer

import (
	"context"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// store is what a FS needs of a cluster: a client, or the tests' store in memory.
type store interface {
	metadata
	content
	locking
}

// metadata is the part of a store that knows names and attributes.
type metadata interface {
	Do(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, error)
	DoAll(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]granary.Result, error)
	Query(ctx context.Context, q granary.Query) (granary.Answer, error)
	// OpenKept opens a file for reading without asking, if enough is known of it and may agrees with that.
	OpenKept(ino granary.InodeID, may func(*granary.Attr) bool) (granary.Attr, bool)
	Closed(ino granary.InodeID, nameless bool)
	// Beside returns small files of a file's directory, as far as they are known without asking.
	Beside(file granary.InodeID, n int, size uint64) []granary.InodeID
}

// content is the part of a store that holds bytes.
type content interface {
	WriteRanges(ctx context.Context, cred granary.Cred, attr granary.Attr, ranges []client.Range, atEnd bool, mtime *granary.Time) (granary.Result, error)
	ReadLayout(ctx context.Context, l *granary.Layout, p []byte, off uint64) error
	// ReadAtOnce returns bytes from off on and before end, in buf, as far as they can be had without waiting; none if not at all.
	ReadAtOnce(l *granary.Layout, buf []byte, off, end uint64) []byte
	Prefetch(l *granary.Layout, off, length uint64)
	NewUpload(ctx context.Context, o client.UploadOptions) (uploader, error)
	Policy(ctx context.Context, id granary.PolicyID) (granary.Policy, error)
	ClassPolicy(ctx context.Context, dir granary.PolicyID, class string) (granary.PolicyID, error)
}

// uploader is a client.Upload.
type uploader interface {
	Write(p []byte) (int, error)
	Finish(xattrs func() ([]granary.Xattr, error)) (granary.Result, error)
	Abort()
}

// clientStore is a client as a store.
type clientStore struct{ *client.Client }

func (s clientStore) NewUpload(ctx context.Context, o client.UploadOptions) (uploader, error) {
	return s.Client.NewUpload(ctx, o)
}

// ask asks a question whose answer is an A.
func ask[A granary.Answer](ctx context.Context, m metadata, q granary.Query) (A, error) {
	var none A
	answer, err := m.Query(ctx, q)
	if err != nil {
		return none, err
	}
	a, ok := answer.(A)
	if !ok {
		return none, granary.Errorf(granary.KindInternal, "query", "", "%T answered with %T", q, answer)
	}
	return a, nil
}

// canceled returns the error of a context that ended while op waited.
func canceled(ctx context.Context, op, subject string) error {
	return granary.Errorf(granary.KindCanceled, op, subject, "%w", context.Cause(ctx))
}
