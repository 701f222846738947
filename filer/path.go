package filer

import (
	"context"
	"strings"

	"github.com/dsorchard/granary"
)

// symlinksMax bounds the symbolic links that one walk follows, as in Linux.
const symlinksMax = 40

// CleanPath returns p as an absolute path without empty, "." and ".." components; ".." at the root
// stays there. A NUL is KindInvalid; a path or component that is too long is KindNameTooLong.
func CleanPath(p string) (string, error) {
	if strings.ContainsRune(p, 0) {
		return "", granary.Errorf(granary.KindInvalid, "path", strings.ReplaceAll(p, "\x00", "\\x00"), "it has a NUL")
	}
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			parts = parts[:max(len(parts)-1, 0)]
		case len(part) > granary.NameLengthMax:
			return "", granary.Errorf(granary.KindNameTooLong, "path", part[:32]+"…", "a component of %d bytes", len(part))
		default:
			parts = append(parts, part)
		}
	}
	clean := "/" + strings.Join(parts, "/")
	if len(clean) > granary.PathLengthMax || len(parts) > granary.PathDepthMax {
		return "", granary.Errorf(granary.KindNameTooLong, "path", clean[:32]+"…", "%d bytes, %d components", len(clean), len(parts))
	}
	return clean, nil
}

// relative returns a clean path, with or without its leading slash, as the master takes it: without.
// An unclean path is KindInvalid: to guess what its author meant is the caller's business.
func relative(op, path string) (string, error) {
	clean, err := CleanPath(path)
	if err != nil {
		return "", err
	}
	if clean != path && clean[1:] != path {
		return "", granary.Errorf(granary.KindInvalid, op, path, "not a clean path: %s would be", clean)
	}
	return clean[1:], nil
}

// relativeOrKey is relative, or the key as it is.
func relativeOrKey(op, path string, isKey bool) (string, error) {
	switch {
	case !isKey:
		return relative(op, path)
	case path == "":
		return "", granary.Errorf(granary.KindInvalid, op, "", "the key is empty")
	}
	return path, nil
}

// named is relative, for paths that must not be the root.
func named(op, path string) (string, error) {
	rel, err := relative(op, path)
	if err == nil && rel == "" {
		return "", granary.Errorf(granary.KindInvalid, op, "/", "the root itself")
	}
	return rel, err
}

// walker resolves paths below a root.
type walker struct {
	m     metadata
	root  granary.InodeID
	links int // symbolic links followed
}

// walk finds what is at a relative path, and asks of it what q asks. Symbolic links on the way are
// followed, one at the end with follow.
//
// The master walks names only, up to the first link. ".." occurs only in the targets of links; the
// walk takes it by the directory's parent, and at the root stays where it is: since every walk begins
// at the root and goes up one directory at a time, it cannot pass the root (invariant 6).
func (w *walker) walk(ctx context.Context, path string, follow bool, q granary.Lookup) (*granary.Found, error) {
	base, rest := w.root, path
	for {
		names, dots, tail := rest, "", ""
		if !q.Key {
			names, dots, tail = cutDots(rest)
		}
		q.Base, q.Path = base, names
		found, err := ask[*granary.Found](ctx, w.m, &q)
		if err != nil {
			return nil, err
		}
		ends := found.Rest == "" && dots == ""
		if found.Entry.Attr.Type == granary.TypeSymlink && (follow || !ends) {
			q.Key = false // what a link leads to is a path
			if base, rest, err = w.follow(found, base, joinPath(found.Rest, dots, tail)); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case found.Rest != "":
			return nil, granary.Errorf(granary.KindInternal, "walk", path, "it ended before %q", found.Rest)
		case ends:
			return found, nil
		case !found.Entry.Attr.IsDir():
			return nil, granary.Errorf(granary.KindNotDir, "walk", path, "%q", found.Entry.Name)
		}
		base, rest = found.Entry.Attr.Inode, tail
		if dots == ".." && base != w.root && found.Entry.Attr.Parent != 0 {
			base = found.Entry.Attr.Parent
		}
	}
}

// follow returns where the walk goes on after a symbolic link.
func (w *walker) follow(found *granary.Found, base granary.InodeID, rest string) (granary.InodeID, string, error) {
	if w.links++; w.links > symlinksMax {
		return 0, "", granary.Errorf(granary.KindLoop, "walk", found.Entry.Name, "more than %d symbolic links", symlinksMax)
	}
	target := found.Entry.Target
	if target == "" {
		return 0, "", granary.Errorf(granary.KindNotFound, "walk", found.Entry.Name, "an empty symbolic link")
	}
	switch {
	case strings.HasPrefix(target, "/"):
		base = w.root
	case found.Parent != 0:
		base = found.Parent
	}
	rest = joinPath(target, rest)
	if len(rest) > granary.PathLengthMax+granary.SymlinkMax {
		return 0, "", granary.Errorf(granary.KindNameTooLong, "walk", found.Entry.Name, "%d bytes", len(rest))
	}
	return base, rest, nil
}

// cutDots splits a path at its first "." or ".." component: the names before it, without empty
// components, the dots, and what follows.
func cutDots(path string) (names, dots, tail string) {
	var parts []string
	for path != "" {
		var part string
		part, path, _ = strings.Cut(path, "/")
		if part == "." || part == ".." {
			return strings.Join(parts, "/"), part, path
		}
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), "", ""
}

// joinPath joins parts, leaving out empty ones.
func joinPath(parts ...string) string {
	kept := parts[:0:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "/")
}

// splitPath returns the directory part of a relative path and its last name.
func splitPath(rel string) (dir, name string) {
	i := strings.LastIndexByte(rel, '/')
	return rel[:max(i, 0)], rel[i+1:]
}

// place is where a path leads, as far as it exists: a directory, and the names below it that are
// missing or, if none is, the last one.
type place struct {
	base granary.InodeID
	rel  string
	home granary.Attr // the deepest directory on the way that exists; of Inode 0 where nobody asked
}

// place returns where an entry at rel is or will be, with no symbolic link among the directories.
//
// The usual path has no links. Then the base is the root and the rest rel itself, so that a mutation
// made there walks and makes its parents in the one step in which it takes effect: a directory that
// somebody prunes meanwhile is made again.
func (fs *FS) place(ctx context.Context, root granary.InodeID, rel string) (place, error) {
	dir, name := splitPath(rel)
	if dir == "" {
		return place{base: root, rel: rel}, nil
	}
	for at := dir; ; at, _ = splitPath(at) {
		found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: root, Path: at})
		switch {
		case granary.IsKind(err, granary.KindNotFound) && at != "": // and no link before what is missing
			continue
		case err != nil:
			return place{}, err
		case found.Entry.Attr.Type == granary.TypeSymlink:
			p, err := fs.deepest(ctx, root, dir)
			p.rel = joinPath(p.rel, name)
			return p, err
		case !found.Entry.Attr.IsDir():
			return place{}, granary.Errorf(granary.KindNotDir, "walk", at, "")
		}
		return place{root, rel, found.Entry.Attr}, nil
	}
}

// placeKey returns where the object of a key is or will be.
func (fs *FS) placeKey(ctx context.Context, root granary.InodeID, key string) (place, error) {
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: root, Path: key, Key: true, Nearest: true})
	if err != nil {
		return place{}, err
	}
	return place{base: root, rel: key, home: found.Entry.Attr}, nil
}

// placeOf returns where a file at a path, or the object of a key, is or will be.
func (fs *FS) placeOf(ctx context.Context, op string, root granary.InodeID, path string, isKey bool) (place, error) {
	if isKey {
		return fs.placeKey(ctx, root, path)
	}
	rel, err := named(op, path)
	if err != nil {
		return place{}, err
	}
	return fs.placeFile(ctx, op, root, rel)
}

// placeFile returns where a file at rel is or will be, and what directory it takes dataset and
// policy from. Buckets are not made on the way.
func (fs *FS) placeFile(ctx context.Context, op string, root granary.InodeID, rel string) (place, error) {
	p, err := fs.place(ctx, root, rel)
	if err != nil {
		return place{}, err
	}
	if p.home.Inode == 0 {
		found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: p.base})
		switch {
		case err != nil:
			return place{}, err
		case !found.Entry.Attr.IsDir():
			return place{}, granary.Errorf(granary.KindNotDir, op, rel, "")
		}
		p.home = found.Entry.Attr
	}
	if p.home.Inode != granary.BucketsInode {
		return p, nil
	}
	if below := strings.TrimPrefix(p.rel, "buckets/"); strings.Contains(below, "/") {
		return place{}, granary.Errorf(granary.KindNotFound, op, rel, "there is no such bucket")
	}
	return place{}, granary.Errorf(granary.KindNotOwner, op, rel, "only buckets can be made among the buckets")
}

// deepest returns the last directory on the way to rel that exists, and the names that are missing.
func (fs *FS) deepest(ctx context.Context, root granary.InodeID, rel string) (place, error) {
	at, rest := "", rel
	p := place{base: root, rel: rel}
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		at = joinPath(at, name)
		w := walker{m: fs.store, root: root}
		found, err := w.walk(ctx, at, true, granary.Lookup{})
		switch {
		case granary.IsKind(err, granary.KindNotFound):
			return p, fs.dangling(ctx, p.base, name)
		case err != nil:
			return place{}, err
		case !found.Entry.Attr.IsDir():
			return place{}, granary.Errorf(granary.KindNotDir, "walk", at, "")
		}
		p = place{found.Entry.Attr.Inode, rest, found.Entry.Attr}
	}
	return p, nil
}

// dangling refuses to make a directory where a symbolic link leads nowhere.
func (fs *FS) dangling(ctx context.Context, dir granary.InodeID, name string) error {
	_, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: dir, Path: name})
	if err == nil {
		return granary.Errorf(granary.KindNotFound, "walk", name, "the symbolic link leads nowhere")
	}
	if granary.IsKind(err, granary.KindNotFound) {
		return nil
	}
	return err
}

// parent returns the directory that holds, or will hold, the last name of rel.
func (fs *FS) parent(ctx context.Context, root granary.InodeID, rel string) (granary.InodeID, string, error) {
	dir, name := splitPath(rel)
	if dir == "" {
		return root, name, nil
	}
	w := walker{m: fs.store, root: root}
	found, err := w.walk(ctx, dir, true, granary.Lookup{})
	if err != nil {
		return 0, "", err
	}
	if !found.Entry.Attr.IsDir() {
		return 0, "", granary.Errorf(granary.KindNotDir, "walk", dir, "")
	}
	return found.Entry.Attr.Inode, name, nil
}
