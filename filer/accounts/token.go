package accounts

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// Session is what temporary credentials are: all that a token says.
type Session struct {
	AccessKey string   `json:"k"`
	Secret    string   `json:"s"`
	Expires   int64    `json:"e"`           // seconds since the Unix epoch
	Of        string   `json:"u,omitempty"` // access key of the user whose session it is …
	Role      string   `json:"r,omitempty"` // … or the role …
	RoleID    string   `json:"i,omitempty"` // … and its id: another of that name is another role
	Name      string   `json:"n,omitempty"` // of a role's session
	Policy    string   `json:"p,omitempty"` // that bounds it …
	Policies  []string `json:"m,omitempty"` // … together with these managed ones, by name
	Federated string   `json:"f,omitempty"` // ARN of the provider that vouched for it
}

// tokenVersion begins every token: 1 byte, then the nonce, then what AES-GCM makes of the session as JSON. The version is authenticated.
const tokenVersion = 1

// sealer has the key of tokens, once it was asked for.
type sealer struct {
	mu    sync.Mutex
	aead  cipher.AEAD
	asked time.Time
}

// sealingKey is the secret that tokens are sealed with.
const sealingKey = "session-tokens"

// aead returns the cipher. It is asked for again when a token does not fit it, at most once a second: after a restore of the cluster
// the key may be another.
func (s *Service) aead(ctx context.Context, again bool) (cipher.AEAD, error) {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	if s.sealer.aead != nil && (!again || s.now().Sub(s.sealer.asked) < time.Second) {
		return s.sealer.aead, nil
	}
	secret, err := s.store.Identity(ctx, granary.IdentitySecret, sealingKey)
	if granary.IsKind(err, granary.KindNotFound) {
		var random [32]byte
		_, _ = rand.Read(random[:]) // never fails: crypto/rand
		err = s.store.PutIdentity(ctx, granary.Identity{Kind: granary.IdentitySecret, Name: sealingKey, Secret: base64.StdEncoding.EncodeToString(random[:])})
		if err == nil || granary.IsKind(err, granary.KindExists) { // another gateway was quicker
			secret, err = s.store.Identity(ctx, granary.IdentitySecret, sealingKey)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(secret.Secret)
	if err != nil || len(key) != 32 {
		return nil, granary.Errorf(granary.KindCorrupt, "accounts.key", sealingKey, "a key of %d bytes", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "accounts.key", sealingKey, "%w", err)
	}
	if s.sealer.aead, err = cipher.NewGCM(block); err != nil {
		return nil, granary.Errorf(granary.KindInternal, "accounts.key", sealingKey, "%w", err)
	}
	s.sealer.asked = s.now()
	return s.sealer.aead, nil
}

// Seal makes the token of a session.
func (s *Service) Seal(ctx context.Context, session *Session) (string, error) {
	aead, err := s.aead(ctx, false)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(session)
	if err != nil {
		return "", granary.Errorf(granary.KindInternal, "accounts.seal", "", "%w", err)
	}
	token := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	token[0] = tokenVersion
	_, _ = rand.Read(token[1:]) // never fails: crypto/rand
	token = aead.Seal(token, token[1:], plain, token[:1])
	return base64.RawURLEncoding.EncodeToString(token), nil
}

// Errors of Open.
var (
	errToken   = &Error{"InvalidToken", "The provided token is malformed or otherwise invalid.", 400}
	errExpired = &Error{"ExpiredToken", "The provided token has expired.", 400}
)

// tokenMax bounds the tokens that are looked at.
const tokenMax = 64 << 10

// Open checks a token that came with an access key: *Error if it is not that key's, or has expired.
func (s *Service) Open(ctx context.Context, token, accessKey string) (*Session, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(token) > tokenMax || len(sealed) == 0 || sealed[0] != tokenVersion {
		return nil, errToken
	}
	var plain []byte
	for _, again := range []bool{false, true} {
		aead, err := s.aead(ctx, again)
		if err != nil {
			return nil, err
		}
		if len(sealed) < 1+aead.NonceSize() {
			return nil, errToken
		}
		nonce, text := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
		if plain, err = aead.Open(nil, nonce, text, sealed[:1]); err == nil {
			break
		}
	}
	var session Session
	if plain == nil || json.Unmarshal(plain, &session) != nil || session.AccessKey != accessKey {
		return nil, errToken
	}
	if s.now().Unix() >= session.Expires {
		return nil, errExpired
	}
	return &session, nil
}
