package master

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// checksDefault is how often a property is tried in a run that does not say -rapid.checks: enough to
// catch what breaks often, in a time that one likes to wait.
const checksDefault = "20"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", checksDefault); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
