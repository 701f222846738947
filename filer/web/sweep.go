package web

import (
	"context"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

const (
	uploadTTLDefault = 24 * time.Hour
	sweepEvery       = 10 * time.Minute
	// stageTTL is how long what becomes a directory in one step may take.
	stageTTL = 3 * 24 * time.Hour
)

// sweeper removes what was begun and never ended, until Close.
func (h *Handler) sweeper(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if err := h.sweep(ctx, now); err != nil && ctx.Err() == nil {
				h.log.Warn("expired uploads not removed", "error", err)
			}
		}
	}
}

// sweep removes the uploads that have expired, and the stages of filers that died.
func (h *Handler) sweep(ctx context.Context, now time.Time) error {
	if err := h.sweepStates(ctx, now); err != nil {
		return err
	}
	var after granary.DatasetID
	for {
		page, err := client.Ask[*granary.Datasets](ctx, h.fs.Client(), &granary.ListDatasets{After: after})
		if err != nil {
			return err
		}
		for _, d := range page.Datasets {
			after = d.ID
			err := h.sweepParts(ctx, d.ID, now)
			if err == nil {
				err = h.fs.SweepStages(ctx, d.ID, now.Add(-stageTTL))
			}
			if err != nil && !granary.IsKind(err, granary.KindNotFound) { // the dataset may be gone
				return err
			}
		}
		if !page.More || len(page.Datasets) == 0 {
			return nil
		}
	}
}

// sweepStates removes uploads to which nothing has come for so long.
func (h *Handler) sweepStates(ctx context.Context, now time.Time) error {
	ids, err := h.tusNames(ctx, granary.RootDataset, false)
	if err != nil {
		return err
	}
	for _, id := range ids {
		u, err := h.loadTus(ctx, id)
		if err == nil && now.Sub(u.touched) > h.uploadTTL {
			err = h.removeTus(ctx, u)
		}
		if err != nil && !granary.IsKind(err, granary.KindNotFound) && !granary.IsKind(err, granary.KindCorrupt) {
			return err
		}
	}
	return nil
}

// sweepParts removes parts that belong to no upload.
func (h *Handler) sweepParts(ctx context.Context, dataset granary.DatasetID, now time.Time) error {
	ids, err := h.tusNames(ctx, dataset, true)
	if err != nil {
		return err
	}
	for _, id := range ids {
		name := tusPrefix + id + tusParts
		// Of an upload that is addressed still, the parts must not go first: it would seem complete.
		if _, err := h.fs.Stat(ctx, granary.RootDataset.System(), tusPrefix+id, filer.StatOptions{}); !granary.IsKind(err, granary.KindNotFound) {
			if err != nil {
				return err
			}
			continue
		}
		info, err := h.fs.Stat(ctx, dataset.System(), name, filer.StatOptions{})
		if err == nil && now.Sub(info.Attr.Mtime.Std()) > h.uploadTTL {
			err = h.fs.Remove(ctx, dataset.System(), name, filer.RemoveOptions{Recursive: true})
		}
		if err != nil && !granary.IsKind(err, granary.KindNotFound) {
			return err
		}
	}
	return nil
}

// tusNames returns the ids of the uploads that have something among the uploads in progress of a dataset: themselves, or their parts.
func (h *Handler) tusNames(ctx context.Context, dataset granary.DatasetID, parts bool) ([]string, error) {
	var ids []string
	err := h.fs.ReadDir(ctx, dataset.System(), func(e granary.Entry) bool {
		id, is := strings.CutPrefix(e.Name, tusPrefix)
		id, isParts := strings.CutSuffix(id, tusParts)
		if is && isParts == parts && validTusID(id) {
			ids = append(ids, id)
		}
		return true
	})
	return ids, err
}
