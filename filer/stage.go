package filer

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	// stagePrefix begins the names of stages among the uploads in progress of a dataset.
	stagePrefix = "stage-"
	stageTree   = "tree"
)

// StageOptions says what a tree is to become.
type StageOptions struct {
	Root granary.InodeID
	Path string
	Mode uint32 // of the directory
	Cred granary.Cred
	// Replace has the tree take the place of a directory that is not empty, which is removed with all that is in it.
	// Otherwise only an empty one is replaced.
	Replace bool
}

// Stage is a directory that nobody sees before it is whole: it grows where uploads in progress are kept, in the dataset in
// which it will be, under the policy of its future place, and gets its name in one step. What a stage left that was neither
// published nor discarded, SweepStages removes.
type Stage struct {
	Tree granary.InodeID // to be filled, by inode and name

	fs   *FS
	o    StageOptions
	name string          // among the uploads in progress …
	home granary.InodeID // … of the directory that holds the tree
}

// Stage begins a directory.
func (fs *FS) Stage(ctx context.Context, o StageOptions) (*Stage, error) {
	rel, err := named("stage", o.Path)
	if err != nil {
		return nil, err
	}
	asked := client.WithCred(ctx, o.Cred)
	p, err := fs.placeFile(asked, "stage", o.Root, rel)
	if err != nil {
		return nil, err
	}
	s := &Stage{fs: fs, o: o, name: stagePrefix + strings.ToLower(rand.Text())}
	attr := p.home
	if there, err := fs.Stat(asked, o.Root, o.Path, StatOptions{}); err == nil {
		if err := s.check(&there.Attr); err != nil {
			return nil, err
		}
		attr = there.Attr
	} else if !granary.IsKind(err, granary.KindNotFound) {
		return nil, err
	}
	home, err := fs.MakeDir(ctx, DirOptions{Root: p.home.Inode.Dataset().System(), Path: s.name, Mode: 0o700})
	if err != nil {
		return nil, err
	}
	s.home = home.Attr.Inode
	if err := s.plant(ctx, &attr); err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

// check refuses what a tree cannot take the place of.
func (s *Stage) check(a *granary.Attr) error {
	switch {
	case !a.IsDir():
		return granary.Errorf(granary.KindNotDir, "stage", s.o.Path, "there is a %s", a.Type)
	case a.Inode == a.Inode.Dataset().Root():
		return granary.Errorf(granary.KindCrossDataset, "stage", s.o.Path, "the root of a dataset stays where it is")
	case a.Entries > 0 && !s.o.Replace:
		return granary.Errorf(granary.KindNotEmpty, "stage", s.o.Path, "there is a directory with %d entries", a.Entries)
	case s.o.Cred.UID != 0 && s.o.Cred.UID != a.UID:
		return granary.Errorf(granary.KindNotOwner, "stage", s.o.Path, "a directory is its owner's to replace")
	}
	return nil
}

// plant makes the tree, under the policy of what it is to replace or to lie in.
func (s *Stage) plant(ctx context.Context, like *granary.Attr) error {
	uid, gid := s.fs.ownerOf(s.o.Cred)
	r, err := s.fs.store.Do(ctx, granary.Cred{}, &granary.Create{
		Parent: s.home, Name: stageTree, Type: granary.TypeDirectory, Mode: s.o.Mode, UID: uid, GID: gid,
	})
	if err != nil {
		return err
	}
	s.Tree = r.Attr.Inode
	own := like.Flags&granary.FlagPolicy != 0 && s.o.Replace
	if r.Attr.Policy == like.Policy && !own {
		return nil
	}
	policy, err := ask[*granary.PolicyIs](ctx, s.fs.store, &granary.GetPolicy{Policy: like.Policy})
	if err != nil {
		return err
	}
	_, err = s.fs.store.Do(ctx, granary.Cred{}, &granary.SetPolicy{Inode: s.Tree, Policy: policy.Policy, Inherited: !own})
	return err
}

// Publish gives the tree its name: KindNotEmpty if there is a directory with something in it meanwhile. The stage has ended then,
// whether or not that succeeds.
func (s *Stage) Publish(ctx context.Context) (*Info, error) {
	defer s.Discard()
	rel, err := named("stage", s.o.Path)
	if err != nil {
		return nil, err
	}
	dir, name := splitPath(rel)
	parent, err := s.fs.MkdirAll(ctx, s.o.Cred, s.o.Root, "/"+dir, 0o755)
	if err != nil {
		return nil, err
	}
	// The hidden directory is nobody's: the door moves the tree with its own authority, where the caller could.
	may := &granary.Lookup{Base: parent.Attr.Inode, Access: granary.AccessWrite | granary.AccessExecute}
	if _, err := ask[*granary.Found](client.WithCred(ctx, s.o.Cred), s.fs.store, may); err != nil {
		return nil, err
	}
	op := granary.Rename{SrcParent: s.home, SrcName: stageTree, DstParent: parent.Attr.Inode, DstName: name}
	r, err := s.fs.store.Do(ctx, granary.Cred{}, &op)
	if granary.IsKind(err, granary.KindNotEmpty) && s.o.Replace {
		r, err = s.exchange(ctx, op)
	}
	if err != nil {
		return nil, err
	}
	return &Info{Name: name, Parent: parent.Attr.Inode, Attr: r.Attr}, nil
}

// exchange has the tree and what is at its place change places. What was there goes with the stage.
func (s *Stage) exchange(ctx context.Context, op granary.Rename) (granary.Result, error) {
	there, err := s.fs.Lookup(ctx, op.DstParent, op.DstName)
	if err != nil {
		return granary.Result{}, err
	}
	if err := s.check(&there.Attr); err != nil {
		return granary.Result{}, err
	}
	op.Exchange = true
	return s.fs.store.Do(ctx, granary.Cred{}, &op)
}

// Discard removes what was not published. After Publish there is nothing left to do.
func (s *Stage) Discard() {
	if s.name == "" {
		return
	}
	// In the background of the FS: the caller may be gone, or have lost a lock that its changes depend on.
	_, err := s.fs.store.Do(s.fs.ctx, granary.Cred{}, &granary.RemoveTree{Parent: s.home.Dataset().System(), Name: s.name})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		s.fs.log.Warn("stage not removed", "name", s.name, "err", err)
	}
	s.name = ""
}

// SweepStages removes the stages of a dataset that were begun before a time: those of a process that ended before they were whole.
func (fs *FS) SweepStages(ctx context.Context, dataset granary.DatasetID, before time.Time) error {
	var stale []string
	err := fs.ReadDir(ctx, dataset.System(), func(e granary.Entry) bool {
		if strings.HasPrefix(e.Name, stagePrefix) && e.Attr.Btime.Std().Before(before) {
			stale = append(stale, e.Name)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, name := range stale {
		_, err := fs.store.Do(ctx, granary.Cred{}, &granary.RemoveTree{Parent: dataset.System(), Name: name})
		if err != nil && !granary.IsKind(err, granary.KindNotFound) {
			return err
		}
	}
	return nil
}
