package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
	"github.com/dsorchard/granary/volume"
)

// serveOptions are the flags that the serve commands share.
type serveOptions struct {
	listenOptions
	diskOptions
	data       string
	id         string
	peers      []string
	join       []string
	zone, rack string
	sync       string
	workers    int
	cache      cacheOptions
	memory     serveMemory
	owner      ownerValue
	filerOptions
	clockSkew time.Duration // added to the clock; for tests
}

func (o *serveOptions) validate() error {
	if o.workers < 0 || o.workers > workersMax {
		return usagef("--workers is %d, not within 0 to %d", o.workers, workersMax)
	}
	switch o.sync {
	case "disk":
	case "os":
		return usagef("--sync os is not implemented yet: everything acknowledged is on the disks")
	default:
		return usagef("--sync %q is neither disk nor os", o.sync)
	}
	return o.listenOptions.validate()
}

func (o *serveOptions) syncFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.sync, "sync", "disk", "when writes are acknowledged: disk (on the disks)")
}

func (o *serveOptions) volumeFlags(cmd *cobra.Command) {
	o.diskOptions.flags(cmd)
	cmd.Flags().StringVar(&o.zone, "zone", "", "zone that the server is in, for placement")
	cmd.Flags().StringVar(&o.rack, "rack", "", "rack that the server is in, for placement")
	cmd.Flags().IntVar(&o.workers, "workers", 2, "maintenance tasks (repairs, moves) that this process does at once; 0 for none")
}

func serveCommand(env *environment) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start a server: everything in one process, or one role",
		Long: `Without a role, serve starts a master, a volume server and a filer in one
process, keeps everything in ./granary-data, and prints how to reach it.

With --dir a,b,c it has several disks. One disk has no redundancy: two or more
are used as failure domains (2 disks: a copy on each; 3: 2+1; 6: 4+2).`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return serveAll(cmd.Context(), env, o, cmd.OutOrStdout()) },
	}
	o.listenOptions.flags(cmd)
	o.syncFlag(cmd)
	o.volumeFlags(cmd)
	o.memory.flag(cmd)
	cmd.Flags().StringVar(&o.data, "data", "granary-data", "directory for everything that is kept")
	o.owner.flag(cmd, "to whom belong /, if it is new, and what is made through HTTP and S3")
	o.filerOptions.flags(cmd)
	cmd.AddCommand(serveMasterCommand(env), serveVolumeCommand(env), serveFilerCommand(env), devClusterCommand(env))
	return cmd
}

// serveAll runs master, volume server and filer in one process. Calls between them are plain
// function calls; the ports are open for mounts and for commands.
func serveAll(ctx context.Context, env *environment, o *serveOptions, out io.Writer) (err error) {
	log, root, err := serveSetup(env, o)
	if err != nil {
		return err
	}
	heap, chunkCache, metadataCache, err := o.memory.share()
	if err != nil {
		return err
	}
	p := newProcess(log)
	defer func() { err = errors.Join(err, p.stop()) }()
	p.limitMemory(heap)

	volumeAddr := o.addr(portVolume)
	role, err := o.role(filepath.Join(o.data, "volume"), o.zone, o.rack)
	if err != nil {
		return err
	}
	store, err := p.openVolume(o.listenOptions, role)
	if err != nil {
		return err
	}
	blocks := volume.NewClient()
	blocks.Attach(volumeAddr, store)
	m, err := p.startMaster(o.listenOptions, masterRole{dir: filepath.Join(o.data, "master"), root: root, owner: o.owner.cred, shards: blocks, cache: metadataCache})
	if err != nil {
		return err
	}
	masterAddr := o.addr(portMaster)
	local := func(addr string) (wire.Master, func() error, error) {
		if addr == masterAddr {
			return m, func() error { return nil }, nil
		}
		return wire.DialMaster(addr)
	}
	p.heartbeat(store, volumeAddr, role, []string{masterAddr}, volumeDialer(local))
	p.startWorker(store.ServerID(), o.workers, blocks, client.Options{Masters: []string{masterAddr}, Dial: local, Log: log})
	c, err := client.Open(ctx, client.Options{
		Masters: []string{masterAddr}, Dial: local, Shards: blocks, Name: sessionName("filer"), CacheBytes: chunkCache, Log: log,
	})
	if err != nil {
		return err
	}
	if err := p.startFiler(o.listenOptions, o.filerOptions, c, o.owner.cred); err != nil {
		return err
	}
	if id := store.Cluster(); id != "" && id != c.Cluster() {
		return fmt.Errorf("%s belongs to cluster %s, and %s is of cluster %s", strings.Join(role.dirs, ", "), id, o.data, c.Cluster())
	}
	user := m.RootUser()
	file, err := keepCredentials(o.data, user)
	if err != nil {
		return err
	}
	announce(out, o, user, file, len(role.dirs))
	return p.wait(ctx)
}

// serveSetup checks the flags and makes the data directory.
func serveSetup(env *environment, o *serveOptions) (log *slog.Logger, root granary.User, err error) {
	if err := o.validate(); err != nil {
		return nil, root, err
	}
	if root, err = env.rootKeys(); err != nil {
		return nil, root, err
	}
	if log, err = env.logger(); err != nil {
		return nil, root, err
	}
	if err := o.filerOptions.prepare(o.insecure, log); err != nil {
		return nil, root, err
	}
	if o.data != "" {
		err = makeDirs([]string{o.data})
	}
	return log, root, err
}

func makeDirs(dirs []string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("data directory %s: %w", d, err)
		}
	}
	return nil
}

// credentials is the file that holds the S3 root key, mode 0600.
type credentials struct {
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
}

// keepCredentials writes the root key beside the data for the person who started the server.
func keepCredentials(dir string, u granary.User) (string, error) {
	name := filepath.Join(dir, "credentials.json")
	text, err := json.MarshalIndent(credentials{u.AccessKey, u.SecretKey}, "", "  ")
	if err != nil {
		return "", err
	}
	old, err := os.ReadFile(name)
	if err == nil && string(old) == string(text)+"\n" {
		return name, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return name, writeFileAtomic(name, append(text, '\n'), 0o600)
}

// writeFileAtomic replaces a file whole.
func writeFileAtomic(name string, content []byte, mode fs.FileMode) error {
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// announce tells a person how to use what was started.
func announce(out io.Writer, o *serveOptions, u granary.User, file string, disks int) {
	clusterHint := ""
	if a := o.addr(portMaster); a != defaultCluster {
		clusterHint = " --cluster " + a
	}
	fmt.Fprintf(out, `Granary %[1]s is ready. Data in %[2]s

  HTTP   curl -T FILE %[8]s://%[3]s/dir/          browse %[8]s://%[3]s/
  S3     export AWS_ACCESS_KEY_ID=%[4]s AWS_SECRET_ACCESS_KEY=$(sed -n 's/.*secretKey": "\(.*\)".*/\1/p' %[5]s) AWS_DEFAULT_REGION=us-east-1
         aws --endpoint-url %[8]s://%[6]s s3 mb s3://bucket
  mount  granary mount%[7]s DIRECTORY
  state  granary cluster status%[7]s

`, granary.Version, o.data, o.addr(portFilerHTTP), u.AccessKey, file, o.addr(portS3), clusterHint, o.tls.scheme())
	if disks == 1 {
		fmt.Fprintln(out, "WARNING: one disk has no redundancy: losing it loses the data. Give several with --dir a,b,c or add volume servers.")
	}
}

func serveMasterCommand(env *environment) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "master",
		Short: "Start a metadata master",
		Long: `Start one node of the metadata master. A cluster is founded by one master alone
or by an odd number that all name each other in --peers:

  granary serve master --id m1 --listen 10.0.0.1 --peers m1@10.0.0.1:7400,m2@10.0.0.2:7400,m3@10.0.0.3:7400

The Raft port of a peer is its gRPC port + 1.

A master that comes later, or takes the place of one that was lost, waits with --join
until it is added. After that its directory says who it is, and the flag does nothing:

  granary serve master --id m4 --listen 10.0.0.4 --join 10.0.0.1:7400,10.0.0.2:7400
  granary cluster member add 10.0.0.4:7400`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return serveMaster(cmd.Context(), env, o) },
	}
	o.listenOptions.flags(cmd)
	o.syncFlag(cmd)
	cmd.Flags().StringVar(&o.data, "data", "granary-data/master", "directory for the metadata")
	cmd.Flags().StringVar(&o.id, "id", "", "name of this node in the group (default: what the directory says, then HOST:PORT)")
	cmd.Flags().StringSliceVar(&o.peers, "peers", nil, "founding masters, ID@HOST:PORT,…, this one among them; none for a master alone")
	cmd.Flags().StringSliceVar(&o.join, "join", nil, "masters of a cluster, HOST:PORT,…: with an empty directory, wait to be added to it")
	o.owner.flag(cmd, "to whom / belongs, if this master founds a cluster")
	cmd.Flags().DurationVar(&o.clockSkew, "clock-skew", 0, "added to the time; for tests")
	if err := cmd.Flags().MarkHidden("clock-skew"); err != nil {
		panic(err) // the flag was defined above
	}
	return cmd
}

func serveMaster(ctx context.Context, env *environment, o *serveOptions) (err error) {
	log, root, err := serveSetup(env, o)
	if err != nil {
		return err
	}
	peers, err := parsePeers(o.peers)
	if err != nil {
		return err
	}
	p := newProcess(log)
	defer func() { err = errors.Join(err, p.stop()) }()
	join, err := splitMasters("--join", o.join)
	if err != nil {
		return err
	}
	r := masterRole{dir: o.data, id: o.id, peers: peers, join: join, root: root, owner: o.owner.cred, shards: volume.NewClient(), clockSkew: o.clockSkew}
	p.limitMemory(masterMemory)
	if _, err := p.startMaster(o.listenOptions, r); err != nil {
		return err
	}
	return p.wait(ctx)
}

// masterMemory is what a master that is alone in its process is to take: its cache of 128 MiB, and 384 MiB for all else.
const masterMemory = 512 << 20

// limitMemory has the garbage collector work harder when the process nears a limit, where it would otherwise let the
// memory grow to twice of what is in use. A limit from GOMEMLIMIT stands: then it reports false.
func limitMemory(bytes int64) bool {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return false
	}
	debug.SetMemoryLimit(bytes)
	return true
}

// parsePeers reads ID@HOST:PORT.
func parsePeers(texts []string) ([]master.Peer, error) {
	var peers []master.Peer
	for _, text := range texts {
		id, addr, ok := strings.Cut(text, "@")
		if !ok || id == "" {
			return nil, usagef("--peers: %q is not ID@HOST:PORT", text)
		}
		host, port, err := splitAddr(addr)
		if err != nil {
			return nil, usagef("--peers: %w", err)
		}
		l := listenOptions{host: host, base: port}
		peers = append(peers, master.Peer{ID: id, GRPCAddr: addr, RaftAddr: l.addr(portRaft)})
	}
	return peers, nil
}

func serveVolumeCommand(env *environment) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "Start a volume server over one or more disks",
		Args:  exactArgs(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return serveVolume(cmd.Context(), env, o) },
	}
	o.listenOptions.flags(cmd)
	o.syncFlag(cmd)
	o.volumeFlags(cmd)
	env.clusterFlag(cmd)
	return cmd
}

func serveVolume(ctx context.Context, env *environment, o *serveOptions) (err error) {
	log, _, err := serveSetup(env, o)
	if err != nil {
		return err
	}
	addrs, err := env.masters()
	if err != nil {
		return err
	}
	role, err := o.role(filepath.Join("granary-data", "volume"), o.zone, o.rack)
	if err != nil {
		return err
	}
	p := newProcess(log)
	defer func() { err = errors.Join(err, p.stop()) }()
	store, err := p.openVolume(o.listenOptions, role)
	if err != nil {
		return err
	}
	dial := func(addr string) (wire.Master, func() error, error) { return wire.DialMaster(addr) }
	p.heartbeat(store, o.addr(portVolume), role, addrs, volumeDialer(dial))
	blocks := volume.NewClient()
	blocks.Attach(o.addr(portVolume), store)
	p.startWorker(store.ServerID(), o.workers, blocks, client.Options{Masters: addrs, Dial: dial, Log: log})
	return p.wait(ctx)
}

// volumeDialer is a dialer as a volume server wants it.
func volumeDialer(dial client.Dialer) volume.Dialer {
	return func(addr string) (volume.Master, func() error, error) { return dial(addr) }
}

func serveFilerCommand(env *environment) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "filer",
		Short: "Start a filer: the HTTP and S3 doors",
		Args:  exactArgs(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return serveFiler(cmd.Context(), env, o) },
	}
	o.listenOptions.flags(cmd)
	o.syncFlag(cmd)
	o.cache.flags(cmd)
	o.owner.flag(cmd, "to whom belongs what is made through HTTP and S3")
	o.filerOptions.flags(cmd)
	env.clusterFlag(cmd)
	return cmd
}

func serveFiler(ctx context.Context, env *environment, o *serveOptions) (err error) {
	o.doors = &o.tls
	log, _, err := serveSetup(env, o)
	if err != nil {
		return err
	}
	p := newProcess(log)
	defer func() { err = errors.Join(err, p.stop()) }()
	p.collectEarly()
	chunks, err := o.cache.open(log)
	if err != nil {
		return err
	}
	if chunks != nil {
		p.onStop(func(context.Context) error { return chunks.Close() })
	}
	c, err := env.connect(ctx, client.Options{Name: sessionName("filer"), Chunks: chunks, Log: log})
	if err != nil {
		return err
	}
	if err := p.startFiler(o.listenOptions, o.filerOptions, c, o.owner.cred); err != nil {
		return err
	}
	return p.wait(ctx)
}
