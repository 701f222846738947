// Command sdk uses an S3 service as programs in Go do that are built on the AWS SDK for Go, version 2. It is a module of its own, so that nobody who
// only wants Granary has to do with that SDK; tests/e2e builds and runs it.
//
//	sdk ENDPOINT BUCKET TREE BACK
//
// It brings the files of TREE into BUCKET, which it makes, and from there to BACK, with the SDK's transfer manager, then goes through what else
// programs do, removes everything, and ends with an error as soon as an answer is not what S3 would give.
package main
