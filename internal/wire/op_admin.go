package wire

import "github.com/dsorchard/granary"

// The ops of administration: datasets, quotas, policies, volumes, sessions, users.

func (f *fields) createDataset(o *granary.CreateDataset) {
	unsigned(f, 1, &o.Parent)
	text(f, 2, &o.Name)
	unsigned(f, 3, &o.Mode)
	unsigned(f, 4, &o.UID)
	unsigned(f, 5, &o.GID)
}

func (f *fields) setQuota(o *granary.SetQuota) {
	unsigned(f, 1, &o.Dataset)
	unsigned(f, 2, &o.Scope)
	unsigned(f, 3, &o.ID)
	required(f, 4, &o.Limit, (*fields).quota, "limit")
}

func (f *fields) quota(q *granary.Quota) {
	unsigned(f, 1, &q.Bytes)
	unsigned(f, 2, &q.Inodes)
}

func (f *fields) setPolicy(o *granary.SetPolicy) {
	unsigned(f, 1, &o.Inode)
	required(f, 2, &o.Policy, (*fields).policy, "policy")
	f.flag(3, &o.Inherited)
}

func (f *fields) policy(y *granary.Policy) {
	signed(f, 1, &y.DataShards)
	signed(f, 2, &y.ParityShards)
	signed(f, 3, &y.InlineMax)
	unsigned(f, 4, &y.Compression)
	unsigned(f, 5, &y.Chunking)
	text(f, 6, &y.Class)
	text(f, 7, &y.StorageClass)
}

func (f *fields) openVolume(o *granary.OpenVolume) {
	unsigned(f, 1, &o.Policy)
	texts(f, 2, &o.Exclude)
	optional(f, 3, &o.Placement, (*fields).placement)
}

func (f *fields) placement(l *granary.Placement) {
	signed(f, 1, &l.DataShards)
	signed(f, 2, &l.ParityShards)
	texts(f, 3, &l.Disks)
}

func (f *fields) sealVolume(o *granary.SealVolume) {
	unsigned(f, 1, &o.Volume)
	unsigned(f, 2, &o.Epoch)
	f.flag(3, &o.Force)
}

func (f *fields) closeSession(*granary.CloseSession) {}

func (f *fields) setUser(o *granary.SetUser) {
	required(f, 1, &o.User, (*fields).user, "user")
}

func (f *fields) user(u *granary.User) {
	text(f, 1, &u.AccessKey)
	text(f, 2, &u.SecretKey)
	text(f, 3, &u.Name)
	f.flag(4, &u.Root)
}
