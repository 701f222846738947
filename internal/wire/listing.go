package wire

import (
	"github.com/dsorchard/granary"
)

// Listings have thousands of entries, so they are encoded by fields.go, as mutations are.

// roomForEntry is what most encoded entries fit into.
const roomForEntry = 128

func (f *fields) directory(a *granary.Directory) {
	list(f, 1, &a.Entries, (*fields).entry)
	f.flag(2, &a.More)
	unsigned(f, 3, &a.Attendance)
}

func (f *fields) entry(e *granary.Entry) {
	text(f, 1, &e.Name)
	unlessZero(f, 2, &e.Attr, (*fields).attr)
	text(f, 3, &e.Target)
}

func (f *fields) listing(a *granary.Listing) {
	list(f, 1, &a.Items, (*fields).listItem)
	f.flag(2, &a.Truncated)
	text(f, 3, &a.Next)
	optionalUnsigned(f, 4, &a.NextAt)
}

func (f *fields) listItem(i *granary.ListItem) {
	text(f, 1, &i.Key)
	f.flag(2, &i.IsPrefix)
	unlessZero(f, 3, &i.Attr, (*fields).attr)
	text(f, 4, &i.ETag)
	f.flag(5, &i.Latest)
	f.flag(6, &i.Marker)
	list(f, 7, &i.Content, (*fields).xattr)
}

// encode encodes a message that another holds as bytes.
func encode[T any](subject string, v *T, room int, message func(*fields, *T)) ([]byte, error) {
	f := fields{subject: subject, b: make([]byte, 0, room)}
	message(&f, v)
	return f.b, f.err
}

// decode is the inverse of encode. What newer programs have added is passed over.
func decode[T any](d *decoder, b []byte, message func(*fields, *T)) *T {
	v := new(T)
	f := fields{subject: d.subject, skips: true}
	if err := read(&f, b, v, message); err != nil && d.err == nil {
		d.err = err
	}
	return v
}
