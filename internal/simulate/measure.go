package simulate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// A Measure is what one judge made of the runs of one cell.
type Measure struct {
	Runs       int
	RolledBack int
	Promoted   int             // at the end of the watch
	HeldAtEnd  int             // hold at the end of the watch
	Held       int             // hold at least once
	Blamed     int             // firing evidence was attributed to what it is to be
	Misblamed  int             // and to something else
	Changes    int             // of the verdict beyond the first
	Harm       float64         // requests that the fault spoiled within the watch before it was rolled back
	Delays     []time.Duration // from the onset to the rollback, sorted by summary
	Promotions []time.Duration // from the start to the promotion
}

// add takes one outcome.
func (m *Measure) add(s *Scenario, out Outcome) {
	m.Runs++
	if out.RolledBack > 0 {
		m.RolledBack++
		m.Delays = append(m.Delays, out.RolledBack-s.Onset-out.Late)
	}
	if out.AtEnd == verdict.Promote {
		m.Promoted++
	}
	if out.AtEnd == verdict.HoldOn {
		m.HeldAtEnd++
	}
	if out.Held {
		m.Held++
	}
	if out.Promoted > 0 {
		m.Promotions = append(m.Promotions, out.Promoted)
	}
	if out.Fired {
		right := s.Cause
		if cmp.Or(out.Blamed, alerts.Version) == cmp.Or(right, alerts.Version) {
			m.Blamed++
		} else {
			m.Misblamed++
		}
	}
	m.Changes += out.Changes
	m.Harm += out.Harm
}

// merge adds the runs of another chunk.
func (m *Measure) merge(o *Measure) {
	m.Runs += o.Runs
	m.RolledBack += o.RolledBack
	m.Promoted += o.Promoted
	m.HeldAtEnd += o.HeldAtEnd
	m.Held += o.Held
	m.Blamed += o.Blamed
	m.Misblamed += o.Misblamed
	m.Changes += o.Changes
	m.Harm += o.Harm
	m.Delays = append(m.Delays, o.Delays...)
	m.Promotions = append(m.Promotions, o.Promotions...)
}

// share is a part of the runs.
func (m *Measure) share(n int) float64 { return float64(n) / float64(max(1, m.Runs)) }

// quantile is the time by which that part of them had come; 0 without any.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// wilson is the 95 % interval of a share by Wilson's score.
func wilson(hits, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	p, m := float64(hits)/float64(n), float64(n)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, middle-half), min(1, middle+half)
}
