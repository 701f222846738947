package client

import (
	"context"
	"slices"

	"github.com/dsorchard/granary"
)

// fencesKey is the key of a context's fencing tokens.
type fencesKey struct{}

// WithFences returns a context in which mutations take effect only while the path locks with these tokens are held: after that they are
// KindFenced. Those of Options.Fences, and of the context given, count as well.
func WithFences(ctx context.Context, tokens ...granary.FencingToken) context.Context {
	if len(tokens) == 0 {
		return ctx
	}
	return context.WithValue(ctx, fencesKey{}, slices.Concat(fencesIn(ctx), tokens))
}

func fencesIn(ctx context.Context) []granary.FencingToken {
	tokens, _ := ctx.Value(fencesKey{}).([]granary.FencingToken)
	return tokens
}

// fences are the tokens that a mutation carries.
func (c *Client) fences(ctx context.Context) []granary.FencingToken {
	tokens := fencesIn(ctx)
	if len(c.o.Fences) == 0 || len(tokens) == 0 {
		return append(tokens, c.o.Fences...)
	}
	return slices.Concat(c.o.Fences, tokens)
}
