package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newCertificate makes a certificate with a serial number, and its key.
func newCertificate(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// TestCertificateIsReplaced replaces a certificate and its key one after the other, and by what is none.
func TestCertificateIsReplaced(t *testing.T) {
	dir := t.TempDir()
	var said bytes.Buffer
	c := &certificate{files: [2]string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}, log: slog.New(slog.NewTextHandler(&said, nil))}
	replace := func(which int, content []byte) {
		t.Helper()
		if err := writeFileAtomic(c.files[which], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serial := func() int64 {
		t.Helper()
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if err := c.load(); err == nil || !strings.Contains(err.Error(), "cert.pem") || !strings.Contains(err.Error(), "key.pem") {
		t.Errorf("without files: %v, which names them not both", err)
	}
	cert1, key1 := newCertificate(t, 1)
	cert2, key2 := newCertificate(t, 2)
	replace(0, cert1)
	replace(1, key1)
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what  string
		do    func()
		holds int64
		says  int // errors, in all
	}{
		{"nothing", func() {}, 1, 0},
		{"a new certificate without its key", func() { replace(0, cert2) }, 1, 1},
		{"that again", func() {}, 1, 1},
		{"its key", func() { replace(1, key2) }, 2, 1},
		{"what is no certificate", func() { replace(0, cert2[:40]) }, 2, 2},
		{"no file", func() {
			if err := os.Remove(c.files[0]); err != nil {
				t.Fatal(err)
			}
		}, 2, 2},
		{"the first again", func() { replace(0, cert1); replace(1, key1) }, 1, 2},
	} {
		step.do()
		if got := serial(); got != step.holds {
			t.Errorf("after %s the certificate is number %d, not %d", step.what, got, step.holds)
		}
		if got := strings.Count(said.String(), "level=ERROR"); got != step.says {
			t.Errorf("after %s there were %d errors, not %d: %s", step.what, got, step.says, said.String())
		}
	}
}
