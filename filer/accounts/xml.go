package accounts

import (
	"bytes"
	"encoding/xml"
	"time"

	"github.com/dsorchard/granary"
)

// Namespaces of the two APIs.
const (
	namespaceIAM = "https://iam.amazonaws.com/doc/2010-05-08/"
	namespaceSTS = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// element is an element of an answer: text, or others.
type element struct {
	name  string
	text  string
	inner []element
}

func el(name, text string) element { return element{name: name, text: text} }

func group(name string, inner ...element) element { return element{name: name, inner: inner} }

// list is a list as these APIs have it: each thing in an element "member".
func list(name string, members []element) element {
	l := element{name: name, inner: make([]element, len(members))}
	for i, m := range members {
		m.name = "member"
		l.inner[i] = m
	}
	return l
}

func texts(name string, all []string) element {
	members := make([]element, len(all))
	for i, s := range all {
		members[i] = el("", s)
	}
	return list(name, members)
}

func (e *element) write(b *bytes.Buffer) {
	b.WriteString("<" + e.name + ">")
	if err := xml.EscapeText(b, []byte(e.text)); err != nil {
		panic(err) // never: a buffer takes everything
	}
	for i := range e.inner {
		e.inner[i].write(b)
	}
	b.WriteString("</" + e.name + ">")
}

// answer is the document of a result. Who answers puts the request's id in place of RequestIDMark.
func answer(namespace, action string, result []element) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + "<" + action + `Response xmlns="` + namespace + `">`)
	if len(result) > 0 {
		r := group(action+"Result", result...)
		r.write(&b)
	}
	b.WriteString("<ResponseMetadata><RequestId>" + RequestIDMark + "</RequestId></ResponseMetadata></" + action + "Response>")
	return b.Bytes()
}

// RequestIDMark stands for the id of the request in answers.
const RequestIDMark = "\x00id\x00"

// ErrorDocument is the document of a refusal.
func ErrorDocument(e *Error, sts bool, requestID string) []byte {
	namespace, kind := namespaceIAM, "Sender"
	if sts {
		namespace = namespaceSTS
	}
	if e.Status >= 500 {
		kind = "Receiver"
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ErrorResponse xmlns="` + namespace + `">`)
	g := group("Error", el("Type", kind), el("Code", e.Code), el("Message", e.Message))
	g.write(&b)
	r := el("RequestId", requestID)
	r.write(&b)
	b.WriteString("</ErrorResponse>")
	return b.Bytes()
}

// date writes a time as these APIs do.
func date(name string, t granary.Time) element { return el(name, t.Std().UTC().Format(time.RFC3339)) }
