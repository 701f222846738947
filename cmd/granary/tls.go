package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/spf13/cobra"
)

// tlsOptions say whether the doors of users (HTTP, S3, websites) speak TLS. What servers say to each other does not.
type tlsOptions struct {
	cert, key string // files; "": no TLS
}

func (o *tlsOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.cert, "tls-cert", "", "`FILE` with a certificate, and with those that lead to its authority (PEM): HTTP, S3 and websites speak TLS; it is read again when it changes")
	cmd.Flags().StringVar(&o.key, "tls-key", "", "`FILE` with the key of that certificate (PEM)")
}

// on reports whether TLS is asked for.
func (o *tlsOptions) on() bool { return o.cert != "" || o.key != "" }

// scheme is that of the doors' URLs.
func (o *tlsOptions) scheme() string {
	if o.on() {
		return "https"
	}
	return "http"
}

// wrapper returns what makes a listener of a door speak TLS, or leaves it as it is if that was not asked for.
func (o *tlsOptions) wrapper(log *slog.Logger) (func(net.Listener) net.Listener, error) {
	if !o.on() {
		return func(ln net.Listener) net.Listener { return ln }, nil
	}
	if o.cert == "" || o.key == "" {
		return nil, usagef("--tls-cert and --tls-key go together: one of them is missing")
	}
	c := &certificate{files: [2]string{o.cert, o.key}, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // as without TLS: one stream of content has a connection of its own
		GetCertificate: c.get,
	}
	return func(ln net.Listener) net.Listener { return tls.NewListener(ln, config) }, nil
}

// certificate is a certificate and its key in two files, which are read again when they have changed. While they do not go
// together, as half-way through a replacement, what was read before stays.
type certificate struct {
	files [2]string // certificate and key
	log   *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]os.FileInfo // of what was read last, whether or not it was taken
}

// load reads the files.
func (c *certificate) load() error {
	found, err := c.look()
	if err != nil {
		return fmt.Errorf("certificate for TLS: %w", err)
	}
	c.seen = found // from before the reading: what changes meanwhile is read again
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("certificate for TLS in %s, with its key in %s: %w", c.files[0], c.files[1], err)
	}
	c.current = &pair
	return nil
}

// look tells which files there are.
func (c *certificate) look() (found [2]os.FileInfo, err error) {
	var errs [2]error
	for i, name := range c.files {
		found[i], errs[i] = os.Stat(name)
	}
	return found, errors.Join(errs[:]...)
}

// get is that of tls.Config: it is asked at each handshake.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, err := c.look()
	if err != nil || sameFile(found[0], c.seen[0]) && sameFile(found[1], c.seen[1]) {
		return c.current, nil // files that are gone will be back: they are being replaced
	}
	if err := c.load(); err != nil {
		c.log.Error("what is in the files is not taken, and the certificate from before stays", "err", err)
		return c.current, nil
	}
	c.log.Info("TLS has a new certificate", "file", c.files[0])
	return c.current, nil
}

// sameFile reports whether a file has not been written or replaced.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
