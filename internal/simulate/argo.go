package simulate

import (
	"math"
	"time"
)

// argo models an AnalysisRun of Argo Rollouts: each minute one measurement of each
// metric over the last five, and its rules of when a metric has failed.
type argo struct {
	success      float64 // at least
	p99          float64 // seconds at most; 0: not measured
	failureLimit int
	errorLimit   int  // consecutiveErrorLimit
	handled      bool // the condition lets NaN and empty results pass
}

// A phase is how a measurement, or a metric, went.
type phase int

const (
	running phase = iota
	successful
	failed
	errored
)

// An argoMetric is a metric of an AnalysisRun under way.
type argoMetric struct {
	failures          int // ever: failureLimit is cumulative
	consecutiveErrors int
}

// measured takes one measurement and says whether the metric has failed by it.
func (m *argoMetric) measured(p phase, rule argo) phase {
	switch p {
	case failed:
		m.failures++
		m.consecutiveErrors = 0
	case errored:
		m.consecutiveErrors++
	case running, successful:
		m.consecutiveErrors = 0
	}
	switch {
	case m.failures > rule.failureLimit:
		return failed
	case m.consecutiveErrors > rule.errorLimit:
		return errored
	default:
		return running
	}
}

// measure is one measurement: without a series the query's first result cannot be
// taken, which is an error; NaN meets no condition, which is a failure.
func (a argo) measure(r reading, value float64, good bool) phase {
	switch {
	case (r.empty() || math.IsNaN(value)) && a.handled, good:
		return successful
	case r.empty():
		return errored
	default:
		return failed
	}
}

func (a argo) rollsAt(h *history) time.Duration {
	var errors, slow argoMetric
	for tick := minuteTicks; tick <= h.watch; tick += minuteTicks {
		r := last(h.new, tick, 5*minuteTicks)
		is := errors.measured(a.measure(r, r.failing(), 1-r.failing() >= a.success), a)
		if is == running && a.p99 > 0 {
			is = slow.measured(a.measure(r, r.p99(), r.p99() <= a.p99), a)
		}
		if is != running {
			return time.Duration(tick) * interval
		}
	}
	return 0
}
