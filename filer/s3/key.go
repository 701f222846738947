package s3

import (
	"strings"
	"unicode/utf8"

	"github.com/dsorchard/granary"
)

// keyLengthMax is the longest key that can be written, in bytes, as in AWS. Files with longer paths,
// made through other doors, can be read, listed and deleted.
const keyLengthMax = 1024

// isMarkerKey reports whether a key ends in a slash: it then names a directory that lists as an
// object, and never a file.
func isMarkerKey(key string) bool { return strings.HasSuffix(key, "/") }

// checkKey refuses keys that no path of a directory tree can stand for.
func checkKey(key string) error {
	if len(key) > keyLengthMax {
		return refuse(codeKeyTooLong, "Your key is too long: it has %d bytes, and may have %d.", len(key), keyLengthMax)
	}
	if !utf8.ValidString(key) || strings.ContainsRune(key, 0) {
		return refuse(codeInvalidArgument, "The key is not valid UTF-8, or holds a NUL.")
	}
	for component := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		switch {
		case component == "":
			return refuse(codeInvalidArgument, "The key has an empty path component: keys are paths here, and \"//\" or a leading \"/\" cannot be kept.")
		case component == ".", component == "..":
			return refuse(codeInvalidArgument, "The key has the path component %q: keys are paths here, and it cannot be kept.", component)
		case len(component) > granary.NameLengthMax:
			return refuse(codeKeyTooLong, "A path component of the key has %d bytes, and may have %d.", len(component), granary.NameLengthMax)
		}
	}
	return nil
}

// readableKey reports whether anything by that key can exist. The cleaner of paths must never get to
// see what it would turn into another key.
func readableKey(key string) bool {
	for component := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if component == "" || component == "." || component == ".." || len(component) > granary.NameLengthMax ||
			strings.ContainsRune(component, 0) {
			return false
		}
	}
	return len(key) <= granary.PathLengthMax
}
