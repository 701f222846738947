package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

// redisTarget speaks RESP, the protocol of Redis and Valkey (https://redis.io/docs/latest/develop/reference/protocol-spec/): all messages are sent at
// once, and each is acknowledged by a reply.
type redisTarget struct {
	url     *url.URL
	command func(body []byte) [][]byte
	db      string

	conn net.Conn // nil: none
	in   *bufio.Reader
	out  *bufio.Writer
}

func newRedis(u *url.URL) (*redisTarget, error) {
	key := []byte(strings.TrimPrefix(u.Path, "/"))
	query := u.Query()
	r := &redisTarget{url: u, db: query.Get("db")}
	if r.db != "" {
		if _, err := strconv.ParseUint(r.db, 10, 16); err != nil {
			return nil, granary.Errorf(granary.KindInvalid, "notify.target", u.Redacted(), "db is a number")
		}
	}
	switch {
	case query.Has("pubsub"):
		r.command = func(body []byte) [][]byte { return [][]byte{[]byte("PUBLISH"), key, body} }
	case query.Has("stream"):
		r.command = func(body []byte) [][]byte { return [][]byte{[]byte("XADD"), key, []byte("*"), []byte("event"), body} }
	default:
		r.command = func(body []byte) [][]byte { return [][]byte{[]byte("RPUSH"), key, body} }
	}
	return r, nil
}

// Send implements Sender.
func (r *redisTarget) Send(ctx context.Context, messages []Message) ([]Message, error) {
	if r.conn == nil {
		conn, err := connect(ctx, r.url, "6379", r.url.Scheme == "rediss")
		if err != nil {
			return messages, unsent(r.url.Host, "%w", err)
		}
		r.conn, r.in, r.out = conn, bufio.NewReader(conn), bufio.NewWriter(conn)
		if err := exchange(ctx, conn, r.greet); err != nil {
			return messages, unsent(r.url.Host, "%w", errors.Join(err, r.Close()))
		}
	}
	acknowledged := 0
	err := exchange(ctx, r.conn, func() error {
		for i := range messages {
			r.write(r.command(messages[i].Body)...)
		}
		if err := r.out.Flush(); err != nil {
			return err
		}
		for acknowledged < len(messages) {
			if err := r.reply(); err != nil {
				return err
			}
			acknowledged++
		}
		return nil
	})
	if err != nil { // replies to what is left may still come: they are nobody's on the next connection
		return messages[acknowledged:], unsent(r.url.Host, "%w", errors.Join(err, r.Close()))
	}
	return nil, nil
}

// greet says who asks, and in which database.
func (r *redisTarget) greet() error {
	var commands int
	if user := r.url.User; user != nil {
		auth := [][]byte{[]byte("AUTH")}
		if user.Username() != "" {
			auth = append(auth, []byte(user.Username()))
		}
		password, _ := user.Password()
		r.write(append(auth, []byte(password))...)
		commands++
	}
	if r.db != "" {
		r.write([]byte("SELECT"), []byte(r.db))
		commands++
	}
	if err := r.out.Flush(); err != nil {
		return err
	}
	for range commands {
		if err := r.reply(); err != nil {
			return err
		}
	}
	return nil
}

// write adds a command: an array of bulk strings. What fails is told by Flush.
func (r *redisTarget) write(words ...[]byte) {
	fmt.Fprintf(r.out, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(r.out, "$%d\r\n%s\r\n", len(word), word)
	}
}

// reply reads the reply to a command: a simple string, a number, or a short bulk string; anything else is an error.
func (r *redisTarget) reply() error {
	line, err := readLine(r.in)
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(line, "+"), strings.HasPrefix(line, ":"):
		return nil
	case strings.HasPrefix(line, "$"): // the id of what was added to a stream
		n, err := strconv.ParseUint(line[1:], 10, 8)
		if err != nil {
			return fmt.Errorf("the reply is %q", line)
		}
		_, err = io.CopyN(io.Discard, r.in, int64(n)+2)
		return err
	case strings.HasPrefix(line, "-"):
		return fmt.Errorf("it answers %q", line[1:])
	}
	return fmt.Errorf("the reply is %q", line)
}

// readLine reads a line that ends in CR LF, which fits the buffer.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(line), "\r\n"), nil
}

// Close implements Sender.
func (r *redisTarget) Close() error {
	if r.conn == nil {
		return nil
	}
	err := r.conn.Close()
	r.conn = nil
	return err
}
