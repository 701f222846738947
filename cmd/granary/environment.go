package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/volume"
)

// environment is what every command gets from outside: the environment variables, read once, and
// the flags that all share.
type environment struct {
	cluster  string // GRANARY_CLUSTER: gRPC addresses of the masters
	rootUser granary.User
	s3       s3Environment
	logLevel string
	output   string
}

// s3Environment is how an S3 service that backups go to is reached: the variables of the AWS tools.
type s3Environment struct {
	endpoint, region                   string
	accessKey, secretKey, sessionToken string
}

const defaultCluster = "127.0.0.1:7400"

func newEnvironment() *environment {
	env := &environment{cluster: os.Getenv("GRANARY_CLUSTER"), logLevel: os.Getenv("GRANARY_LOG_LEVEL")}
	if env.cluster == "" {
		env.cluster = defaultCluster
	}
	if env.logLevel == "" {
		env.logLevel = "warn"
	}
	env.rootUser = granary.User{
		AccessKey: os.Getenv("GRANARY_ROOT_ACCESS_KEY"),
		SecretKey: os.Getenv("GRANARY_ROOT_SECRET_KEY"),
		Name:      "root",
		Root:      true,
	}
	env.s3 = s3Environment{
		endpoint: os.Getenv("AWS_ENDPOINT_URL"), region: os.Getenv("AWS_REGION"),
		accessKey: os.Getenv("AWS_ACCESS_KEY_ID"), secretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		sessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	return env
}

// rootKeys returns the root user of the environment, or none; half a pair of keys is a mistake.
func (env *environment) rootKeys() (granary.User, error) {
	u := env.rootUser
	switch {
	case u.AccessKey == "" && u.SecretKey == "":
		return granary.User{}, nil
	case u.AccessKey == "" || u.SecretKey == "":
		return granary.User{}, usagef("GRANARY_ROOT_ACCESS_KEY and GRANARY_ROOT_SECRET_KEY must be set together")
	case len(u.SecretKey) < 8:
		return granary.User{}, usagef("GRANARY_ROOT_SECRET_KEY must have at least 8 characters")
	}
	return u, nil
}

// logger writes to standard error at the level asked for.
func (env *environment) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(env.logLevel)); err != nil {
		return nil, usagef("--log-level %q is none of debug, info, warn, error", env.logLevel)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
}

// clusterFlag adds --cluster.
func (env *environment) clusterFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&env.cluster, "cluster", env.cluster, "gRPC addresses of the masters, HOST:PORT,… (environment: GRANARY_CLUSTER)")
}

// outputFlag adds --output.
func (env *environment) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&env.output, "output", "o", "table", "what to print: table or json")
}

// masters splits --cluster.
func (env *environment) masters() ([]string, error) {
	addrs, err := splitMasters("--cluster", strings.Split(env.cluster, ","))
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, usagef("--cluster names no master: give HOST:PORT,…")
	}
	return addrs, nil
}

// splitMasters checks addresses of masters, and drops empty ones.
func splitMasters(flag string, texts []string) ([]string, error) {
	var addrs []string
	for _, a := range texts {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		if _, _, err := splitAddr(a); err != nil {
			return nil, usagef("%s: %w", flag, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// connect opens a client of the cluster for a role; patience is how long its calls look for a leader (0: the default), keep how
// many bytes of metadata it keeps.
func (env *environment) connect(ctx context.Context, name string, patience time.Duration, keep uint64, log *slog.Logger) (*client.Client, error) {
	masters, err := env.masters()
	if err != nil {
		return nil, err
	}
	return client.Open(ctx, client.Options{
		Masters:  masters,
		Shards:   volume.NewClient(),
		Name:     sessionName(name),
		RetryFor: patience,
		Log:      log,

		KeepBytes: int64(min(keep, math.MaxInt64)),
	})
}

// sessionName says what runs and where, for listings of sessions.
func sessionName(what string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return fmt.Sprintf("%s %s pid %d", what, host, os.Getpid())
}

// withClient runs a short command against the cluster.
func (env *environment) withClient(ctx context.Context, do func(context.Context, *client.Client) error) (err error) {
	log, err := env.logger()
	if err != nil {
		return err
	}
	masters, err := env.masters()
	if err != nil {
		return err
	}
	c, err := client.Open(ctx, client.Options{
		Masters: masters, Shards: volume.NewClient(), Name: sessionName("cli"), RetryFor: cliPatience, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}()
	return do(ctx, c)
}

// self is the user who runs the command.
func self() (granary.Cred, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return granary.Cred{}, fmt.Errorf("supplementary groups: %w", err)
	}
	cred := granary.Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	for _, g := range groups {
		cred.Groups = append(cred.Groups, uint32(g))
	}
	return cred, nil
}

// withFilerAs runs a short command on files as the user who runs it: what it looks for in paths is checked.
func (env *environment) withFilerAs(ctx context.Context, do func(context.Context, *filer.FS, granary.Cred) error) error {
	cred, err := self()
	if err != nil {
		return err
	}
	return env.withFiler(ctx, func(ctx context.Context, fs *filer.FS) error {
		return do(filer.WithCred(ctx, cred), fs, cred)
	})
}

// withFiler runs a short command on files.
func (env *environment) withFiler(ctx context.Context, do func(context.Context, *filer.FS) error) error {
	return env.withClient(ctx, func(ctx context.Context, c *client.Client) (err error) {
		log, err := env.logger()
		if err != nil {
			return err
		}
		fs := filer.New(filer.Options{Client: c, Log: log})
		defer func() {
			if cerr := fs.Close(ctx); err == nil {
				err = cerr
			}
		}()
		return do(ctx, fs)
	})
}
