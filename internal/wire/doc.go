// Package wire carries Granary's contracts between processes: the .proto files, the code generated
// from them, and adapters that turn them into the Go types of package granary at both ends. No
// other package sees a protobuf type.
//
// Master is the service; ServeMaster puts it on a gRPC server, DialMaster reaches one. Errors cross
// as *granary.Error with op, subject, kind and cause (a *granary.NotLeader is kept). MarshalOp and
// MarshalResult are the same encodings as bytes, for the Raft log and the table of results.
package wire
