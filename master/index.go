package master

import (
	"context"
	"time"
)

// indexRetry is how long a leader waits after a step that was not applied.
const indexRetry = time.Second

// indexPlaces has what states and commands of earlier formats made entered into the tables of places: step by step,
// until nothing is left. In a cluster that began with these tables there is nothing to do.
func (l *leadership) indexPlaces(ctx context.Context) {
	told := false
	for ctx.Err() == nil {
		st := l.s.states.acquire()
		head := st.current()
		st.release()
		step := head.indexStep()
		if step == nil {
			break
		}
		if !told {
			told = true
			l.s.log.Info("what earlier releases stored is being entered into the tables of places", "volumes", head.LastVolume, "blocks", head.LastBlock)
		}
		results, err := l.prop.propose(ctx, step)
		if err := failure(err, results); err != nil && ctx.Err() == nil {
			l.s.log.Warn("a step of entering blocks by place was not applied; trying again", "error", err)
			pause(ctx, indexRetry)
		}
	}
	if told && ctx.Err() == nil {
		l.s.log.Info("all blocks are entered by place")
	}
}
