// Package lint holds the rules of the house as tests: who may import whom, who may hold state, what must be
// documented. A rule that matters is a test. It reads the source of the whole module, and each violation is
// reported with its file and line.
//
// A call of time.Sleep that really must wait for the clock says why in a comment "//lint:sleep because …" on its
// line or the one above. No other rule has a way around it.
package lint
