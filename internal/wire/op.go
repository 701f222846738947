package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dsorchard/granary"
)

// roomForOp is what most encoded ops fit into.
const roomForOp = 128

// MarshalOp encodes an op: equal ops give equal bytes.
func MarshalOp(op granary.Op) ([]byte, error) {
	return AppendOp(make([]byte, 0, roomForOp), op)
}

// AppendOp appends to b what MarshalOp gives.
func AppendOp(b []byte, op granary.Op) ([]byte, error) {
	f := fields{subject: "op", b: b}
	f.op(&op)
	if f.err != nil {
		return nil, f.err
	}
	return f.b, nil
}

// UnmarshalOp decodes what MarshalOp made. It keeps no reference to b. Malformed bytes, and an op
// that this program does not know all of, are KindInvalid.
func UnmarshalOp(b []byte) (granary.Op, error) {
	var op granary.Op
	f := fields{subject: "op"}
	if err := read(&f, b, &op, (*fields).op); err != nil {
		return nil, err
	}
	return op, nil
}

// Numbers of ops, as in granary.proto.
const (
	numCreate protowire.Number = iota + 1
	numUnlink
	numRmdir
	numRemoveTree
	numRename
	numLink
	numSetAttr
	numSetXattr
	numRemoveXattr
	numCommit
	numCopyRange
	numRelease
	numSetPolicy
	numOpenVolume
	numSealVolume
	numCloseSession
	numSetUser
	numAllocate
	numAssemble
	numCreateDataset
	numSetQuota
	numPlaceShard
	numMoveBlocks
	numSetDisk
	numForgetServer
	numSetUpkeep
	numMoveVolume
	numDamageShards
	numAdoptVolume
	numForgetDisk
	numAcquireLock
	numReleaseLock
	numCancelLock
	numLeaseInodes
	numTakeDelegation
	numReturnDelegation
)

// 34 to 39 are left to others.
const (
	numAcquirePaths protowire.Number = iota + 40
	numRenewPaths
	numReleasePaths
)

// 51 to 54 are left to what has to do with the change log.
const (
	numPutIdentity protowire.Number = iota + 55
	numDeleteIdentity
)

const numSetChangeLog protowire.Number = 50

// newOp returns an empty op of a number, or nil.
func newOp(num protowire.Number) granary.Op {
	switch num {
	case numCreate:
		return new(granary.Create)
	case numUnlink:
		return new(granary.Unlink)
	case numRmdir:
		return new(granary.Rmdir)
	case numRemoveTree:
		return new(granary.RemoveTree)
	case numRename:
		return new(granary.Rename)
	case numLink:
		return new(granary.Link)
	case numSetAttr:
		return new(granary.SetAttr)
	case numSetXattr:
		return new(granary.SetXattr)
	case numRemoveXattr:
		return new(granary.RemoveXattr)
	case numCommit:
		return new(granary.Commit)
	case numCopyRange:
		return new(granary.CopyRange)
	case numRelease:
		return new(granary.Release)
	case numSetPolicy:
		return new(granary.SetPolicy)
	case numOpenVolume:
		return new(granary.OpenVolume)
	case numSealVolume:
		return new(granary.SealVolume)
	case numCloseSession:
		return new(granary.CloseSession)
	case numSetUser:
		return new(granary.SetUser)
	case numAllocate:
		return new(granary.Allocate)
	case numAssemble:
		return new(granary.Assemble)
	case numCreateDataset:
		return new(granary.CreateDataset)
	case numSetQuota:
		return new(granary.SetQuota)
	case numPlaceShard:
		return new(granary.PlaceShard)
	case numMoveBlocks:
		return new(granary.MoveBlocks)
	case numSetDisk:
		return new(granary.SetDisk)
	case numForgetServer:
		return new(granary.ForgetServer)
	case numSetUpkeep:
		return new(granary.SetUpkeep)
	case numMoveVolume:
		return new(granary.MoveVolume)
	case numDamageShards:
		return new(granary.DamageShards)
	case numAdoptVolume:
		return new(granary.AdoptVolume)
	case numForgetDisk:
		return new(granary.ForgetDisk)
	case numAcquireLock:
		return new(granary.AcquireLock)
	case numReleaseLock:
		return new(granary.ReleaseLock)
	case numCancelLock:
		return new(granary.CancelLock)
	case numLeaseInodes:
		return new(granary.LeaseInodes)
	case numTakeDelegation:
		return new(granary.TakeDelegation)
	case numReturnDelegation:
		return new(granary.ReturnDelegation)
	case numAcquirePaths:
		return new(granary.AcquirePaths)
	case numRenewPaths:
		return new(granary.RenewPaths)
	case numReleasePaths:
		return new(granary.ReleasePaths)
	case numPutIdentity:
		return new(granary.PutIdentity)
	case numDeleteIdentity:
		return new(granary.DeleteIdentity)
	case numSetChangeLog:
		return new(granary.SetChangeLog)
	}
	return nil
}

// op is a message with one field, whose number says which op it is. There is a case for every Op.
func (f *fields) op(op *granary.Op) {
	if f.reading {
		num, _ := protowire.DecodeTag(f.tag)
		*op = newOp(num)
	}
	const what = "op" // if it is not bytes
	switch o := (*op).(type) {
	case *granary.Create:
		required(f, numCreate, o, (*fields).create, what)
	case *granary.Unlink:
		required(f, numUnlink, o, (*fields).unlink, what)
	case *granary.Rmdir:
		required(f, numRmdir, o, (*fields).rmdir, what)
	case *granary.RemoveTree:
		required(f, numRemoveTree, o, (*fields).removeTree, what)
	case *granary.Rename:
		required(f, numRename, o, (*fields).rename, what)
	case *granary.Link:
		required(f, numLink, o, (*fields).link, what)
	case *granary.SetAttr:
		required(f, numSetAttr, o, (*fields).setAttr, what)
	case *granary.SetXattr:
		required(f, numSetXattr, o, (*fields).setXattr, what)
	case *granary.RemoveXattr:
		required(f, numRemoveXattr, o, (*fields).removeXattr, what)
	case *granary.Commit:
		required(f, numCommit, o, (*fields).commit, what)
	case *granary.CopyRange:
		required(f, numCopyRange, o, (*fields).copyRange, what)
	case *granary.Release:
		required(f, numRelease, o, (*fields).release, what)
	case *granary.SetPolicy:
		required(f, numSetPolicy, o, (*fields).setPolicy, what)
	case *granary.OpenVolume:
		required(f, numOpenVolume, o, (*fields).openVolume, what)
	case *granary.SealVolume:
		required(f, numSealVolume, o, (*fields).sealVolume, what)
	case *granary.CloseSession:
		required(f, numCloseSession, o, (*fields).closeSession, what)
	case *granary.SetUser:
		required(f, numSetUser, o, (*fields).setUser, what)
	case *granary.Allocate:
		required(f, numAllocate, o, (*fields).allocate, what)
	case *granary.Assemble:
		required(f, numAssemble, o, (*fields).assemble, what)
	case *granary.CreateDataset:
		required(f, numCreateDataset, o, (*fields).createDataset, what)
	case *granary.SetQuota:
		required(f, numSetQuota, o, (*fields).setQuota, what)
	case *granary.PlaceShard:
		required(f, numPlaceShard, o, (*fields).placeShard, what)
	case *granary.MoveBlocks:
		required(f, numMoveBlocks, o, (*fields).moveBlocks, what)
	case *granary.SetDisk:
		required(f, numSetDisk, o, (*fields).setDisk, what)
	case *granary.ForgetServer:
		required(f, numForgetServer, o, (*fields).forgetServer, what)
	case *granary.SetUpkeep:
		required(f, numSetUpkeep, o, (*fields).setUpkeep, what)
	case *granary.MoveVolume:
		required(f, numMoveVolume, o, (*fields).moveVolume, what)
	case *granary.DamageShards:
		required(f, numDamageShards, o, (*fields).damageShards, what)
	case *granary.AdoptVolume:
		required(f, numAdoptVolume, o, (*fields).adoptVolume, what)
	case *granary.ForgetDisk:
		required(f, numForgetDisk, o, (*fields).forgetDisk, what)
	case *granary.AcquireLock:
		required(f, numAcquireLock, o, (*fields).acquireLock, what)
	case *granary.ReleaseLock:
		required(f, numReleaseLock, o, (*fields).releaseLock, what)
	case *granary.CancelLock:
		required(f, numCancelLock, o, (*fields).cancelLock, what)
	case *granary.LeaseInodes:
		required(f, numLeaseInodes, o, (*fields).leaseInodes, what)
	case *granary.TakeDelegation:
		required(f, numTakeDelegation, o, (*fields).takeDelegation, what)
	case *granary.ReturnDelegation:
		required(f, numReturnDelegation, o, (*fields).returnDelegation, what)
	case *granary.AcquirePaths:
		required(f, numAcquirePaths, o, (*fields).acquirePaths, what)
	case *granary.RenewPaths:
		required(f, numRenewPaths, o, (*fields).renewPaths, what)
	case *granary.ReleasePaths:
		required(f, numReleasePaths, o, (*fields).releasePaths, what)
	case *granary.PutIdentity:
		required(f, numPutIdentity, o, (*fields).putIdentity, what)
	case *granary.DeleteIdentity:
		required(f, numDeleteIdentity, o, (*fields).deleteIdentity, what)
	case *granary.SetChangeLog:
		required(f, numSetChangeLog, o, (*fields).setChangeLog, what)
	default:
		f.unknownOp(*op)
	}
}

func (f *fields) unknownOp(op granary.Op) {
	if f.reading {
		f.bad("no op, or one that is not known here")
	} else {
		f.err = granary.Errorf(granary.KindInvalid, "encode", f.subject, "no encoding for %T", op)
	}
}
