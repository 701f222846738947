package s3

import "sync"

// signingKeysMax bounds the signing keys that are kept. Each access key has one a day for each region and service that its clients sign for.
const signingKeysMax = 256

// signingKeys keeps the keys of the scopes that are in use: to derive one takes as long as all else about a signature. The zero value is ready to use.
type signingKeys struct {
	mu   sync.Mutex
	kept map[signingScope][]byte
}

// signingScope is all that a signing key comes from.
type signingScope struct{ secret, date, region, service string }

// of is signingKey. The key is shared, and must not be changed.
func (k *signingKeys) of(secretKey string, s scope) []byte {
	id := signingScope{secretKey, s.date, s.region, s.service}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.kept[id]
	if !ok {
		if k.kept == nil || len(k.kept) == signingKeysMax {
			k.kept = map[signingScope][]byte{} // those in use are soon there again
		}
		key = signingKey(secretKey, s)
		k.kept[id] = key
	}
	return key
}
