package notify

import (
	"bytes"
	"context"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	webhookLanes     = 8        // requests at a time
	webhookAnswerMax = 64 << 10 // bytes of an answer that are read, so that its connection can be used again
	webhookTextMax   = 200      // bytes of an answer that errors show
)

// webhook POSTs messages, each for itself. Those of a key go one after the other, those of different keys at the same time.
type webhook struct {
	target Target
	client *http.Client
	seed   maphash.Seed
}

func newWebhook(t Target) *webhook {
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: sendTimeout,
		MaxIdleConnsPerHost: webhookLanes, MaxConnsPerHost: webhookLanes, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
	return &webhook{target: t, seed: maphash.MakeSeed(), client: &http.Client{
		Transport: transport, Timeout: sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a redirected POST may have been a GET
	}}
}

// Send implements Sender.
func (w *webhook) Send(ctx context.Context, messages []Message) ([]Message, error) {
	var lanes [webhookLanes][]int
	for i := range messages {
		n := maphash.String(w.seed, messages[i].Key) % webhookLanes
		lanes[n] = append(lanes[n], i)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var left []int
	var failure error
	for _, lane := range lanes {
		if len(lane) == 0 {
			continue
		}
		group.Go(func() {
			for n, i := range lane {
				if err := w.post(ctx, messages[i].Body); err != nil {
					mu.Lock()
					left, failure = append(left, lane[n:]...), err
					mu.Unlock()
					return
				}
			}
		})
	}
	group.Wait()
	slices.Sort(left)
	var rest []Message
	for _, i := range left {
		rest = append(rest, messages[i])
	}
	return rest, failure
}

// post sends one message.
func (w *webhook) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.target.URL, bytes.NewReader(body))
	if err != nil {
		return unsent(w.target.Name, "its URL cannot be asked")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Granary")
	if w.target.Token != "" {
		r.Header.Set("Authorization", w.target.Token)
	}
	a, err := w.client.Do(r)
	if err != nil {
		return unsent(w.target.Name, "%w", err)
	}
	text, err := io.ReadAll(io.LimitReader(a.Body, webhookAnswerMax))
	if cerr := a.Body.Close(); err == nil {
		err = cerr
	}
	if a.StatusCode < 200 || a.StatusCode > 299 {
		return unsent(w.target.Name, "it answers %s: %q", a.Status, text[:min(len(text), webhookTextMax)])
	}
	if err != nil {
		return unsent(w.target.Name, "%w", err)
	}
	return nil
}

// Close implements Sender.
func (w *webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
