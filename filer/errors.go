package filer

import (
	"net/http"
	"syscall"

	"github.com/dsorchard/granary"
)

// Errno returns the error number of Linux that err's kind stands for; 0 for nil.
func Errno(err error) syscall.Errno { return errno(granary.KindOf(err)) }

// HTTPStatus returns the HTTP status that err's kind stands for; 200 for nil.
func HTTPStatus(err error) int { return httpStatus(granary.KindOf(err)) }

// errno is the table of kinds and error numbers.
func errno(k granary.Kind) syscall.Errno {
	switch k {
	case granary.KindNone:
		return 0
	case granary.KindNotFound:
		return syscall.ENOENT
	case granary.KindExists:
		return syscall.EEXIST
	case granary.KindNotDir:
		return syscall.ENOTDIR
	case granary.KindIsDir:
		return syscall.EISDIR
	case granary.KindNotEmpty:
		return syscall.ENOTEMPTY
	case granary.KindPermission, granary.KindLocked:
		return syscall.EACCES
	case granary.KindNotOwner:
		return syscall.EPERM
	case granary.KindStale, granary.KindPrecondition, granary.KindFenced:
		return syscall.ESTALE
	case granary.KindBusy, granary.KindDelegated:
		return syscall.EBUSY
	case granary.KindUnavailable:
		return syscall.ETIMEDOUT
	case granary.KindNoSpace:
		return syscall.ENOSPC
	case granary.KindQuota:
		return syscall.EDQUOT
	case granary.KindInvalid:
		return syscall.EINVAL
	case granary.KindTooLarge:
		return syscall.E2BIG
	case granary.KindCanceled:
		return syscall.EINTR
	case granary.KindCrossDataset:
		return syscall.EXDEV
	case granary.KindNotSupported:
		return syscall.ENOTSUP
	case granary.KindLoop:
		return syscall.ELOOP
	case granary.KindNameTooLong:
		return syscall.ENAMETOOLONG
	case granary.KindNoData:
		return syscall.ENODATA
	case granary.KindFileTooLarge:
		return syscall.EFBIG
	case granary.KindTooManyLinks:
		return syscall.EMLINK
	case granary.KindWouldBlock:
		return syscall.EAGAIN
	case granary.KindDeadlock:
		return syscall.EDEADLK
	case granary.KindIndeterminate, granary.KindCorrupt, granary.KindInternal, granary.KindExpired, granary.KindMissingChunks:
		return syscall.EIO
	}
	return syscall.EIO
}

// httpStatus is the table of kinds and HTTP statuses.
func httpStatus(k granary.Kind) int {
	switch k {
	case granary.KindNone:
		return http.StatusOK
	case granary.KindNotFound, granary.KindNoData:
		return http.StatusNotFound
	case granary.KindPermission, granary.KindNotOwner:
		return http.StatusForbidden
	case granary.KindExists, granary.KindNotDir, granary.KindIsDir, granary.KindNotEmpty, granary.KindStale,
		granary.KindCrossDataset, granary.KindLoop, granary.KindTooManyLinks, granary.KindDeadlock:
		return http.StatusConflict
	case granary.KindWouldBlock, granary.KindLocked:
		return http.StatusLocked
	case granary.KindPrecondition, granary.KindFenced:
		return http.StatusPreconditionFailed
	case granary.KindInvalid, granary.KindNameTooLong:
		return http.StatusBadRequest
	case granary.KindTooLarge, granary.KindFileTooLarge:
		return http.StatusRequestEntityTooLarge
	case granary.KindNotSupported:
		return http.StatusNotImplemented
	case granary.KindNoSpace, granary.KindQuota:
		return http.StatusInsufficientStorage
	case granary.KindBusy, granary.KindUnavailable, granary.KindCanceled, granary.KindExpired, granary.KindDelegated:
		return http.StatusServiceUnavailable
	case granary.KindIndeterminate, granary.KindCorrupt, granary.KindInternal, granary.KindMissingChunks:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}
