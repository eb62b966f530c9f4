package collector

import (
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A Target is one thing that is read on a schedule. No two have the same kind
// and name.
type Target struct {
	Kind     string // a name of probes.Kinds
	Name     string // the value of the label `target`
	Required bool   // the aggregate health fails with it
	Interval time.Duration
	Timeout  time.Duration
	Budget   int // how many series it may have; the rest are dropped, and said so
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
	LastSuccess time.Time     // when the newest Read that succeeded was started; zero if there was none
	Missed      uint64        // ticks passed over because a Read was still running
	Dropped     uint64        // series dropped, in all: over the target's budget, or read twice
	Reading     probe.Reading // empty when it is not fresh; shared, not to be written to
}

// StaleAfter is how many intervals a Reading is served without a newer one.
const StaleAfter = 3

// Fresh says whether the Reading may still be shown at now.
func (s Status) Fresh(now time.Time) bool {
	return !s.LastSuccess.IsZero() && now.Sub(s.LastSuccess) <= StaleAfter*s.Interval
}

// trim makes the samples of a Reading safe to serve: every label valid UTF-8,
// no series twice, and no more than budget. It returns how many series were left
// out for each reason. What it keeps is a copy: the probe may write its next
// Reading over this one.
func trim(samples []probe.Sample, budget int) (kept []probe.Sample, twice, over int) {
	seen := make(map[string]struct{}, min(len(samples), budget))
	kept = make([]probe.Sample, 0, min(len(samples), budget))
	series := 0
	for _, s := range samples {
		if slices.ContainsFunc(s.Labels, invalid) {
			s.Labels = slices.Clone(s.Labels)
			for i, v := range s.Labels {
				s.Labels[i] = strings.ToValidUTF8(v, "\uFFFD")
			}
		}
		key := s.Metric.Name + "\xff" + strings.Join(s.Labels, "\xff")
		if _, ok := seen[key]; ok {
			twice++
			continue
		}
		if series+s.Series() > budget {
			over += s.Series()
			continue
		}
		series += s.Series()
		seen[key] = struct{}{}
		kept = append(kept, s)
	}
	return kept, twice, over
}

func invalid(s string) bool { return strings.ToValidUTF8(s, "") != s }
