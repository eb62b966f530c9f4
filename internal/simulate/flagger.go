package simulate

import "time"

// flagger models the analysis of a Canary of Flagger: each minute its metrics over
// the last one. A check that fails, or finds no values, adds one to a count that
// nothing takes back.
type flagger struct {
	success   float64 // at least
	p99       float64 // seconds at most
	threshold int
}

func (f flagger) rollsAt(h *history) time.Duration {
	failedChecks := 0
	for tick := minuteTicks; tick <= h.watch; tick += minuteTicks {
		if r := last(h.new, tick, minuteTicks); !f.passes(r) {
			failedChecks++
		}
		if failedChecks >= f.threshold {
			return time.Duration(tick) * interval
		}
	}
	return 0
}

// passes says whether a check is passed. A comparison with NaN is not: without
// traffic "no values" are found.
func (f flagger) passes(r reading) bool {
	return 1-r.failing() >= f.success && r.p99() <= f.p99
}
