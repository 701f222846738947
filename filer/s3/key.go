package s3

import (
	"unicode/utf8"
)

// keyLengthMax is the longest key that can be written, in bytes, as in AWS. Files with longer paths,
// made through other doors, can be read, listed and deleted.
const keyLengthMax = 1024

// checkKey refuses keys that are none.
func checkKey(key string) error {
	if len(key) > keyLengthMax {
		return refuse(codeKeyTooLong, "Your key is too long: it has %d bytes, and may have %d.", len(key), keyLengthMax)
	}
	if !utf8.ValidString(key) {
		return refuse(codeInvalidArgument, "The key is not valid UTF-8.")
	}
	return nil
}
