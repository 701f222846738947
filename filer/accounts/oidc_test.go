package accounts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// issuer is a server of OpenID Connect.
type issuer struct {
	*httptest.Server
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	fetched int
}

func encoded(n *big.Int, size int) string {
	return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, size)))
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	point, err := i.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.fetched++
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"r","use":"sig","n":%q,"e":"AQAB"},{"kty":"EC","kid":"e","crv":"P-256","x":%q,"y":%q}]}`,
			encoded(i.rsa.N, 256), base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:]))
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// token signs claims.
func (i *issuer) token(t *testing.T, alg, kid string, claims map[string]any) string {
	t.Helper()
	head, err := json.Marshal(map[string]string{"alg": alg, "kid": kid, "typ": "JWT"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch alg {
	case "RS256":
		signature, err = rsa.SignPKCS1v15(rand.Reader, i.rsa, crypto.SHA256, sum[:])
	case "ES256":
		r, s, serr := ecdsa.Sign(rand.Reader, i.ec, sum[:])
		signature, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), serr
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestWebIdentity(t *testing.T) {
	b, i := newBench(t), newIssuer(t)
	root, nobody := rootCaller(), &Caller{Anonymous: true}
	name := strings.TrimPrefix(i.URL, "http://")
	if got := b.call(root, "OpenIDConnectProviderArn", "CreateOpenIDConnectProvider", "Url", "http://issuer.example"); got != "InvalidInput" {
		t.Fatal(got)
	}
	provider := b.call(root, "OpenIDConnectProviderArn", "CreateOpenIDConnectProvider", "Url", i.URL, "ClientIDList.member.1", "app")
	if provider != providerARN(name) {
		t.Fatal(provider)
	}
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":%q},"Action":"sts:AssumeRoleWithWebIdentity",
		"Condition":{"StringEquals":{%q:"app"},"StringLike":{%q:"user-*"}}}]}`, provider, name+":aud", name+":sub")
	if got := b.call(root, "RoleName", "CreateRole", "RoleName", "web", "AssumeRolePolicyDocument", trust); got != "web" {
		t.Fatal(got)
	}
	now := b.time.Unix()
	good := func() map[string]any {
		return map[string]any{"iss": i.URL, "sub": "user-1", "aud": "app", "exp": now + 60, "iat": now}
	}
	with := func(name string, value any) map[string]any {
		c := good()
		c[name] = value
		return c
	}
	assume := func(token string) string {
		return b.call(nobody, "AssumedRoleId", "AssumeRoleWithWebIdentity", "RoleArn", ARN("role", "", "web"), "RoleSessionName", "ss", "WebIdentityToken", token)
	}
	for name, token := range map[string]string{
		"RS256": i.token(t, "RS256", "r", good()), "ES256": i.token(t, "ES256", "e", good()), "audiences": i.token(t, "RS256", "r", with("aud", []string{"x", "app"})),
	} {
		if got := assume(token); !strings.HasPrefix(got, "AROA") || !strings.HasSuffix(got, ":ss") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if i.fetched != 1 {
		t.Errorf("the keys were fetched %d times", i.fetched)
	}
	rs := i.token(t, "RS256", "r", good())
	parts := strings.Split(rs, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"r"}`)) + "." + parts[1] + "."
	for name, c := range map[string]struct{ token, want string }{
		"none":             {none, "InvalidIdentityToken"},
		"no token":         {"x", "InvalidIdentityToken"},
		"another body":     {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+i.URL+`","sub":"user-2","aud":"app"}`)) + "." + parts[2], "InvalidIdentityToken"},
		"key of another":   {i.token(t, "RS256", "e", good()), "InvalidIdentityToken"},
		"unknown key":      {i.token(t, "RS256", "q", good()), "InvalidIdentityToken"},
		"expired":          {i.token(t, "RS256", "r", with("exp", now-1)), "ExpiredTokenException"},
		"endless":          {i.token(t, "RS256", "r", with("exp", nil)), "ExpiredTokenException"},
		"to come":          {i.token(t, "RS256", "r", with("nbf", now+1000)), "InvalidIdentityToken"},
		"another audience": {i.token(t, "RS256", "r", with("aud", "other")), "InvalidIdentityToken"},
		"another issuer":   {i.token(t, "RS256", "r", with("iss", "http://other.example")), "InvalidIdentityToken"},
		"issuer by TLS":    {i.token(t, "RS256", "r", with("iss", "https://"+strings.TrimPrefix(i.URL, "http://"))), "InvalidIdentityToken"},
		"another subject":  {i.token(t, "RS256", "r", with("sub", "robot")), "AccessDenied"},
	} {
		if got := assume(c.token); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
	b.time = b.time.Add(keysTTL + time.Second)
	now = b.time.Unix()
	if got := assume(i.token(t, "RS256", "r", with("exp", now+60))); !strings.HasPrefix(got, "AROA") || i.fetched != 2 {
		t.Errorf("%s, fetched %d times", got, i.fetched)
	}
}
