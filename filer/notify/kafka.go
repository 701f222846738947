package notify

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// kafkaTarget produces messages to a topic, each under its key: so those of a key are in one partition, in their order. They are acknowledged when all
// replicas in sync have them.
type kafkaTarget struct {
	host   string
	client *kgo.Client
}

func newKafka(u *url.URL) (*kafkaTarget, error) {
	var brokers []string
	for _, host := range append([]string{u.Host}, u.Query()["broker"]...) {
		if !strings.Contains(host, ":") {
			host = net.JoinHostPort(host, "9092")
		}
		brokers = append(brokers, host)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(strings.TrimPrefix(u.Path, "/")), kgo.ClientID("granary"),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(sendTimeout), kgo.DialTimeout(connectTimeout), kgo.ProduceRequestTimeout(sendTimeout),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MaxBufferedRecords(2 * batchMax),
	}
	if u.Scheme == "kafka+tls" {
		options = append(options, kgo.DialTLS())
	}
	if user := u.User; user != nil {
		password, _ := user.Password()
		options = append(options, kgo.SASL(plain.Auth{User: user.Username(), Pass: password}.AsMechanism()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, unsent(u.Host, "%w", err)
	}
	return &kafkaTarget{u.Host, client}, nil
}

// Send implements Sender. After a failure all messages are left: some may have arrived, and are repeated behind those of their keys that
// follow them.
func (k *kafkaTarget) Send(ctx context.Context, messages []Message) ([]Message, error) {
	records := make([]*kgo.Record, len(messages))
	for i := range messages {
		records[i] = &kgo.Record{Key: []byte(messages[i].Key), Value: messages[i].Body}
	}
	if err := k.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return messages, unsent(k.host, "%w", err)
	}
	return nil, nil
}

// Close implements Sender.
func (k *kafkaTarget) Close() error {
	k.client.Close()
	return nil
}
