package master

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/dsorchard/granary"
)

// nameKind says which of the two keys that a name may have are meant.
type nameKind uint8

const (
	anyName  nameKind = iota // the directory's, if there is one, and else the other's
	fileName                 // of what is no directory
	dirName
)

// entryName is a name in a directory, as its key has it: any bytes but '/'.
type entryName struct {
	raw  string
	kind nameKind
}

// Escapes of names that are no names of a path, or whose own name is a directory's. A doc comment of the package says more.
const (
	escapeFile = "%file:"
	escapeDir  = "%dir:"
	escapeLong = "%~" // and 32 hexadecimal digits of the name's SHA-256

	escapeLongBytes = 128 // of a name that is too long, at most so many show
	escapeHashBytes = 16
)

// shownName is the name under which doors with paths have an entry. It is one of a path, and no two entries of a directory
// have the same. twin says that the entry is no directory, and one has the same name.
func shownName(raw string, dir, twin bool) string {
	if !twin && ownName(raw) {
		return raw
	}
	prefix := escapeFile
	if dir {
		prefix = escapeDir
	}
	if name := prefix + escapeBytes(raw); len(name) <= granary.NameLengthMax {
		return name
	}
	hash := sha256.Sum256([]byte(raw))
	return prefix + escapeBytes(longStart(raw)) + escapeLong + hex.EncodeToString(hash[:escapeHashBytes])
}

// longStart is what shows of a name that is too long: it escapes to what leaves room for the hash.
func longStart(raw string) string {
	for n := min(len(raw), escapeLongBytes); ; n-- {
		if len(escapeBytes(raw[:n])) <= escapeLongBytes {
			return raw[:n]
		}
	}
}

// ownName reports whether a name is one of a path, and not taken for an escape.
func ownName(raw string) bool {
	return raw != "" && raw != "." && raw != ".." && len(raw) <= granary.NameLengthMax && strings.IndexByte(raw, 0) < 0 && !isEscape(raw)
}

// isEscape reports whether a name has the form of an escape.
func isEscape(name string) bool {
	return len(name) > 0 && name[0] == '%' && (strings.HasPrefix(name, escapeFile) || strings.HasPrefix(name, escapeDir))
}

// escapeBytes escapes what a name cannot hold, and what an escape begins with.
func escapeBytes(raw string) string {
	if strings.IndexByte(raw, 0) < 0 && strings.IndexByte(raw, '%') < 0 {
		return raw
	}
	return strings.NewReplacer("\x00", "%00", "%", "%25").Replace(raw)
}

// escaped is an escape taken apart.
type escaped struct {
	entryName        // if hash is "", the whole name, else what it begins with
	hash      string // of a name that is too long
}

// matches reports whether a name that begins as e.raw is the one that is meant.
func (e *escaped) matches(raw string, dir bool) bool {
	return shownName(raw, dir, true) == e.shown()
}

func (e *escaped) shown() string {
	prefix := escapeFile
	if e.kind == dirName {
		prefix = escapeDir
	}
	return prefix + escapeBytes(e.raw) + escapeLong + e.hash
}

// parseEscape takes a name apart that has the form of an escape; false if shownName would not have made it.
func parseEscape(name string) (escaped, bool) {
	e := escaped{entryName: entryName{kind: fileName}}
	rest, ok := strings.CutPrefix(name, escapeFile)
	if !ok {
		e.kind = dirName
		if rest, ok = strings.CutPrefix(name, escapeDir); !ok {
			return e, false
		}
	}
	if i := len(rest) - len(escapeLong) - 2*escapeHashBytes; i >= 0 && strings.HasPrefix(rest[i:], escapeLong) {
		e.hash, rest = rest[i+len(escapeLong):], rest[:i]
	}
	e.raw = strings.NewReplacer("%00", "\x00", "%25", "%").Replace(rest)
	if escapeBytes(e.raw) != rest || strings.IndexByte(rest, '/') >= 0 {
		return e, false
	}
	return e, e.hash != "" || len(name) <= granary.NameLengthMax
}

// longVisitsMax bounds the names that are looked at for one that is too long to be shown.
const longVisitsMax = 1000

// meaning says which entry of a directory a name means that has the form of an escape. has says whether there is a directory
// of a name; visit goes through the entries whose names begin in a way, until it is told false.
func meaning(op, name string, has func(raw string) bool, visit func(start string, f func(raw string, dir bool) bool)) (entryName, *granary.Error) {
	e, ok := parseEscape(name)
	switch {
	case !ok:
		return entryName{}, granary.Errorf(granary.KindInvalid, op, name, "it begins as the escape of a key's name, and is none")
	case e.hash == "" && ownName(e.raw) && (e.kind == dirName || !has(e.raw)):
		return entryName{}, granary.Errorf(granary.KindInvalid, op, name, "the escape of a name that needs none: it is %q", e.raw)
	case e.hash == "":
		return e.entryName, nil
	}
	found, visits := "", 0
	visit(e.raw, func(raw string, dir bool) bool {
		visits++
		if dir == (e.kind == dirName) && len(raw) > len(e.raw) && e.matches(raw, dir) {
			found = raw
		}
		return found == "" && visits < longVisitsMax
	})
	if found == "" {
		return entryName{}, granary.Errorf(granary.KindNotFound, op, name, "")
	}
	return entryName{found, e.kind}, nil
}

// entry says which entry of a directory a name means: its own, or that which it is the escape of.
func (t *txn) entry(op string, dir *inodeRecord, name string) (entryName, *granary.Error) {
	if !t.escapes || !isEscape(name) {
		return entryName{raw: name}, checkName(op, name)
	}
	if err := checkName(op, name); err != nil {
		return entryName{}, err
	}
	has := func(raw string) bool { return t.find(dir.Inode, entryName{raw, dirName}) != nil }
	return meaning(op, name, has, func(start string, f func(string, bool) bool) {
		prefix := keyDentry(dir.Inode, start, false)
		t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool { return f(dentryName(k)) })
	})
}

// entry says which entry of a directory a name means.
func (v *view) entry(op string, dir granary.InodeID, name string) (entryName, error) {
	if err := checkName(op, name); err != nil {
		return entryName{}, err
	}
	if !isEscape(name) {
		return entryName{raw: name}, nil
	}
	var failure error
	has := func(raw string) bool {
		d, err := read[dentryRecord](v, keyDentry(dir, raw, true))
		failure = firstError(failure, err)
		return d != nil
	}
	e, err := meaning(op, name, has, func(start string, f func(string, bool) bool) {
		prefix := keyDentry(dir, start, false)
		failure = firstError(failure, v.scan(prefix, keyEnd(prefix), func(k, _ []byte) (bool, error) { return f(dentryName(k)), nil }))
	})
	switch {
	case failure != nil:
		return entryName{}, failure
	case err != nil:
		if err.Kind == granary.KindInvalid { // there is nothing by that name, though it could be
			err.Kind = granary.KindNotFound
		}
		return entryName{}, err
	}
	return e, nil
}
