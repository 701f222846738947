package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// devOptions shape a cluster of child processes on one host.
type devOptions struct {
	listenOptions
	masters, volumes, filers, disks int
	data                            string
	within                          time.Duration
	owner                           ownerValue
}

func (o *devOptions) validate() error {
	switch {
	case o.masters < 1 || o.masters > 7 || o.masters%2 == 0:
		return usagef("--masters %d is not an odd number within 1 to 7", o.masters)
	case o.volumes < 1 || o.volumes > 90:
		return usagef("--volumes %d is not within 1 to 90", o.volumes)
	case o.filers < 0 || o.filers > 90:
		return usagef("--filers %d is not within 0 to 90", o.filers)
	case o.disks < 1 || o.disks > 64:
		return usagef("--disks %d is not within 1 to 64", o.disks)
	}
	return o.listenOptions.validate()
}

func devClusterCommand(env *environment) *cobra.Command {
	o := &devOptions{listenOptions: listenOptions{host: "127.0.0.1"}}
	cmd := &cobra.Command{
		Use:   "dev-cluster",
		Short: "Start a whole cluster on this host, each role its own process, for trials and tests",
		Long: `Start masters, volume servers and filers as child processes on loopback, print
them as a table, and stop them all on SIGTERM or interrupt. A role that is
killed from outside stays dead until

  granary serve dev-cluster start NAME --data DIR

DIR/cluster.json names every process with its addresses, and is kept current.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return devCluster(cmd.Context(), env, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&o.masters, "masters", 3, "number of masters")
	cmd.Flags().IntVar(&o.volumes, "volumes", 6, "number of volume servers")
	cmd.Flags().IntVar(&o.filers, "filers", 1, "number of filers")
	cmd.Flags().IntVar(&o.disks, "disks", 1, "number of disks of each volume server")
	cmd.PersistentFlags().StringVar(&o.data, "data", "granary-cluster", "directory for everything that is kept")
	cmd.Flags().IntVar(&o.base, "listen-base", 17400, "first port")
	cmd.Flags().DurationVar(&o.within, "ready-within", time.Minute, "how long the roles may take to be ready")
	o.owner.flag(cmd, "to whom belong /, if it is new, and what is made through HTTP and S3")
	cmd.AddCommand(&cobra.Command{
		Use:   "start NAME",
		Short: "Start a role of a running dev-cluster again",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return devStart(cmd.Context(), o.data, args[0], cmd.OutOrStdout())
		},
	})
	return cmd
}

// clusterFile is DIR/cluster.json.
type clusterFile struct {
	Cluster   string       `json:"cluster"`
	AccessKey string       `json:"accessKey"`
	SecretKey string       `json:"secretKey"`
	Control   string       `json:"control"` // where "dev-cluster start" asks, with the secret key
	Processes []devProcess `json:"processes"`
}

// devProcess is one child. Pid is 0 while it is dead.
type devProcess struct {
	Role string            `json:"role"`
	Name string            `json:"name"`
	Pid  int               `json:"pid"`
	Addr map[string]string `json:"addr"`
	Data string            `json:"data"`
	Log  string            `json:"log"`

	args []string
}

func clusterFileName(dir string) string { return filepath.Join(dir, "cluster.json") }

func readClusterFile(dir string) (*clusterFile, error) {
	text, err := os.ReadFile(clusterFileName(dir))
	if err != nil {
		return nil, fmt.Errorf("no dev-cluster in %s: %w", dir, err)
	}
	var f clusterFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", clusterFileName(dir), err)
	}
	return &f, nil
}

// layout plans the processes of the cluster, with their ports and command lines.
func (o *devOptions) layout(dir string) *clusterFile {
	f := &clusterFile{}
	var addrs, peers []string
	l := func(base int) *listenOptions { return &listenOptions{host: o.host, base: base} }
	for i := range o.masters {
		at := l(o.base + devMasterSpacing*i)
		addrs = append(addrs, at.addr(portMaster))
		peers = append(peers, fmt.Sprintf("m%d@%s", i+1, at.addr(portMaster)))
	}
	f.Cluster = strings.Join(addrs, ",")
	add := func(role, name string, base int, addr map[string]string, args ...string) {
		data := filepath.Join(dir, name)
		args = append([]string{"serve", role, "--listen", o.host, "--listen-base", strconv.Itoa(base)}, args...)
		f.Processes = append(f.Processes, devProcess{
			Role: role, Name: name, Addr: addr, Data: data, Log: filepath.Join(dir, name+".log"), args: args,
		})
	}
	for i := range o.masters {
		name, base := fmt.Sprintf("m%d", i+1), o.base+devMasterSpacing*i
		at := l(base)
		addr := map[string]string{"grpc": at.addr(portMaster), "raft": at.addr(portRaft), "http": at.addr(portMasterHTTP)}
		add("master", name, base, addr, "--id", name, "--peers", strings.Join(peers, ","), "--data", filepath.Join(dir, name), "--owner", o.owner.String())
	}
	for i := range o.volumes {
		name, base := fmt.Sprintf("v%d", i+1), o.base+i
		var dirs []string
		for d := range o.disks {
			dirs = append(dirs, filepath.Join(dir, name, fmt.Sprintf("disk%d", d+1)))
		}
		addr := map[string]string{"blocks": l(base).addr(portVolume)}
		add("volume", name, base, addr, "--cluster", f.Cluster, "--dir", strings.Join(dirs, ","))
	}
	for i := range o.filers {
		name, base := fmt.Sprintf("f%d", i+1), o.base+i
		addr := map[string]string{"http": l(base).addr(portFilerHTTP), "s3": l(base).addr(portS3)}
		add("filer", name, base, addr, "--cluster", f.Cluster, "--owner", o.owner.String())
	}
	return f
}

// devCluster starts everything, waits until it is ready, and stays until it is told to stop.
func devCluster(ctx context.Context, env *environment, o *devOptions, out io.Writer) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	dir, err := filepath.Abs(o.data)
	if err != nil {
		return err
	}
	if err := makeDirs([]string{dir}); err != nil {
		return err
	}
	f := o.layout(dir)
	if f.AccessKey, f.SecretKey, err = devKeys(env, dir); err != nil {
		return err
	}
	control, err := listen(net.JoinHostPort(o.host, "0"), "dev-cluster control")
	if err != nil {
		return err
	}
	f.Control = control.Addr().String()
	s, err := newSupervisor(dir, f)
	if err != nil {
		return errors.Join(err, control.Close())
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	srv := &http.Server{Handler: s.controlHandler(), ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(control) }()
	defer func() {
		err = errors.Join(err, srv.Close())
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}()
	if err := s.startAll(); err != nil {
		return err
	}
	if err := s.waitReady(ctx, o.within, o.volumes); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := printDevCluster(out, dir, s.snapshot()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// devKeys keeps the root key of an existing cluster, or makes one.
func devKeys(env *environment, dir string) (access, secret string, err error) {
	root, err := env.rootKeys()
	if err != nil || root.AccessKey != "" {
		return root.AccessKey, root.SecretKey, err
	}
	old, err := readClusterFile(dir)
	if err == nil {
		return old.AccessKey, old.SecretKey, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	random := make([]byte, 30)
	rand.Read(random)
	return "GR" + strings.ToUpper(hex.EncodeToString(random[:9])), hex.EncodeToString(random[10:]), nil
}

func printDevCluster(out io.Writer, dir string, f *clusterFile) error {
	env := &environment{}
	err := env.print(out, nil, func(t *tableWriter) {
		t.row("ROLE", "NAME", "PID", "ADDRESSES", "LOG")
		for _, p := range f.Processes {
			var addrs []string
			for _, kind := range []string{"grpc", "raft", "blocks", "http", "s3"} {
				if a := p.Addr[kind]; a != "" {
					addrs = append(addrs, kind+"="+a)
				}
			}
			t.row(p.Role, p.Name, p.Pid, strings.Join(addrs, " "), p.Log)
		}
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nexport GRANARY_CLUSTER=%s\nS3 keys are in %s. Stop with interrupt or SIGTERM.\n", f.Cluster, clusterFileName(dir))
	return err
}

// devStart asks the supervisor of the dev-cluster in dir to start a role again.
func devStart(ctx context.Context, dir, name string, out io.Writer) error {
	f, err := readClusterFile(dir)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.Control+"/start/"+name, nil)
	if err != nil {
		return usagef("start: %q is no name of a role", name)
	}
	req.Header.Set("Authorization", "Bearer "+f.SecretKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the dev-cluster in %s does not run: %w", dir, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	_, err = out.Write(text)
	return err
}
