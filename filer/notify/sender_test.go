package notify

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	testcluster "github.com/dsorchard/granary/tests/cluster"
)

// messagesOf makes messages "KEY N" of some keys in turn.
func messagesOf(n, keys int) (all []Message) {
	for i := range n {
		key := fmt.Sprint("bucket/k", i%keys)
		all = append(all, Message{Key: key, Body: []byte(fmt.Sprintf("%s %04d", key, i))})
	}
	return all
}

func textsOf(messages []Message) (all []string) {
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return all
}

// sendAll sends until all is acknowledged.
func sendAll(t *testing.T, s Sender, messages []Message) (failures int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; failures++ {
		var err error
		if messages, err = s.Send(t.Context(), messages); err == nil {
			return failures
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// inOrder checks that of each key the messages came in order, and all of them.
func inOrder(t *testing.T, got []string, sent []Message) {
	t.Helper()
	byKey := map[string][]string{}
	for _, text := range got {
		key, _, _ := strings.Cut(text, " ")
		if !slices.Contains(byKey[key], text) {
			byKey[key] = append(byKey[key], text)
		}
	}
	n := 0
	for key, texts := range byKey {
		if n += len(texts); !slices.IsSorted(texts) {
			t.Errorf("%s: %v", key, texts)
		}
	}
	if n != len(sent) {
		t.Errorf("%d messages came, of %d", n, len(sent))
	}
}

// TestWebhookKeepsOrder: what of a key was refused comes before what follows it, also when other keys were not.
func TestWebhookKeepsOrder(t *testing.T) {
	var mu sync.Mutex
	var got []string
	calls := 0
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%7 == 0 || err != nil {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		if calls%11 == 0 {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		if r.Header.Get("Authorization") != "Bearer x" {
			t.Error(r.Header)
		}
		got = append(got, string(body))
	}))
	defer hook.Close()
	s, err := dial(Target{Name: "n", URL: hook.URL, Token: "Bearer x"})
	if err != nil {
		t.Fatal(err)
	}
	sent := messagesOf(200, 13)
	if sendAll(t, s, sent) == 0 {
		t.Error("nothing was refused")
	}
	inOrder(t, got, sent)
	if len(got) != len(sent) {
		t.Errorf("%d messages came, of %d: what was acknowledged was sent again", len(got), len(sent))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// freeAddr returns an address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startServer runs a program until the test ends, and waits until it answers at an address.
func startServer(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	testcluster.Needs(t, program)
	cmd := exec.Command(program, args...)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-again.C
	}
}

// TestRedis delivers to a real server: to a list, a channel and a stream; a wrong password and a key of another type are refused.
func TestRedis(t *testing.T) {
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	startServer(t, addr, "redis-server", "--port", port, "--bind", "127.0.0.1", "--requirepass", "secret", "--save", "")
	open := func(url string) *redisTarget {
		s, err := dial(Target{Name: "r", URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s.(*redisTarget)
	}
	sent := messagesOf(500, 7)
	list := open("redis://:secret@" + addr + "/events/a:b?db=2")
	sendAll(t, list, sent)
	if n := redisNumber(t, list, "LLEN", "events/a:b"); n != ":500" {
		t.Errorf("the list has %s", n)
	}
	stream := open("redis://:secret@" + addr + "/s?stream")
	sendAll(t, stream, sent)
	if n := redisNumber(t, stream, "XLEN", "s"); n != ":500" {
		t.Errorf("the stream has %s", n)
	}
	sendAll(t, open("redis://:secret@"+addr+"/c?pubsub"), sent)
	for _, url := range []string{"redis://:wrong@" + addr + "/k", "redis://" + addr + "/k", "redis://:secret@" + addr + "/s"} {
		if left, err := open(url).Send(t.Context(), sent); err == nil || len(left) != len(sent) {
			t.Errorf("%s: %d are left, %v", url, len(left), err)
		}
	}
}

func redisNumber(t *testing.T, r *redisTarget, words ...string) (line string) {
	t.Helper()
	err := exchange(t.Context(), r.conn, func() (err error) {
		var command [][]byte
		for _, w := range words {
			command = append(command, []byte(w))
		}
		r.write(command...)
		if err = r.out.Flush(); err == nil {
			line, err = readLine(r.in)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestNATS delivers to a real server: to a subscriber, and to a stream. Where no stream has the subject, nothing is acknowledged.
func TestNATS(t *testing.T) {
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	startServer(t, addr, "nats-server", "-a", "127.0.0.1", "-p", port, "--user", "u", "--pass", "p", "-js", "-sd", filepath.Join(t.TempDir(), "js"))
	open := func(url string) *natsTarget {
		s, err := dial(Target{Name: "r", URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s.(*natsTarget)
	}
	sent := messagesOf(300, 7)
	sendAll(t, open("nats://u:p@"+addr+"/a.b"), sent)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if left, err := open("nats://u:p@"+addr+"/a.b?jetstream").Send(ctx, sent[:1]); err == nil || len(left) != 1 {
		t.Errorf("without a stream: %v", err)
	}
	if left, err := open("nats://u:x@"+addr+"/a.b").Send(t.Context(), sent); err == nil || len(left) != len(sent) {
		t.Errorf("with a wrong password: %v", err)
	}
	admin := open("nats://u:p@" + addr + "/$JS.API.STREAM.CREATE.S?jetstream")
	if _, err := admin.Send(t.Context(), []Message{{Body: []byte(`{"name":"S","subjects":["a.b"],"storage":"file"}`)}}); err == nil {
		t.Error("the answer is no acknowledgement")
	}
	stream := open("nats://u:p@" + addr + "/a.b?jetstream")
	sendAll(t, stream, sent)
	sendAll(t, stream, sent)
	var info string
	err := exchange(t.Context(), stream.conn, func() error {
		fmt.Fprintf(stream.out, "PUB $JS.API.STREAM.INFO.S %sinfo 0\r\n\r\n", stream.inbox)
		if err := stream.out.Flush(); err != nil {
			return err
		}
		if _, err := readLine(stream.in); err != nil {
			return err
		}
		var err error
		info, err = readLine(stream.in)
		return err
	})
	if err != nil || !strings.Contains(info, `"messages":600`) {
		t.Errorf("%s, %v", info, err)
	}
}

// TestKafka delivers to a cluster in this process, some of whose answers are lost.
func TestKafka(t *testing.T) {
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s, err := dial(Target{Name: "k", URL: "kafka://" + k.ListenAddrs()[0] + "/events"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sent := messagesOf(500, 7)
	for i := 0; i < len(sent); i += 100 {
		sendAll(t, s, sent[i:i+100])
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got []string
	for len(got) < len(sent) {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if key, _, _ := strings.Cut(string(r.Value), " "); key != string(r.Key) {
				t.Errorf("%s has the key %s", r.Value, r.Key)
			}
			got = append(got, string(r.Value))
		})
	}
	inOrder(t, got, sent)
	dead, err := dial(Target{Name: "k", URL: "kafka://" + freeAddr(t) + "/events"})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if left, err := dead.Send(ctx, sent); err == nil || !slices.Equal(textsOf(left), textsOf(sent)) {
		t.Errorf("%d are left, %v", len(left), err)
	}
}
