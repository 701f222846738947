package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"path"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// holders knows who holds an access key: a filer.FS, or one in memory in the tests.
type holders interface {
	Holder(ctx context.Context, accessKey, role string, session ...string) (*granary.Holder, error)
}

// authenticate finds on whose behalf a request is made: the user whose access key and secret come as Basic credentials, or as a bearer
// token with a colon between them. The root user is the superuser. What the user is in the file system decides what it may do; one that is nobody there
// may do nothing.
func (q *request) authenticate() error {
	if q.h.holders == nil || q.open() {
		return nil
	}
	key, secret, given := q.r.BasicAuth()
	if token, is := strings.CutPrefix(q.r.Header.Get("Authorization"), "Bearer "); is {
		key, secret, given = strings.Cut(strings.TrimSpace(token), ":")
	}
	if !given || key == "" {
		return unauthorized("an access key is needed, with its secret: as Basic credentials, or as a bearer token KEY:SECRET")
	}
	holder, err := q.h.holders.Holder(q.r.Context(), key, "")
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return err
	}
	if err != nil || holder.Key.Disabled || !sameSecret(holder.Key.Secret, secret) {
		return unauthorized("there is no such access key, or its secret is another")
	}
	switch {
	case holder.Root:
		return nil
	case holder.Subject.Cred == nil:
		return granary.Errorf(granary.KindPermission, "authenticate", holder.Subject.Name, "the user is nobody in the file system: it needs a uid")
	}
	q.cred = *holder.Subject.Cred
	q.r = q.r.WithContext(filer.WithCred(q.r.Context(), q.cred))
	return nil
}

// open reports whether a request is for everybody: what says how the filer is, and what asks which requests there are, in which browsers
// send no credentials.
func (q *request) open() bool {
	switch q.path {
	case "/-/health", "/-/metrics", "/-/version":
		return true
	case tusPath:
		return q.r.Method == http.MethodOptions
	}
	return false
}

func unauthorized(text string) error {
	return &refusal{
		status: http.StatusUnauthorized, header: http.Header{"Www-Authenticate": {`Basic realm="Granary", charset="UTF-8"`}},
		err: granary.Errorf(granary.KindPermission, "authenticate", "", "%s", text),
	}
}

// sameSecret compares secrets in a time that does not tell how much of them is the same.
func sameSecret(want, got string) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// superuser reports whether the request is refused nothing for want of permission.
func (q *request) superuser() bool { return q.cred.UID == 0 }

// permit refuses what the permissions of an inode do not give to who makes the request.
func (q *request) permit(ino granary.InodeID, access granary.Access) error {
	if q.superuser() {
		return nil
	}
	_, err := client.Ask[*granary.Found](q.r.Context(), q.h.fs.Client(), &granary.Lookup{Base: ino, Access: access})
	return err
}

// grant returns where a file is to be made at a path, for the door to make it with its own authority: attributes of the store's are nobody else's
// to set. A user must be allowed to make it: the deepest directory on the way that exists is the root from which the door goes, so
// what was allowed is what is done.
func (h *Handler) grant(ctx context.Context, by granary.Cred, target string) (root granary.InodeID, rest string, err error) {
	if by.UID == 0 {
		return granary.RootInode, target, nil
	}
	ctx = filer.WithCred(ctx, by)
	dir := path.Dir(target)
	info, err := h.fs.Stat(ctx, granary.RootInode, dir, filer.StatOptions{Follow: true})
	for granary.IsKind(err, granary.KindNotFound) && dir != "/" {
		dir = path.Dir(dir)
		info, err = h.fs.Stat(ctx, granary.RootInode, dir, filer.StatOptions{Follow: true})
	}
	switch {
	case err != nil:
		return 0, "", err
	case !info.Attr.IsDir():
		return 0, "", granary.Errorf(granary.KindNotDir, "upload", dir, "")
	}
	root, rest = info.Attr.Inode, "/"+strings.TrimPrefix(target[len(dir):], "/")
	may := &granary.Lookup{Base: root, Access: granary.AccessWrite | granary.AccessExecute}
	if _, err := client.Ask[*granary.Found](ctx, h.fs.Client(), may); err != nil {
		return 0, "", err
	}
	if info.Attr.Mode&modeSticky == 0 || info.Attr.UID == by.UID || strings.Count(rest, "/") > 1 {
		return root, rest, nil
	}
	there, err := h.fs.Stat(ctx, root, rest, filer.StatOptions{})
	if err == nil && there.Attr.UID != by.UID {
		return 0, "", granary.Errorf(granary.KindNotOwner, "upload", target, "it is another's, and the directory is sticky")
	}
	if granary.IsKind(err, granary.KindNotFound) {
		err = nil
	}
	return root, rest, err
}

// modeSticky has only owners replace and remove what is in a directory.
const modeSticky = 0o1000

// uploadFor says who an upload is by: the door, for a user.
func (h *Handler) uploadFor(ctx context.Context, by granary.Cred, o filer.UploadOptions) (filer.UploadOptions, error) {
	var err error
	o.Cred = self()
	if by.UID != 0 {
		o.Owner = &by
	}
	o.Root, o.Path, err = h.grant(ctx, by, o.Path)
	return o, err
}

// mine reports whether what somebody has begun is for who makes the request to go on with.
func (q *request) mine(by *granary.Cred) bool {
	return q.superuser() || by != nil && by.UID == q.cred.UID
}
