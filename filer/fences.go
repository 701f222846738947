package filer

import (
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

// ParseFences reads the fencing tokens of headers: numbers, with commas between them.
func ParseFences(headers []string) (tokens []granary.FencingToken, err error) {
	for _, header := range headers {
		for text := range strings.SplitSeq(header, ",") {
			n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
			if err != nil || n == 0 {
				return nil, granary.Errorf(granary.KindInvalid, "parse", "", "%q is no fencing token", text)
			}
			tokens = append(tokens, granary.FencingToken(n))
		}
	}
	if len(tokens) > granary.FencesMax {
		return nil, granary.Errorf(granary.KindInvalid, "parse", "", "%d fencing tokens, of %d at most", len(tokens), granary.FencesMax)
	}
	return tokens, nil
}
