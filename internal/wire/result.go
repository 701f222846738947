package wire

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dsorchard/granary"
)

// roomForResult is what most encoded results fit into.
const roomForResult = 128

// MarshalResult encodes a result: equal results give equal bytes.
func MarshalResult(r *granary.Result) ([]byte, error) {
	return AppendResult(make([]byte, 0, roomForResult), r)
}

// AppendResult appends to b what MarshalResult gives.
func AppendResult(b []byte, r *granary.Result) ([]byte, error) {
	f := fields{subject: "result", b: b}
	f.result(r)
	return f.b, f.err
}

// UnmarshalResult decodes what MarshalResult made. It keeps no reference to b. Malformed bytes are
// KindInvalid. What a newer program has added is passed over.
func UnmarshalResult(b []byte) (*granary.Result, error) {
	r := new(granary.Result)
	f := fields{subject: "result", skips: true}
	if err := read(&f, b, r, (*fields).result); err != nil {
		return nil, err
	}
	return r, nil
}

func (f *fields) result(r *granary.Result) {
	f.failure(1, &r.Err)
	unsigned(f, 2, &r.Index)
	unlessZero(f, 3, &r.Attr, (*fields).attr)
	f.flag(4, &r.Created)
	f.flag(5, &r.Replaced)
	unsigned(f, 6, &r.Offset)
	optional(f, 7, &r.Volume, (*fields).volume)
	numbers(f, 8, &r.Missing)
	f.flag(9, &r.Marker)
}

func (f *fields) attr(a *granary.Attr) {
	unsigned(f, 1, &a.Inode)
	unsigned(f, 2, &a.Type)
	unsigned(f, 3, &a.Mode)
	unsigned(f, 4, &a.Nlink)
	unsigned(f, 5, &a.UID)
	unsigned(f, 6, &a.GID)
	unsigned(f, 7, &a.Rdev)
	unsigned(f, 8, &a.Flags)
	unsigned(f, 9, &a.Size)
	unsigned(f, 10, &a.Allocated)
	signed(f, 11, &a.Atime)
	signed(f, 12, &a.Mtime)
	signed(f, 13, &a.Ctime)
	signed(f, 14, &a.Btime)
	unsigned(f, 15, &a.Version)
	unsigned(f, 16, &a.ContentVersion)
	unsigned(f, 17, &a.Policy)
	unsigned(f, 18, &a.Parent)
	unsigned(f, 19, &a.Entries)
	unsigned(f, 20, &a.Subdirs)
	unsigned(f, 21, &a.Object)
}

func (f *fields) volume(v *granary.Volume) {
	unsigned(f, 1, &v.ID)
	unsigned(f, 2, &v.Epoch)
	unsigned(f, 3, &v.State)
	signed(f, 4, &v.DataShards)
	signed(f, 5, &v.ParityShards)
	unsigned(f, 6, &v.Owner)
	unsigned(f, 7, &v.Watermark)
	unsigned(f, 8, &v.LiveBytes)
	unsigned(f, 9, &v.DeadBytes)
	list(f, 10, &v.Shards, (*fields).shardPlace)
	unsigned(f, 11, &v.Policy)
	f.flag(12, &v.Auto)
	signed(f, 13, &v.OpenedAt)
	signed(f, 14, &v.SealedAt)
	signed(f, 15, &v.DroppingAt)
	numbers(f, 16, &v.Ends)
	f.flag(17, &v.Moving)
}

func (f *fields) shardPlace(s *granary.ShardPlace) {
	text(f, 1, &s.Disk)
	text(f, 2, &s.Server)
	text(f, 3, &s.Addr)
	f.flag(4, &s.Up)
	f.flag(5, &s.Lost)
	f.flag(6, &s.Sealed)
	text(f, 7, &s.Target)
}

// failure is an error that may be absent: of its cause the text is kept, or the NotLeader or Delegated.
func (f *fields) failure(num protowire.Number, err **granary.Error) {
	var detail *failureDetail
	if !f.reading && *err != nil {
		detail = detailOf(*err)
	}
	optional(f, num, &detail, (*fields).failureDetail)
	if f.reading && detail != nil {
		*err = detail.failure()
	}
}

// failureDetail is an error as it is encoded.
type failureDetail struct {
	kind        granary.Kind
	op, subject string
	cause       *string
	notLeader   *granary.NotLeader // in place of cause
	delegated   *granary.Delegated // likewise
}

func (f *fields) failureDetail(d *failureDetail) {
	unsigned(f, 1, &d.kind)
	text(f, 2, &d.op)
	text(f, 3, &d.subject)
	f.optionalText(4, &d.cause)
	optional(f, 5, &d.notLeader, (*fields).notLeader)
	optional(f, 6, &d.delegated, (*fields).delegated)
}

func (f *fields) notLeader(l *granary.NotLeader) { text(f, 1, &l.Leader) }

func detailOf(err *granary.Error) *failureDetail {
	d := &failureDetail{kind: err.Kind, op: err.Op, subject: err.Subject}
	if !errors.As(err, &d.notLeader) && !errors.As(err, &d.delegated) && err.Err != nil {
		cause := err.Err.Error()
		d.cause = &cause
	}
	return d
}

func (d *failureDetail) failure() *granary.Error {
	err := &granary.Error{Op: d.op, Subject: d.subject, Kind: d.kind}
	switch {
	case d.notLeader != nil:
		err.Err = d.notLeader
	case d.delegated != nil:
		err.Err = d.delegated
	case d.cause != nil:
		err.Err = errors.New(*d.cause)
	}
	return err
}
