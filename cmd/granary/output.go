package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes v as JSON, or the table that the function makes.
func (env *environment) print(w io.Writer, v any, table func(t *tableWriter)) error {
	switch env.output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "table", "":
		t := &tableWriter{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
		table(t)
		return t.w.Flush()
	}
	return usagef("--output %q is neither table nor json", env.output)
}

// tableWriter prints aligned columns.
type tableWriter struct{ w *tabwriter.Writer }

func (t *tableWriter) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(t.w, strings.Join(text, "\t"))
}

// byteText writes a number of bytes for people.
func byteText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := uint64(unit), 0
	for v := n / unit; v >= unit; v /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}
