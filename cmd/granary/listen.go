package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// cliPatience is how long a command looks for a leader before it gives up.
const cliPatience = 15 * time.Second

// Ports relative to --listen-base: DESIGN.md section 6.
const (
	defaultBase      = 7400
	portMaster       = 0
	portRaft         = 1
	portMasterHTTP   = 2
	portVolume       = 100
	portFilerHTTP    = 200
	portS3           = 300
	portOffsetMax    = 399
	devMasterSpacing = 3 // dev-cluster: ports a master takes
)

// listenOptions says where a role listens.
type listenOptions struct {
	host     string
	base     int
	insecure bool
	doors    *tlsOptions // if nothing but doors of users listens; else nil
}

func (l *listenOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.host, "listen", "127.0.0.1", "address to listen on, and to be reached at")
	cmd.Flags().IntVar(&l.base, "listen-base", defaultBase, "first port: +0 master, +1 raft, +2 master HTTP, +100 volume, +200 filer HTTP, +300 S3")
	cmd.Flags().BoolVar(&l.insecure, "insecure", false, "allow listening beyond loopback although traffic between servers is neither encrypted nor authenticated")
}

// validate refuses to listen beyond loopback for what is not encrypted, unless --insecure is given.
func (l *listenOptions) validate() error {
	if l.base < 1 || l.base+portOffsetMax > 65535 {
		return usagef("--listen-base %d is not within 1 to %d", l.base, 65535-portOffsetMax)
	}
	ip := net.ParseIP(l.host)
	if ip == nil && l.host != "localhost" {
		return usagef("--listen %q is not an IP address", l.host)
	}
	if ip != nil && ip.IsUnspecified() {
		return usagef("--listen %s names no address that others could reach: give one of this host's", l.host)
	}
	if ip == nil || ip.IsLoopback() || l.insecure {
		return nil
	}
	switch {
	case l.doors == nil:
		return usagef("--listen %s is beyond loopback, and traffic between servers is not encrypted: give --insecure to listen all the same", l.host)
	case !l.doors.on():
		return usagef("--listen %s is beyond loopback: give --tls-cert and --tls-key, or --insecure to listen without them", l.host)
	}
	return nil
}

func (l *listenOptions) addr(offset int) string {
	return net.JoinHostPort(l.host, strconv.Itoa(l.base+offset))
}

// listen opens a TCP port, and names it in the error.
func listen(addr, what string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: port %s is in use by another process; choose others with --listen-base", what, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return ln, nil
}

// splitAddr checks a HOST:PORT.
func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "", 0, fmt.Errorf("%q is not HOST:PORT", addr)
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%q has no port within 1 to 65535", addr)
	}
	return host, port, nil
}
