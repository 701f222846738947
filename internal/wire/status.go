package wire

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// kindCodes is the one table of kinds and gRPC codes. Our clients read the kind from the detail; the
// code is for those that know no details, and for proxies.
var kindCodes = [...]codes.Code{
	granary.KindNone:          codes.Unknown, // an error all the same
	granary.KindNotFound:      codes.NotFound,
	granary.KindExists:        codes.AlreadyExists,
	granary.KindNotDir:        codes.FailedPrecondition,
	granary.KindIsDir:         codes.FailedPrecondition,
	granary.KindNotEmpty:      codes.FailedPrecondition,
	granary.KindPermission:    codes.PermissionDenied,
	granary.KindStale:         codes.Aborted,
	granary.KindBusy:          codes.Aborted,
	granary.KindUnavailable:   codes.Unavailable,
	granary.KindIndeterminate: codes.Unknown,
	granary.KindNoSpace:       codes.ResourceExhausted,
	granary.KindQuota:         codes.ResourceExhausted,
	granary.KindCorrupt:       codes.DataLoss,
	granary.KindInvalid:       codes.InvalidArgument,
	granary.KindTooLarge:      codes.OutOfRange,
	granary.KindCanceled:      codes.Canceled,
	granary.KindInternal:      codes.Internal,
	granary.KindCrossDataset:  codes.FailedPrecondition,
	granary.KindPrecondition:  codes.FailedPrecondition,
	granary.KindNotSupported:  codes.Unimplemented,
	granary.KindExpired:       codes.FailedPrecondition,
	granary.KindMissingChunks: codes.FailedPrecondition,
	granary.KindLoop:          codes.FailedPrecondition,
	granary.KindNameTooLong:   codes.InvalidArgument,
	granary.KindNoData:        codes.NotFound,
	granary.KindFileTooLarge:  codes.OutOfRange,
	granary.KindTooManyLinks:  codes.FailedPrecondition,
	granary.KindNotOwner:      codes.PermissionDenied,
	granary.KindWouldBlock:    codes.FailedPrecondition,
	granary.KindDeadlock:      codes.FailedPrecondition,
	granary.KindDelegated:     codes.Aborted,
	granary.KindLocked:        codes.PermissionDenied,
	granary.KindFenced:        codes.FailedPrecondition,
}

// errorTextMax bounds the texts of an error in a status: trailers are no place for more.
const errorTextMax = 4 << 10

// statusOf turns an error of the master into what a gRPC handler returns.
func statusOf(err error) error {
	p := errorTo(err)
	p.Subject = p.Subject[:min(len(p.Subject), errorTextMax)]
	if len(p.Cause) > errorTextMax {
		p.Cause = p.Cause[:errorTextMax]
	}
	code := codes.Unknown
	if int(p.Kind) < len(kindCodes) {
		code = kindCodes[p.Kind]
	}
	// A status whose message is not UTF-8 would lose its details on the way.
	text := err.Error()
	text = strings.ToValidUTF8(text[:min(len(text), errorTextMax)], "\uFFFD")
	s, derr := status.New(code, text).WithDetails(p)
	if derr != nil {
		return status.Error(codes.Internal, derr.Error())
	}
	return s.Err()
}

// errorOf turns what a gRPC call returned into a granary.Error: the one that the master sent, or,
// when there is no word from it, what is known then. mutation says that the call may have changed
// something even so.
func errorOf(ctx context.Context, err error, op, addr string, mutation bool) error {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if p, ok := detail.(*pb.ErrorDetail); ok {
			d := decoder{subject: "error"}
			if e := d.error(p); d.err == nil {
				if mutation && e.Kind == granary.KindCanceled {
					e.Kind = granary.KindIndeterminate // the handler gave up: on what, it does not say
				}
				return e
			}
		}
	}
	kind := kindWithoutDetail(s.Code())
	// gRPC keeps time on its own: its deadline may pass a moment before the context's.
	cause := err
	switch {
	case ctx.Err() != nil:
		kind, cause = granary.KindCanceled, ctx.Err()
	case s.Code() == codes.DeadlineExceeded:
		kind, cause = granary.KindCanceled, context.DeadlineExceeded
	}
	if mutation && (kind == granary.KindUnavailable || kind == granary.KindCanceled || kind == granary.KindTooLarge) {
		kind = granary.KindIndeterminate
	}
	return &granary.Error{Op: op, Subject: addr, Kind: kind, Err: cause}
}

// kindWithoutDetail is for statuses that gRPC itself made, here or at the other end. Those that say
// nothing certain are KindUnavailable.
func kindWithoutDetail(code codes.Code) granary.Kind {
	switch code {
	case codes.Unimplemented:
		return granary.KindNotSupported
	case codes.PermissionDenied, codes.Unauthenticated:
		return granary.KindPermission
	case codes.ResourceExhausted:
		return granary.KindTooLarge
	default:
		return granary.KindUnavailable
	}
}
