package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// changesKept is how long changes are kept at least once somebody wants events of them: they wait in the log for targets that are down.
const changesKept = 24 * 3600 * granary.Time(1e9)

// testPatience is how long the test event may take that a target gets when it is configured.
const testPatience = 5 * time.Second

// Service is what is set up of notifications in a cluster: targets, and the configurations of buckets.
type Service struct {
	c    cluster
	log  *slog.Logger
	now  func() time.Time
	dial dialer
}

// New returns the service of a client's cluster. log may be nil.
func New(c *client.Client, log *slog.Logger) *Service {
	return newService(clientCluster{c}, log)
}

func newService(c cluster, log *slog.Logger) *Service {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Service{c: c, log: log, now: time.Now, dial: dial}
}

// Targets returns all targets, by name.
func (s *Service) Targets(ctx context.Context) ([]Target, error) {
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return nil, err
	}
	var all []Target
	for _, t := range r.targets {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Target) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// AddTarget names a target; KindExists if there is one by the name, unless it is to be replaced. What waits for a target that is replaced
// goes to the new one. The type stays, for configurations name it.
func (s *Service) AddTarget(ctx context.Context, t Target, replace bool) error {
	if err := t.Validate(); err != nil {
		return err
	}
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return err
	}
	old, there := r.targets[t.Name]
	switch {
	case there && !replace:
		return granary.Errorf(granary.KindExists, "notify.target", t.Name, "there is a target by that name: it is %s", old.Shown())
	case there && old.Type() != t.Type():
		return granary.Errorf(granary.KindInvalid, "notify.target", t.Name, "it is a target of type %s, and stays one", old.Type())
	case !there && len(r.targets) >= TargetsMax:
		return granary.Errorf(granary.KindTooLarge, "notify.target", t.Name, "there are %d targets", len(r.targets))
	}
	return put(ctx, s.c, home(), attributeTarget+t.Name, &t)
}

// RemoveTarget forgets a target; KindNotEmpty if the configuration of a bucket names it.
func (s *Service) RemoveTarget(ctx context.Context, name string) error {
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return err
	}
	if _, there := r.targets[name]; !there {
		return granary.Errorf(granary.KindNotFound, "notify.target", name, "no such target")
	}
	if users := r.users(name); len(users) > 0 {
		return granary.Errorf(granary.KindNotEmpty, "notify.target", name, "these buckets notify it: %s", strings.Join(users, ", "))
	}
	return s.c.drop(ctx, home(), attributeTarget+name)
}

// TestTarget sends a target a test event.
func (s *Service) TestTarget(ctx context.Context, name string) error {
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return err
	}
	t, there := r.targets[name]
	if !there {
		return granary.Errorf(granary.KindNotFound, "notify.target", name, "no such target")
	}
	return s.test(ctx, t, "", "test")
}

// test sends a test event to a target.
func (s *Service) test(ctx context.Context, t Target, bucket, request string) error {
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	body, err := testDocument(bucket, request, s.now())
	if err != nil {
		return err
	}
	sender, err := s.dial(t)
	if err != nil {
		return err
	}
	_, err = sender.Send(ctx, []Message{{Key: bucket, Body: body}})
	return errors.Join(err, sender.Close())
}

// Configuration returns the configuration of a bucket by the inode of its root; one without rules if it has none.
func (s *Service) Configuration(ctx context.Context, root granary.InodeID) (*Configuration, error) {
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return nil, err
	}
	c := r.buckets[root]
	return &c, nil
}

// Errors of Configure, for those who have words of their own for them.
var (
	ErrNoTarget    = errors.New("there is no such target")
	ErrUnreachable = errors.New("the test event was not delivered")
)

// Configure replaces the configuration of a bucket. Each target gets a test event before, and if one cannot be delivered nothing is changed,
// unless untested is given. What is changed in the bucket after Configure returns is delivered. Targets that were named before go on
// where they are, and others begin now.
//
// It sees to it that the masters keep changes, for a day if they keep none, or as they do by default.
func (s *Service) Configure(ctx context.Context, root granary.InodeID, c *Configuration, request string, untested bool) error {
	if err := c.Validate(); err != nil {
		return err
	}
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return err
	}
	if err := s.checkTargets(ctx, r, c, request, untested); err != nil {
		return err
	}
	before, had := r.buckets[root]
	if len(c.Rules) == 0 && !had {
		return nil
	}
	if len(c.Rules) > 0 {
		if err := s.keepChanges(ctx); err != nil {
			return err
		}
		if err := s.beginCursors(ctx, root, c.targets(), before.targets()); err != nil {
			return err
		}
		if err := put(ctx, s.c, home(), bucketAttribute(root), c); err != nil {
			return err
		}
	} else if err := s.c.drop(ctx, home(), bucketAttribute(root)); err != nil {
		return err
	}
	for _, name := range before.targets() {
		if slices.Contains(c.targets(), name) {
			continue
		}
		if err := s.c.drop(ctx, root.Dataset().System(), attributeCursor+name); err != nil {
			return err
		}
	}
	return nil
}

// checkTargets refuses a configuration whose targets are not there, or do not answer.
func (s *Service) checkTargets(ctx context.Context, r *registry, c *Configuration, request string, untested bool) error {
	for i := range c.Rules {
		rule := &c.Rules[i]
		name, kind, err := ParseARN(rule.ARN)
		if err != nil {
			return err
		}
		if t, there := r.targets[name]; !there || t.Type() != kind {
			return granary.Errorf(granary.KindInvalid, "notify.configure", rule.ARN, "%w", ErrNoTarget)
		}
	}
	if untested {
		return nil
	}
	for _, name := range c.targets() {
		if err := s.test(ctx, r.targets[name], c.Bucket, request); err != nil {
			return granary.Errorf(granary.KindInvalid, "notify.configure", name, "%w: %w", ErrUnreachable, err)
		}
	}
	return nil
}

// keepChanges sees to it that the masters keep changes.
func (s *Service) keepChanges(ctx context.Context) error {
	settings, err := s.c.settings(ctx)
	if err != nil {
		return err
	}
	if settings.Keep != 0 && settings != granary.DefaultChangeLog() {
		return nil
	}
	if settings.MaxBytes == 0 {
		settings = granary.DefaultChangeLog()
	}
	settings.Keep = changesKept
	s.log.Info("changes are kept longer, for notifications that wait", "keep", time.Duration(changesKept))
	return s.c.setSettings(ctx, settings)
}

// beginCursors has the targets that are new begin with what is changed from now on.
func (s *Service) beginCursors(ctx context.Context, root granary.InodeID, targets, before []string) error {
	var now changes
	for _, name := range targets {
		if slices.Contains(before, name) {
			continue
		}
		if now == nil {
			now = s.c.watch(root, client.WatchOptions{Start: granary.WatchNow})
			if err := now.Begin(ctx); err != nil {
				return err
			}
		}
		cursor := Cursor{At: now.Position(), Updated: s.now().UTC()}
		if err := put(ctx, s.c, root.Dataset().System(), attributeCursor+name, &cursor); err != nil {
			return err
		}
	}
	return nil
}

// Status is how the delivery of a bucket's events to a target fares.
type Status struct {
	Bucket  string `json:"bucket"`
	Target  string `json:"target"`
	Cursor         // as it was noted last
	Pending int    `json:"pending"` // changes in the bucket that come after the cursor, whether or not rules want them
	More    bool   `json:"more"`    // and more than those
	Behind  bool   `json:"behind"`  // the log does not keep all that comes after the cursor
}

// Status returns how all deliveries fare, by bucket and target.
func (s *Service) Status(ctx context.Context) ([]Status, error) {
	r, err := readRegistry(ctx, s.c)
	if err != nil {
		return nil, err
	}
	var all []Status
	for _, root := range r.roots() {
		c := r.buckets[root]
		for _, name := range c.targets() {
			st := Status{Bucket: c.Bucket, Target: name}
			switch err := s.status(ctx, root, &st); {
			case granary.IsKind(err, granary.KindNotFound): // the bucket is gone, and a runner will notice
				continue
			case err != nil:
				return nil, fmt.Errorf("bucket %s, target %s: %w", c.Bucket, name, err)
			}
			all = append(all, st)
		}
	}
	return all, nil
}

func (s *Service) status(ctx context.Context, root granary.InodeID, st *Status) error {
	cursor, err := readCursor(ctx, s.c, root, st.Target)
	if err != nil || cursor == nil {
		return err
	}
	st.Cursor = *cursor
	a, err := s.c.pending(ctx, root, cursor.At)
	switch {
	case granary.IsKind(err, granary.KindNotSupported): // the log is off
		st.Behind = true
		return nil
	case err != nil:
		return err
	}
	st.Pending, st.More, st.Behind = len(a.Changes), a.More, a.Behind
	return nil
}
