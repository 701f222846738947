// Package wire carries Granary's contracts between processes: the .proto file, the code generated
// from it, and adapters that turn them into the Go types of package granary at both ends. No
// other package sees a protobuf type.
//
// Master is the service; ServeMaster puts it on a gRPC server, DialMaster reaches one. Errors cross
// as *granary.Error with op, subject, kind and cause (a *granary.NotLeader is kept). MarshalOp and
// MarshalResult are the same encodings as bytes, for the Raft log and the table of results.
//
// # Format
//
// MarshalOp gives the message granary.v1.Op of granary.proto, MarshalResult granary.v1.Result; both
// in the order of field numbers, with nothing around them: framing, checksums and versions are those
// of whoever stores the bytes. Field numbers are added, never reused or changed in meaning. These two, the requests
// that hold ops, and the listings of directories are written and read by fields.go, which gives the bytes that protobuf
// would, at less cost; all other messages are left to protobuf. In an op nothing may be unknown, for a node that passed over a part of what it applies
// would differ from the others; in a result, what newer programs have added is passed over.
//
// # Invariants
//
//  1. Every field of every Op, Query, Answer, Result and of what they hold crosses unchanged; nil
//     and empty are told apart in Content.Inline, Layout.Inline and all pointers. Other empty
//     slices become nil.
//  2. What was decoded is valid in form: every required message is there, hashes have their length,
//     numbers fit their Go types. Anything else is KindInvalid.
//  3. Text is any bytes, UTF-8 or not.
//  4. What fields.go writes is what protobuf writes, and what it accepts means the same to protobuf (TestOpsAreProtobuf,
//     TestResultsAreProtobuf, TestListingsAreProtobuf, TestOnlyKnownFields, FuzzAgainstProtobuf).
//  5. A mutation whose reply did not arrive is KindIndeterminate, unless gRPC says that no handler
//     ever saw it.
package wire

//go:generate protoc --go_out=pb --go_opt=paths=source_relative --go-grpc_out=pb --go-grpc_opt=paths=source_relative granary.proto
