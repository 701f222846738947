package master

import (
	"time"

	"github.com/dsorchard/granary"
)

// absenceStep is how often it is committed for how long a server has been away: what a change of leader may add to the time until its
// shards are made anew.
const absenceStep = granary.Time(10 * time.Second)

// silence is how long a server has been away, as this leader counts it.
type silence struct {
	since  time.Time    // heard last, by this leader, or when it took office
	before granary.Time // that leaders before it have counted
}

// absentFor returns for how long leaders have not heard a server, all told. Only times at which one of them was there to hear it count: when
// all masters were off, the servers may have been, too.
func (c *curator) absentFor(server granary.ServerID, recorded granary.Time, now time.Time) granary.Time {
	since := c.l.live.silentSince(server)
	s, ok := c.silences[server]
	if !ok || !s.since.Equal(since) {
		s = silence{since: since, before: recorded}
		if c.l.live.hasHeard(server) {
			s.before = 0
		}
		c.silences[server] = s
	}
	return s.before + granary.Time(max(now.Sub(since), 0))
}

// noteAbsence notes what is to be committed about a server: that it has come back, or that it has been away for a while longer. When it
// has been away for so long that its shards are made anew, nothing more is to be known.
func (c *curator) noteAbsence(server granary.ServerID, up bool, recorded, away, grace granary.Time) {
	switch {
	case up && recorded > 0:
		c.aways = append(c.aways, absence{server, 0})
	case !up && recorded <= grace && away >= recorded+absenceStep:
		c.aways = append(c.aways, absence{server, away})
	case !up && away < recorded: // it was heard in between
		c.aways = append(c.aways, absence{server, away})
	}
}

// absences makes the item that says so.
func (c *curator) absences() []item {
	if len(c.aways) == 0 {
		return nil
	}
	some := atMost(c.aways)
	c.aways = c.aways[len(some):]
	return []item{&serversAbsent{some}}
}
