package collector

import (
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A Target is one thing that is read on a schedule.
type Target struct {
	Kind     string // a name of probes.Kinds
	Name     string // the value of the label `target`
	Required bool   // the aggregate health fails with it
	Interval time.Duration
	Timeout  time.Duration
	Probe    probe.Probe
}

// A Status is what is known of one Target: its newest Reading and how reading
// went. A Reading older than three intervals is not served (Fresh).
type Status struct {
	Kind, Name  string
	Required    bool
	Interval    time.Duration
	Up          bool      // the newest Read succeeded
	Err         error     // why it did not
	Started     time.Time // of the newest finished Read; zero before the first
	Duration    time.Duration
	LastSuccess time.Time // zero if there was none
	Missed      uint64    // ticks passed over because a Read was still running
	Dropped     uint64    // series dropped over the target's budget, in all
	Reading     probe.Reading
}

// StaleAfter is how many intervals a Reading is served without a newer one.
const StaleAfter = 3

// Fresh says whether the Reading may still be shown at now.
func (s Status) Fresh(now time.Time) bool {
	return !s.LastSuccess.IsZero() && now.Sub(s.LastSuccess) <= StaleAfter*s.Interval
}
