package wire

import (
	"google.golang.org/protobuf/proto"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// MarshalResult encodes a result: equal results give equal bytes.
func MarshalResult(r *granary.Result) ([]byte, error) {
	var p pb.Result
	fillResult(&p, r)
	return marshal(&p, "result")
}

// UnmarshalResult decodes what MarshalResult made. It keeps no reference to b. Malformed bytes are
// KindInvalid.
func UnmarshalResult(b []byte) (*granary.Result, error) {
	var p pb.Result
	if err := unmarshal(b, &p, "result"); err != nil {
		return nil, err
	}
	d := decoder{subject: "result"}
	r := d.result(&p)
	if d.err != nil {
		return nil, d.err
	}
	return &r, nil
}

// marshal encodes deterministically. It fails only for messages beyond 2 GiB.
func marshal(p proto.Message, subject string) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "encode", subject, "%w", err)
	}
	return b, nil
}

func unmarshal(b []byte, p proto.Message, subject string) error {
	if err := proto.Unmarshal(b, p); err != nil {
		return granary.Errorf(granary.KindInvalid, "decode", subject, "%w", err)
	}
	return nil
}

func fillResult(p *pb.Result, r *granary.Result) {
	if r.Err != nil {
		p.Err = errorTo(r.Err)
	}
	p.Index = uint64(r.Index)
	p.Attr = attrTo(&r.Attr)
	p.Created = r.Created
	p.Replaced = r.Replaced
	p.Offset = r.Offset
	if r.Volume != nil {
		p.Volume = new(pb.Volume)
		fillVolume(p.Volume, r.Volume)
	}
	p.Missing = r.Missing
}

func (d *decoder) result(p *pb.Result) granary.Result {
	r := granary.Result{
		Err:      d.error(p.Err),
		Index:    granary.Index(p.Index),
		Attr:     d.attr(p.Attr),
		Created:  p.Created,
		Replaced: p.Replaced,
		Offset:   p.Offset,
		Missing:  p.Missing,
	}
	if p.Volume != nil {
		v := d.volume(p.Volume)
		r.Volume = &v
	}
	return r
}
