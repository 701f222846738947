package notify

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

// natsTarget speaks the protocol of NATS clients (https://docs.nats.io/reference/reference-protocols/nats-protocol). All messages are sent at
// once, and a PING after them: the server answers it when it has taken them. What it does with them then is to hand them to who
// subscribes; with jetstream each has a reply of the stream that has stored it.
type natsTarget struct {
	url       *url.URL
	subject   string
	jetstream bool

	conn  net.Conn // nil: none
	in    *bufio.Reader
	out   *bufio.Writer
	inbox string // subject of replies, without the number at its end
}

func newNATS(u *url.URL) *natsTarget {
	return &natsTarget{url: u, subject: strings.TrimPrefix(u.Path, "/"), jetstream: u.Query().Has("jetstream")}
}

// natsLineMax bounds a line of the protocol: INFO is the longest.
const natsLineMax = 64 << 10

// natsReplyMax bounds the reply of a stream.
const natsReplyMax = 64 << 10

// Send implements Sender.
func (n *natsTarget) Send(ctx context.Context, messages []Message) ([]Message, error) {
	fail := func(err error) ([]Message, error) {
		return messages, unsent(n.url.Host, "%w", errors.Join(err, n.Close()))
	}
	if n.conn == nil {
		if err := n.open(ctx); err != nil {
			return fail(err)
		}
	}
	err := exchange(ctx, n.conn, func() error {
		for i := range messages {
			reply := ""
			if n.jetstream {
				reply = " " + n.inbox + strconv.Itoa(i)
			}
			fmt.Fprintf(n.out, "PUB %s%s %d\r\n%s\r\n", n.subject, reply, len(messages[i].Body), messages[i].Body)
		}
		if _, err := n.out.WriteString("PING\r\n"); err != nil {
			return err
		}
		if err := n.out.Flush(); err != nil {
			return err
		}
		return n.await(len(messages))
	})
	if err != nil {
		return fail(err)
	}
	return nil, nil
}

// await reads until the PING, and with jetstream all messages, were answered.
func (n *natsTarget) await(messages int) error {
	stored := make(map[string]bool)
	for taken := false; !taken || n.jetstream && len(stored) < messages; {
		line, err := readLine(n.in)
		if err != nil {
			return err
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "PONG":
			taken = true
		case "PING":
			if _, err := n.out.WriteString("PONG\r\n"); err != nil {
				return err
			}
			if err := n.out.Flush(); err != nil {
				return err
			}
		case "MSG":
			subject, err := n.stored(rest)
			if err != nil {
				return err
			}
			stored[subject] = true
		case "-ERR":
			return fmt.Errorf("it answers %s", rest)
		case "INFO", "+OK":
		default:
			return fmt.Errorf("it says %q", line)
		}
	}
	return nil
}

// stored reads the reply of a stream: MSG SUBJECT SID [REPLY] BYTES, and a document. It returns the subject.
func (n *natsTarget) stored(rest string) (string, error) {
	words := strings.Fields(rest)
	if len(words) < 3 {
		return "", fmt.Errorf("it says MSG %q", rest)
	}
	size, err := strconv.ParseUint(words[len(words)-1], 10, 32)
	if err != nil || size > natsReplyMax {
		return "", fmt.Errorf("it says MSG %q", rest)
	}
	body := make([]byte, size+2)
	if _, err := io.ReadFull(n.in, body); err != nil {
		return "", err
	}
	var reply struct {
		Stream string
		Error  *struct{ Description string }
	}
	switch err := json.Unmarshal(body[:size], &reply); {
	case err != nil:
		return "", err
	case reply.Error != nil:
		return "", fmt.Errorf("the stream answers %q", reply.Error.Description)
	case reply.Stream == "":
		return "", errors.New("what answers is no stream")
	}
	return words[0], nil
}

// natsInfo is what a server says of itself.
type natsInfo struct {
	TLSRequired  bool `json:"tls_required"`
	TLSAvailable bool `json:"tls_available"`
}

// open connects, and says who it is. A server speaks first, and in the clear; TLS comes after that.
func (n *natsTarget) open(ctx context.Context) error {
	conn, err := connect(ctx, n.url, "4222", false)
	if err != nil {
		return err
	}
	n.conn, n.in, n.out = conn, bufio.NewReaderSize(conn, natsLineMax), bufio.NewWriter(conn)
	secure := n.url.Scheme == "nats+tls"
	return exchange(ctx, conn, func() error {
		line, err := readLine(n.in)
		if err != nil {
			return err
		}
		text, ok := strings.CutPrefix(line, "INFO ")
		var info natsInfo
		if err := json.Unmarshal([]byte(text), &info); !ok || err != nil {
			return errors.New("it is no server of NATS")
		}
		switch {
		case info.TLSRequired && !secure:
			return errors.New("it wants TLS: nats+tls://")
		case secure && !info.TLSRequired && !info.TLSAvailable:
			return errors.New("it has no TLS")
		case secure:
			t := tls.Client(conn, &tls.Config{ServerName: n.url.Hostname(), MinVersion: tls.VersionTLS12})
			n.conn, n.in, n.out = t, bufio.NewReaderSize(t, natsLineMax), bufio.NewWriter(t)
		}
		return n.greet()
	})
}

// greet says who connects, and subscribes to replies.
func (n *natsTarget) greet() error {
	options := map[string]any{"verbose": false, "pedantic": false, "lang": "go", "version": "1", "name": "granary", "protocol": 0}
	if user := n.url.User; user != nil {
		if password, both := user.Password(); both {
			options["user"], options["pass"] = user.Username(), password
		} else {
			options["auth_token"] = user.Username()
		}
	}
	text, err := json.Marshal(options)
	if err != nil {
		return granary.Errorf(granary.KindInternal, "notify.send", n.url.Host, "%w", err)
	}
	fmt.Fprintf(n.out, "CONNECT %s\r\n", text)
	if n.jetstream {
		n.inbox = "_INBOX." + rand.Text() + "."
		fmt.Fprintf(n.out, "SUB %s* 1\r\n", n.inbox)
	}
	if _, err := n.out.WriteString("PING\r\n"); err != nil {
		return err
	}
	if err := n.out.Flush(); err != nil {
		return err
	}
	return n.await(0)
}

// Close implements Sender.
func (n *natsTarget) Close() error {
	if n.conn == nil {
		return nil
	}
	err := n.conn.Close()
	n.conn = nil
	return err
}
