package filer

import (
	"time"

	"github.com/dsorchard/granary"
)

// KeptFor returns for how long what the FS answers is sure to be what it is for everybody, without anybody being asked: the master
// tells of each change before others see it. 0 if nothing is kept (client.Options.KeepBytes), or the master does not answer.
//
// Meanwhile Lookup, GetAttr, ReadDirPage, Readlink, Xattr and Xattrs answer from memory what has been asked before, if the context
// names no caller (WithCred): permissions are then the business of who asks.
func (fs *FS) KeptFor() time.Duration {
	if fs.client == nil {
		return 0
	}
	return fs.client.KeptFor()
}

// Changed has f called with the inodes that others have changed, before anybody sees it: see client.Client.Changed.
func (fs *FS) Changed(f func(inodes []granary.InodeID, all bool)) {
	if fs.client != nil {
		fs.client.Changed(f)
	}
}
