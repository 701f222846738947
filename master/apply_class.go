package master

import (
	"strings"

	"github.com/dsorchard/granary"
)

// Files of a storage class have a policy of their own that names it. Rules of classes are attributes of the directory of buckets; what they are
// when an id of a policy is asked for is the asker's business, and when they change all buckets are looked at (markSweep).

// isClassRule reports whether an attribute holds the rule of a class.
func isClassRule(r *inodeRecord, name string) bool {
	return r.Inode == granary.BucketsInode && strings.HasPrefix(name, granary.XattrStorageClass)
}

// setClassRule refuses a rule that cannot be obeyed, and has what is stored in the class looked at.
func (t *txn) setClassRule(op string, r *inodeRecord, name string, value []byte) *granary.Error {
	if !t.classes || !isClassRule(r, name) {
		return nil
	}
	if class := strings.TrimPrefix(name, granary.XattrStorageClass); !granary.IsStorageClass(class) {
		return granary.Errorf(granary.KindInvalid, op, name, "there is no class %q", class)
	}
	if _, err := granary.ParseClassRule(value); err != nil {
		return granary.Errorf(granary.KindInvalid, op, name, "%w", err)
	}
	t.markSweep(granary.BucketsInode)
	return nil
}

// classPolicy gives a policy with a class an id, and no inode.
func (t *txn) classPolicy(p granary.Policy) granary.Result {
	if err := t.onlySuper("set policy", p.StorageClass); err != nil {
		return granary.Result{Err: err}
	}
	if err := p.Validate(); err != nil {
		return failed(granary.KindInvalid, "set policy", p.StorageClass, "%w", err)
	}
	return granary.Result{Attr: granary.Attr{Policy: t.internPolicy(p)}}
}

// choosePolicy gives a new file the policy that its maker has chosen.
func (t *txn) choosePolicy(op *granary.Create, r *inodeRecord) *granary.Error {
	if op.Policy == 0 {
		return nil
	}
	p := fetch[policyRecord](t, keyPolicy(op.Policy))
	switch {
	case op.Type != granary.TypeRegular:
		return granary.Errorf(granary.KindInvalid, "create", op.Name, "only files are made with a policy")
	case p == nil:
		return granary.Errorf(granary.KindInvalid, "create", op.Name, "there is no policy %d", op.Policy)
	case p.StorageClass == "":
		if err := t.onlySuper("create", op.Name); err != nil {
			return err
		}
	}
	r.Policy = op.Policy
	r.Flags |= granary.FlagPolicy
	return nil
}

// sameClass reports whether a policy is for the class that a file is in already.
func (t *txn) sameClass(r *inodeRecord, p granary.Policy) bool {
	return p.StorageClass != "" && t.policyOf(r).StorageClass == p.StorageClass
}

// markMisplaced has a file looked at whose content refers to blocks that lie otherwise than its policy says, if a storage class is the reason. Those
// that can lose more shards than it asks for may stay.
func (t *txn) markMisplaced(r *inodeRecord, c *granary.Content, blocks []granary.BlockID) {
	if !t.classes {
		return
	}
	var own granary.Policy
	var last granary.VolumeID
	for i := range c.Chunks {
		at := t.blocks.get(t, blocks[i]).Location.Volume
		if c.Chunks[i].New || at == last {
			continue
		}
		last = at
		v := t.volumes.get(t, at)
		if v.Policy == r.Policy {
			continue
		}
		under := fetch[policyRecord](t, keyPolicy(v.Policy))
		if own == (granary.Policy{}) {
			own = t.policyOf(r)
		}
		if under == nil || under.StorageClass == "" && own.StorageClass == "" || !differ(under.Policy, own) || !own.Auto() && own.ParityShards < v.ParityShards {
			continue
		}
		t.markSweep(r.Inode)
		return
	}
}

// differ reports whether volumes under one policy are not such as another gives.
func differ(a, b granary.Policy) bool {
	return a.DataShards != b.DataShards || a.ParityShards != b.ParityShards || a.Class != b.Class
}

// markCopied has a file looked at to which content was copied by reference from one that is stored in another class.
func (t *txn) markCopied(src, dst *inodeRecord) {
	if t.classes && src.Policy != dst.Policy && t.policyOf(src).StorageClass != t.policyOf(dst).StorageClass {
		t.markSweep(dst.Inode)
	}
}
