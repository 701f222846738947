package s3

import (
	"context"
	"slices"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Transitions put objects into other storage classes: the class is changed at once, and the content follows in the background, as after any change of
// a policy (granary.SetPolicy). So a transition survives what its filer and the workers do not.

// transition is a Transition of a rule.
type transition struct {
	Date  *time.Time `xml:",omitempty"`
	Days  *int       `xml:",omitempty"`
	Class string     `xml:"StorageClass"`
}

// noncurrentTransition is a NoncurrentVersionTransition of a rule.
type noncurrentTransition struct {
	Days  *int   `xml:"NoncurrentDays"`
	Newer *int   `xml:"NewerNoncurrentVersions,omitempty"`
	Class string `xml:"StorageClass"`
}

// transitionSizeMin is the size below which objects stay where they are, unless a rule's filter speaks of sizes; and what answers say of that.
const (
	transitionSizeMin   = 128 << 10
	transitionHeader    = "X-Amz-Transition-Default-Minimum-Object-Size"
	transitionSizeByAll = "all_storage_classes_128K"
	transitionSizeByOne = "varies_by_storage_class" // the classes that it varies for are not offered
)

// checkTransitions refuses transitions of a rule that could not be carried out.
func (r *lifecycleRule) checkTransitions() error {
	var classes []string
	byDays, byDate := 0, 0
	for _, t := range r.Transitions {
		switch {
		case (t.Days == nil) == (t.Date == nil), t.Class == "":
			return malformedXML()
		case t.Days != nil && *t.Days < 0:
			return refuse(codeInvalidArgument, "'Days' in Transition action must be nonnegative")
		case t.Date != nil && !t.Date.Equal(t.Date.Truncate(hoursOfDay)):
			return refuse(codeInvalidArgument, "'Date' must be at midnight GMT")
		case t.Days != nil && r.Expiration != nil && r.Expiration.Days != nil && *r.Expiration.Days <= *t.Days:
			return refuse(codeInvalidArgument, "'Days' in the Expiration action for filter must be greater than 'Days' in the Transition action")
		}
		if t.Days != nil {
			byDays++
		} else {
			byDate++
		}
		classes = append(classes, t.Class)
	}
	if byDays > 0 && byDate > 0 {
		return refuse(codeInvalidRequest, "Found mixed 'Date' and 'Days' based Transition actions in lifecycle rule")
	}
	if err := checkTransitionClasses(classes, "Transition"); err != nil {
		return err
	}
	classes = nil
	for _, t := range r.Moves {
		switch {
		case t.Days == nil, t.Class == "", t.Newer != nil && (*t.Newer < 1 || *t.Newer > 100):
			return malformedXML()
		case *t.Days < 0:
			return refuse(codeInvalidArgument, "'NoncurrentDays' in NoncurrentVersionTransition action must be nonnegative")
		case r.Noncurrent != nil && r.Noncurrent.Days != nil && *r.Noncurrent.Days <= *t.Days:
			return refuse(codeInvalidArgument, "'NoncurrentDays' in the NoncurrentVersionExpiration action for filter must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition action")
		}
		classes = append(classes, t.Class)
	}
	return checkTransitionClasses(classes, "NoncurrentVersionTransition")
}

// checkTransitionClasses refuses classes that nothing is put into, or twice by one rule.
func checkTransitionClasses(classes []string, action string) error {
	for i, class := range classes {
		if is, err := parseClass(class); err != nil {
			return err
		} else if is == "" || is == granary.StorageClasses()[0] { // the one that nothing is put into because of its age
			return malformedXML()
		}
		if slices.Contains(classes[:i], class) {
			return refuse(codeInvalidRequest, "'StorageClass' must be different for '%s' actions in same 'Rule'", action)
		}
	}
	return nil
}

// tellTransitionSize says in the answer which objects are too small for transitions, and refuses to choose otherwise.
func (q *request) tellTransitionSize() error {
	switch size := q.r.Header.Get(transitionHeader); size {
	case "", transitionSizeByAll, transitionSizeByOne:
		q.w.Header().Set(transitionHeader, transitionSizeByAll)
		return nil
	default:
		return refuseArgument("x-amz-transition-default-minimum-object-size", size, "Invalid TransitionDefaultMinimumObjectSize found")
	}
}

// move is an object, or a version of one, that a rule may put into another class.
type move struct {
	removal
	classes []string // one for each rule
}

// moves returns what may have to be put into another class of what judge looks at: the newest version with the age of since, or with newer other
// versions between it and the newest.
func (w *bucketWork) moves(item *granary.ListItem, version granary.ObjectVersion, since granary.Time, newest bool, newer int) (m move, any bool) {
	if item.Attr.IsDir() {
		return m, false
	}
	m.removal = removal{item: *item, version: version}
	for i := range w.rules {
		r := &w.rules[i]
		if terms := r.terms(); terms.Greater == nil && terms.Less == nil && sizeOf(&item.Attr) < transitionSizeMin {
			continue
		}
		var due []string
		if newest {
			for _, t := range r.Transitions {
				if t.Days != nil && w.l.past(since, *t.Days, w.now) || t.Date != nil && !w.now.Before(*t.Date) {
					due = append(due, t.Class)
				}
			}
		} else {
			for _, t := range r.Moves {
				if (t.Newer == nil || newer >= *t.Newer) && w.l.past(since, *t.Days, w.now) {
					due = append(due, t.Class)
				}
			}
		}
		for _, class := range due {
			m.rules, m.classes = append(m.rules, r), append(m.classes, class)
		}
	}
	return m, len(m.rules) > 0
}

// move carries out a transition: into the last of the classes of the rules that cover the object, if that comes after the one that it is in.
func (w *bucketWork) move(ctx context.Context, job move) error {
	class, err := w.l.h.store.StorageClass(ctx, &job.item.Attr)
	if err != nil {
		return err
	}
	rank := func(class string) int { return slices.Index(granary.StorageClasses(), class) }
	to := class
	for i, r := range job.rules {
		if rank(job.classes[i]) <= rank(to) {
			continue
		}
		is, err := r.covers(&job.item, func() ([]tag, error) { return w.tags(ctx, job.removal) })
		if err != nil {
			return err
		}
		if is {
			to = job.classes[i]
		}
	}
	if to == class {
		return nil
	}
	err = w.l.h.store.SetStorageClass(client.WithOrigin(ctx, granary.OriginLifecycle), &job.item.Attr, to)
	switch granary.KindOf(err) {
	case granary.KindNone:
		w.moved.Add(1)
		return nil
	case granary.KindNotFound: // it is gone
		return nil
	case granary.KindLocked:
		w.l.log.Debug("a lifecycle rule would put what is locked into another class", "bucket", w.b.Name, "key", job.item.Key)
		return nil
	}
	return err
}
