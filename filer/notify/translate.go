package notify

import (
	"context"
	"fmt"
	"strings"

	"github.com/dsorchard/granary"
)

// translator makes notices of changes in one bucket.
type translator struct {
	c    records
	root granary.InodeID
	// versioning is what the bucket's attribute says, as of the last changes that were read.
	versioning string
}

// emit takes a notice. What it returns ends the translation.
type emit func(*notice) error

// xattrs of objects whose changes are events.
const (
	xattrTagging = "granary.s3.tagging"
	xattrACL     = "granary.s3.acl"
)

// refresh looks at the bucket. Of one that is gone, what was seen last holds: what happened in it before is still told.
func (t *translator) refresh(ctx context.Context) error {
	found, err := t.c.find(ctx, t.root)
	if granary.IsKind(err, granary.KindNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	t.versioning = attributeOf(found, granary.XattrVersioning)
	return nil
}

func attributeOf(found *granary.Found, name string) string {
	for _, x := range found.Xattrs {
		if x.Name == name {
			return string(x.Value)
		}
	}
	return ""
}

// placeOf returns the bucket and the key of a path, as the change log tells it. last is the path's last name as keys have it, if that is known.
func placeOf(path, last string) (bucket, key string) {
	rest, ok := strings.CutPrefix(path, "/buckets/")
	if !ok {
		return "", ""
	}
	bucket, key, _ = strings.Cut(rest, "/")
	names := strings.Split(key, "/")
	for i := range names {
		names[i] = unescape(names[i])
	}
	if last != "" && key != "" {
		names[len(names)-1] = last
	}
	return bucket, strings.Join(names, "/")
}

// unescape returns the name of a key's part that a path shows under an escape (package master, Names). Of a name that is too long for a path
// the escape does not tell all: it stays.
func unescape(name string) string {
	rest, ok := strings.CutPrefix(name, "%file:")
	if !ok {
		if rest, ok = strings.CutPrefix(name, "%dir:"); !ok {
			return name
		}
	}
	const hash = len("%~") + 32
	if len(rest) >= hash && rest[len(rest)-hash:len(rest)-hash+2] == "%~" {
		return name
	}
	return strings.NewReplacer("%00", "\x00", "%25", "%").Replace(rest)
}

// bucketOf returns the name that a change tells of the bucket, "" if it tells none.
func bucketOf(e *granary.Event) string {
	bucket, _ := placeOf(e.Path, "")
	return bucket
}

// translate emits what a change means for objects.
func (t *translator) translate(ctx context.Context, e *granary.Event, emit emit) error {
	_, key := placeOf(e.Path, e.Name)
	n := &notice{key: key, at: e.At, time: e.Time, uid: e.UID, etag: e.ETag}
	if e.Type == granary.TypeDirectory {
		return t.directory(ctx, e, n, emit)
	}
	if e.Type != granary.TypeRegular {
		return nil
	}
	if key == "" || strings.HasSuffix(e.Path, "/") && e.Name == "" { // the log knows the file, and not its name
		found, err := t.search(ctx, e, key)
		if err != nil || found == "" {
			return err
		}
		n.key = found
	}
	switch e.Kind {
	case granary.ChangeCreate, granary.ChangeLink:
		n.kind, n.size, n.version = createdBy(e.Origin), &e.Size, t.versionOf(e.Version)
		return t.created(ctx, e, n, emit)
	case granary.ChangeWrite:
		n.kind, n.size = CreatedPut, &e.Size
		return t.created(ctx, e, n, emit)
	case granary.ChangeXattr:
		return t.attribute(ctx, e, n, emit)
	case granary.ChangeAttr:
		if e.Origin != granary.OriginLifecycle { // which changes nothing but storage classes
			return nil
		}
		n.kind = Transitioned
		return t.created(ctx, e, n, emit)
	case granary.ChangeUnlink:
		n.kind = removedBy(e.Origin)
		return emit(n)
	case granary.ChangeDeleteMarker:
		n.kind, n.version = RemovedMarker, t.versionOf(e.Version)
		if e.Origin == granary.OriginLifecycle {
			n.kind = ExpiredMarker
		}
		return emit(n)
	case granary.ChangeRemoveVersion:
		n.kind, n.version = removedBy(e.Origin), versionID(e.Version)
		return emit(n)
	case granary.ChangeRename:
		return t.renamed(ctx, e, n, emit)
	}
	return nil
}

// created emits that an object has new content. What the change does not tell is looked for; of an object that is gone by now it is not told.
func (t *translator) created(ctx context.Context, e *granary.Event, n *notice, emit emit) error {
	if n.etag != "" {
		return emit(n)
	}
	found, err := t.c.find(ctx, e.Inode)
	if granary.IsKind(err, granary.KindNotFound) {
		return emit(n)
	}
	if err != nil {
		return err
	}
	t.describe(n, found)
	return emit(n)
}

// describe fills in what an inode is now.
func (t *translator) describe(n *notice, found *granary.Found) {
	a := &found.Entry.Attr
	if n.etag == "" {
		n.etag = granary.ETagOf(a, attributeOf(found, granary.XattrETag))
	}
	if n.size == nil {
		n.size = &a.Size
	}
	if n.version == "" && a.Object != 0 {
		n.version = versionID(a.Object)
		if a.Unnumbered() {
			n.version = versionNull
		}
	}
}

// attribute emits that tags or access control list of an object were changed. Whether tags were set or removed the log does not tell: what there is
// tells it, and of an object that is gone by now they are said to have been set.
func (t *translator) attribute(ctx context.Context, e *granary.Event, n *notice, emit emit) error {
	if e.Attribute != xattrTagging && e.Attribute != xattrACL {
		return nil
	}
	n.kind = TaggingPut
	if e.Attribute == xattrACL {
		n.kind = ACLPut
	}
	found, err := t.c.find(ctx, e.Inode)
	if granary.IsKind(err, granary.KindNotFound) {
		return emit(n)
	}
	if err != nil {
		return err
	}
	t.describe(n, found)
	if e.Attribute == xattrTagging && attributeOf(found, xattrTagging) == "" {
		n.kind = TaggingDelete
	}
	return emit(n)
}

// renamed emits that a file has another name. Of two that were exchanged both are new.
func (t *translator) renamed(ctx context.Context, e *granary.Event, n *notice, emit emit) error {
	_, old := placeOf(e.OldPath, e.OldName)
	if old != "" {
		o := *n
		o.key, o.etag = old, ""
		o.kind = Removed
		if e.Exchanged {
			o.kind = CreatedPut
		}
		if err := emit(&o); err != nil {
			return err
		}
	}
	n.kind, n.version = CreatedPut, t.versionOf(e.Version)
	return t.created(ctx, e, n, emit)
}

// directory emits what a change of a directory means for objects: the one that is a mark on it, or all that are below it.
func (t *translator) directory(ctx context.Context, e *granary.Event, n *notice, emit emit) error {
	if n.key == "" { // the bucket itself
		return nil
	}
	n.key += "/"
	switch e.Kind {
	case granary.ChangeMark:
		n.kind, n.size, n.etag = createdBy(e.Origin), new(uint64), granary.ETagEmpty
		return emit(n)
	case granary.ChangeUnmark, granary.ChangeRemoveTree:
		n.kind = removedBy(e.Origin)
		return emit(n)
	case granary.ChangeRename:
		_, old := placeOf(e.OldPath, e.OldName)
		if err := t.moved(ctx, e, n, old+"/", n.key, emit); err != nil || !e.Exchanged {
			return err
		}
		return t.moved(ctx, e, n, n.key, old+"/", emit)
	}
	return nil
}

// moved emits for all objects below a directory that they are there now, and are not where it was.
func (t *translator) moved(ctx context.Context, e *granary.Event, n *notice, from, to string, emit emit) error {
	q := &granary.List{Root: t.root, Prefix: to, Limit: granary.ListMax}
	for {
		page, err := t.list(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Items {
			item := &page.Items[i]
			if !e.Exchanged {
				gone := *n
				gone.kind, gone.key, gone.etag = Removed, from+strings.TrimPrefix(item.Key, to), ""
				if err := emit(&gone); err != nil {
					return err
				}
			}
			made := *n
			made.kind, made.key = CreatedPut, item.Key
			made.etag, made.size = granary.ETagOf(&item.Attr, item.ETag), &item.Attr.Size
			if item.Attr.IsDir() {
				made.size = new(uint64)
			}
			if item.Attr.Object != 0 {
				made.version = t.versionOf(item.Attr.Object)
			}
			if err := emit(&made); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return nil
		}
		q.StartAfter, q.StartAt = page.Next, page.NextAt
	}
}

// list lists objects; a bucket that is gone has none.
func (t *translator) list(ctx context.Context, q *granary.List) (*granary.Listing, error) {
	page, err := t.c.list(ctx, q)
	if granary.IsKind(err, granary.KindNotFound) {
		return &granary.Listing{}, nil
	}
	return page, err
}

// search looks for the key of a file of which the log knows no more than the directory: it has very many names, or the file has several. It
// returns "" if there is none.
func (t *translator) search(ctx context.Context, e *granary.Event, dir string) (string, error) {
	q := &granary.List{Root: t.root, Prefix: dir, Limit: granary.ListMax}
	for {
		page, err := t.list(ctx, q)
		if err != nil {
			return "", err
		}
		for i := range page.Items {
			if page.Items[i].Attr.Inode == e.Inode {
				return page.Items[i].Key, nil
			}
		}
		if !page.Truncated {
			return "", nil
		}
		q.StartAfter, q.StartAt = page.Next, page.NextAt
	}
}

// versionNull is the id of versions that have none.
const versionNull = "null"

// versionID writes a version as the S3 door does.
func versionID(v granary.ObjectVersion) string {
	if v == 0 || v == granary.NoID {
		return versionNull
	}
	return fmt.Sprintf("%016x", uint64(v))
}

// versionOf is the id of a version that was made: "" in a bucket without versioning.
func (t *translator) versionOf(v granary.ObjectVersion) string {
	switch {
	case t.versioning == "":
		return ""
	case t.versioning != granary.VersioningEnabled:
		return versionNull
	}
	return versionID(v)
}

// createdBy is the type of the event that an object was made.
func createdBy(o granary.Origin) Type {
	switch o {
	case granary.OriginPost:
		return CreatedPost
	case granary.OriginCopy:
		return CreatedCopy
	case granary.OriginMultipart:
		return CreatedMultipart
	}
	return CreatedPut
}

// removedBy is the type of the event that an object or a version was removed.
func removedBy(o granary.Origin) Type {
	if o == granary.OriginLifecycle {
		return Expired
	}
	return Removed
}
