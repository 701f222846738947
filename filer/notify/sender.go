package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/dsorchard/granary"
)

// Message is a document on its way to a target.
type Message struct {
	Key  string // what must stay in order: bucket and key of the object
	Body []byte // JSON
}

// Sender hands messages to a target. It is for one caller at a time, and connects when it has something to send.
type Sender interface {
	// Send returns when the target has acknowledged all messages, or with an error and those that it has not, in their order. Of
	// messages with the same key none is sent before those that precede it were acknowledged, or on their way before it.
	Send(ctx context.Context, messages []Message) (left []Message, err error)
	Close() error
}

// dialer makes the sender of a target.
type dialer func(Target) (Sender, error)

// sendTimeout bounds how long a target may take to acknowledge what it was sent at once.
const sendTimeout = 15 * time.Second

// connectTimeout bounds how long it takes to connect.
const connectTimeout = 5 * time.Second

// dial makes the sender of a target.
func dial(t Target) (Sender, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, granary.Errorf(granary.KindInvalid, "notify.target", t.Name, "its URL cannot be read")
	}
	switch t.Type() {
	case TypeNATS:
		return newNATS(u), nil
	case TypeRedis:
		return newRedis(u)
	case TypeKafka:
		return newKafka(u)
	}
	return newWebhook(t), nil
}

// unsent is an error of a target, as senders return it.
func unsent(target string, format string, args ...any) error {
	return granary.Errorf(granary.KindUnavailable, "notify.send", target, format, args...)
}

// connect connects to the host of a URL, at a port if it names none, with TLS if it says so.
func connect(ctx context.Context, u *url.URL, port string, secure bool) (net.Conn, error) {
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), port)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	d := &net.Dialer{}
	if secure {
		return (&tls.Dialer{NetDialer: d, Config: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", host)
	}
	return d.DialContext(ctx, "tcp", host)
}

// exchange runs what talks on a connection, which the end of ctx and a time bound.
func exchange(ctx context.Context, conn net.Conn, talk func() error) error {
	if err := conn.SetDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
			_ = conn.Close() // either ends the exchange, which is all that is wanted
		}
	})
	err := talk()
	if !stop() && err == nil { // the deadline may have been moved under the next exchange
		err = context.Cause(ctx)
	}
	if ctx.Err() != nil && err != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}
