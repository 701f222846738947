package client

import (
	"context"

	"github.com/dsorchard/granary"
)

// originKey is the key of a context's origin.
type originKey struct{}

// WithOrigin returns a context in which mutations say how they came about, to those who watch.
func WithOrigin(ctx context.Context, o granary.Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

func originIn(ctx context.Context) granary.Origin {
	o, _ := ctx.Value(originKey{}).(granary.Origin)
	return o
}
