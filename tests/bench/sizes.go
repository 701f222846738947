package main

import (
	"fmt"
	"strconv"
	"strings"
)

// sizeList is numbers that a flag names: 8, or 4K, 1M, 1G in powers of 1,024, with commas between them.
type sizeList []int64

// Set implements flag.Value.
func (l *sizeList) Set(text string) error {
	*l = nil
	for one := range strings.SplitSeq(text, ",") {
		shift := 0
		if at := strings.IndexAny(one, "KMG"); at == len(one)-1 && at > 0 {
			shift = 10 * (1 + strings.IndexByte("KMG", one[at]))
			one = one[:at]
		}
		n, err := strconv.ParseInt(one, 10, 64)
		if err != nil {
			return err
		}
		if n <= 0 {
			return fmt.Errorf("%d is not above zero", n)
		}
		*l = append(*l, n<<shift)
	}
	return nil
}

// String implements flag.Value.
func (l *sizeList) String() string {
	var all []string
	for _, n := range *l {
		all = append(all, strings.ReplaceAll(sizeText(int(n)), " ", ""))
	}
	return strings.Join(all, ",")
}

func sizeText(n int) string {
	switch {
	case n == 0:
		return "-"
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}
