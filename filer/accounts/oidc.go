package accounts

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // of RS256 and ES256
	_ "crypto/sha512" // of those with longer hashes
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// claims are those of a token of OpenID Connect that are looked at.
type claims struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	Audience  audiences `json:"aud"`
	Azp       string    `json:"azp"`
	Expires   *float64  `json:"exp"`
	NotBefore *float64  `json:"nbf"`
	IssuedAt  *float64  `json:"iat"`
}

// audiences are one or several.
type audiences []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// audience returns for which of a provider's clients a token is; "" for none.
func (c *claims) audience(allowed []string) string {
	for _, a := range c.Audience {
		if slices.Contains(allowed, a) {
			return a
		}
	}
	return ""
}

func badToken(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "InvalidIdentityToken", format, args...)
}

// webTokenMax bounds the tokens that are looked at.
const webTokenMax = 20 << 10

// clockSkew is how far the clock of an issuer may be off.
const clockSkew = 5 * time.Minute

// verifyWebToken checks a JSON Web Token: its issuer is a provider, which signed it, and it is for one of the provider's clients and for now.
func (s *Service) verifyWebToken(ctx context.Context, token string) (*claims, *granary.Identity, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > webTokenMax {
		return nil, nil, badToken("The ID Token provided is not a valid JWT.")
	}
	var header struct{ Alg, Kid string }
	var c claims
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || !decodePart(parts[1], &c) {
		return nil, nil, badToken("The ID Token provided is not a valid JWT.")
	}
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" {
		return nil, nil, badToken("Couldn't retrieve the issuer of the token.")
	}
	name := strings.TrimSuffix(u.Host+u.Path, "/")
	provider, err := s.store.Identity(ctx, granary.IdentityProvider, name)
	if granary.IsKind(err, granary.KindNotFound) || granary.IsKind(err, granary.KindInvalid) {
		return nil, nil, badToken("No OpenIDConnect provider found in your account for %s", c.Issuer)
	}
	if err != nil {
		return nil, nil, err
	}
	if want := issuerURL(&provider); strings.TrimSuffix(c.Issuer, "/") != want {
		return nil, nil, badToken("The issuer is %s, not %s", c.Issuer, want)
	}
	key, err := s.issuerKey(ctx, &provider, header.Kid)
	if err != nil {
		return nil, nil, err
	}
	if !verifySignature(key, header.Alg, parts[0]+"."+parts[1], signature) {
		return nil, nil, badToken("The signature of the token is not the issuer's.")
	}
	now := s.now()
	switch {
	case c.Expires == nil || !now.Before(fromEpoch(*c.Expires)):
		return nil, nil, fail(http.StatusBadRequest, "ExpiredTokenException", "Token expired")
	case c.NotBefore != nil && now.Add(clockSkew).Before(fromEpoch(*c.NotBefore)), c.IssuedAt != nil && now.Add(clockSkew).Before(fromEpoch(*c.IssuedAt)):
		return nil, nil, badToken("The token is not valid yet.")
	case c.Subject == "" || c.audience(provider.Audiences) == "":
		return nil, nil, badToken("Incorrect token audience")
	}
	return &c, &provider, nil
}

func fromEpoch(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }

// issuerURL is the URL of a provider.
func issuerURL(p *granary.Identity) string {
	if p.Description == insecureIssuer {
		return "http://" + p.Name
	}
	return "https://" + p.Name
}

func decodePart(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}

// verifySignature checks a signature by the algorithm that the token names, if the key is one of that algorithm's.
func verifySignature(key crypto.PublicKey, alg, text string, signature []byte) bool {
	hashes := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	if len(alg) != 5 || hashes[alg[2:]] == 0 {
		return false
	}
	h := hashes[alg[2:]].New()
	h.Write([]byte(text))
	sum := h.Sum(nil)
	switch key := key.(type) {
	case *rsa.PublicKey:
		return alg[:2] == "RS" && rsa.VerifyPKCS1v15(key, hashes[alg[2:]], sum, signature) == nil
	case *ecdsa.PublicKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		fits := alg == "ES256" && key.Curve == elliptic.P256() || alg == "ES384" && key.Curve == elliptic.P384() || alg == "ES512" && key.Curve == elliptic.P521()
		return fits && len(signature) == 2*size &&
			ecdsa.Verify(key, sum, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	}
	return false
}

// issuerKeys remembers the keys of issuers.
type issuerKeys struct {
	mu    sync.Mutex
	known map[string]knownKeys
}

type knownKeys struct {
	keys    map[string]crypto.PublicKey // by kid
	fetched time.Time
}

const (
	keysTTL    = 10 * time.Minute // how long an issuer's keys are taken as still the same
	keysAgain  = 10 * time.Second // how soon they are asked for again when a token has one that is not known
	issuersMax = 256
	keySetMax  = 1 << 20 // bytes of a document of an issuer
)

// issuerKey returns the key of an issuer that a token names.
func (s *Service) issuerKey(ctx context.Context, p *granary.Identity, kid string) (crypto.PublicKey, error) {
	issuer := issuerURL(p)
	s.keys.mu.Lock()
	known := s.keys.known[issuer]
	s.keys.mu.Unlock()
	age := s.now().Sub(known.fetched)
	key, ok := known.keys[kid]
	if ok && age < keysTTL {
		return key, nil
	}
	if known.keys == nil || age >= keysTTL || age >= keysAgain {
		keys, err := s.fetchKeys(ctx, issuer)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "IDPCommunicationError", "Couldn't retrieve verification key from your identity provider: %v", err)
		}
		s.keys.mu.Lock()
		if s.keys.known == nil || len(s.keys.known) >= issuersMax {
			s.keys.known = map[string]knownKeys{}
		}
		s.keys.known[issuer] = knownKeys{keys, s.now()}
		s.keys.mu.Unlock()
		key, ok = keys[kid]
	}
	if !ok {
		return nil, badToken("The issuer has no key %q.", kid)
	}
	return key, nil
}

// fetchKeys asks an issuer for its keys, as OpenID Connect Discovery says.
func (s *Service) fetchKeys(ctx context.Context, issuer string) (map[string]crypto.PublicKey, error) {
	var configuration struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := s.fetchJSON(ctx, issuer+"/.well-known/openid-configuration", &configuration); err != nil {
		return nil, err
	}
	u, err := url.Parse(configuration.JWKSURI)
	if err != nil || strings.TrimSuffix(configuration.Issuer, "/") != issuer || u.Scheme != "https" && !(strings.HasPrefix(issuer, "http:") && loopback(u)) {
		return nil, granary.Errorf(granary.KindInvalid, "oidc", issuer, "its configuration is another's, or its keys are not at an https:// URL")
	}
	var set struct {
		Keys []struct{ Kty, Kid, Use, Crv, N, E, X, Y string }
	}
	if err := s.fetchJSON(ctx, configuration.JWKSURI, &set); err != nil {
		return nil, err
	}
	keys := map[string]crypto.PublicKey{}
	for _, k := range set.Keys {
		var key crypto.PublicKey
		switch {
		case k.Use != "" && k.Use != "sig":
		case k.Kty == "RSA":
			key = rsaKey(k.N, k.E)
		case k.Kty == "EC":
			key = ecKey(k.Crv, k.X, k.Y)
		}
		if key != nil {
			keys[k.Kid] = key
		}
	}
	return keys, nil
}

func (s *Service) fetchJSON(ctx context.Context, from string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return granary.Errorf(granary.KindInvalid, "oidc", from, "%w", err)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return granary.Errorf(granary.KindUnavailable, "oidc", from, "%w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it is only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, keySetMax))
	switch {
	case err != nil:
		return granary.Errorf(granary.KindUnavailable, "oidc", from, "%w", err)
	case resp.StatusCode != http.StatusOK:
		return granary.Errorf(granary.KindUnavailable, "oidc", from, "status %d", resp.StatusCode)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return granary.Errorf(granary.KindInvalid, "oidc", from, "%w", err)
	}
	return nil
}

func number(text string) *big.Int {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(b)
}

// rsaBitsMin is the shortest modulus that is trusted.
const rsaBitsMin = 2048

func rsaKey(n, e string) crypto.PublicKey {
	modulus, exponent := number(n), number(e)
	if modulus == nil || exponent == nil || modulus.BitLen() < rsaBitsMin || modulus.BitLen() > 16384 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 {
		return nil
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
}

func ecKey(curve, x, y string) crypto.PublicKey {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	of, px, py := curves[curve], number(x), number(y)
	if of == nil || px == nil || py == nil {
		return nil
	}
	key := &ecdsa.PublicKey{Curve: of, X: px, Y: py}
	if _, err := key.ECDH(); err != nil { // which checks that the point is on the curve
		return nil
	}
	return key
}
