package alerts

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// gate makes a gate of what the user wrote.
func (c *Custom) gate() Gate {
	g := Gate{
		Name: c.Name, Help: c.Signal, From: fromPromQL, Mode: c.mode(),
		For: time.Duration(c.For), InGrace: FiresInGrace(c.Name),
		Eval: evalCustom, Custom: c,
	}
	g.Limit = c.limit()
	g.Required = required(c.Required, g.Mode, true)
	return g
}

// mode is how far the gate may go: `verdict` says what its firing asks for and
// `mode` caps it. A gate that asks for nothing holds: nothing is rolled back
// that nobody asked to.
func (c *Custom) mode() Mode {
	asked := Hold
	if c.Verdict == "rollback" {
		asked = Enforce
	}
	reach := []Mode{Observe, Hold, Enforce}
	return reach[min(slices.Index(reach, asked), slices.Index(reach, cmp.Or(c.Mode, Enforce)))]
}

// limit is whichever of the two limits was written.
func (c *Custom) limit() float64 {
	if c.Above != nil {
		return *c.Above
	}
	if c.Below != nil {
		return *c.Below
	}
	return math.NaN() // refused by Validate
}

// crossed says whether a value is beyond the limit.
func (c *Custom) crossed(v float64) bool {
	if c.Above != nil {
		return v > *c.Above
	}
	return c.Below != nil && v < *c.Below
}

// sign writes the comparison that fires.
func (c *Custom) sign() string {
	if c.Above != nil {
		return ">"
	}
	return "<"
}

// A course is what one series of a custom signal did.
type course struct {
	scope   map[string]string
	points  []promql.FPoint // under this rollout, without NaN
	crossed int             // how many steps of the newest window are beyond the limit
	newest  promql.FPoint
}

func evalCustom(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	from := firstStep(scene)
	f := gate.finding(NoSeries)
	f.Limit, f.Window, f.Query, f.Since = &gate.Limit, short(gate.For), gate.Custom.Signal, scene.EvidenceFrom()
	f.Evidence = &Evidence{Method: "consecutive"}
	f.Message = "the signal has no value since the rollout started"
	if from.After(scene.Now) {
		return f, nil
	}
	matrix, err := scene.Window.Query(ctx, gate.Custom.Signal, from, scene.Now, scene.Interval)
	if err != nil {
		return Finding{}, fmt.Errorf("signal: %w", err)
	}
	courses := gate.courses(matrix, scene)
	if len(courses) == 0 {
		return f, nil
	}
	gate.judgeCourses(&f, courses, scene)
	return f, nil
}

// firstStep is the first evaluation after the rollout started, on the grid that
// scene.Now is on.
func firstStep(scene Scene) time.Time {
	elapsed := scene.Now.Sub(scene.EvidenceFrom())
	first := scene.EvidenceFrom().Add(elapsed % scene.Interval)
	if first.Equal(scene.EvidenceFrom()) {
		return first.Add(scene.Interval) // a value at the very start is of before it
	}
	return first
}

// steps is how many evaluations the last `for` holds.
func (g Gate) steps(interval time.Duration) int {
	return max(1, int((g.For+interval-1)/interval))
}

// courses are the series of the signal, the worst first.
func (g Gate) courses(matrix promql.Matrix, scene Scene) []course {
	begin := scene.Now.Add(-time.Duration(g.steps(scene.Interval)) * scene.Interval).UnixMilli()
	var all []course
	for _, series := range matrix {
		c := course{scope: series.Metric.Map()}
		for _, p := range series.Floats {
			if math.IsNaN(p.F) {
				continue
			}
			c.points, c.newest = append(c.points, p), p
			if p.T > begin && g.Custom.crossed(p.F) {
				c.crossed++
			}
		}
		if len(c.points) > 0 {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b course) int {
		return cmp.Or(cmp.Compare(b.crossed, a.crossed), cmp.Compare(b.newest.T, a.newest.T))
	})
	return all
}

// judgeCourses finds the state of the worst series.
func (g Gate) judgeCourses(f *Finding, courses []course, scene Scene) {
	worst, steps := courses[0], g.steps(scene.Interval)
	f.Scope = worst.scope
	f.Observed, f.N = &worst.newest.F, float64(len(worst.points))
	f.observed(stepTimes(courses), scene)
	f.Evidence.Spans, f.Evidence.SpansOver = steps, worst.crossed
	began := worst.since(g.Custom.crossed, f.Since)
	switch {
	case scene.Now.Sub(f.LastSeen) > staleAfter(scene.Interval):
		f.State, f.Since = Stale, f.LastSeen.Add(staleAfter(scene.Interval))
		f.Message = "the signal has no value since " + clock(f.LastSeen)
		return
	case worst.crossed == 0:
		f.State, f.Since = OK, began
	case scene.warmingUp() && !g.InGrace:
		f.State, f.Since = WarmingUp, began
	case worst.crossed < steps:
		f.State, f.Since = Pending, began
	default:
		f.State, f.Since = Firing, began.Add(time.Duration(steps-1)*scene.Interval)
	}
	f.Message = fmt.Sprintf("%.4g, limit %s %g, beyond it at %d of %d evaluations",
		worst.newest.F, g.Custom.sign(), g.Limit, worst.crossed, steps)
}

// since is when the newest run of values on one side of the limit began, start
// if it was never on the other.
func (c course) since(crossed func(float64) bool, start time.Time) time.Time {
	side := crossed(c.newest.F)
	for i := len(c.points) - 2; i >= 0; i-- {
		if crossed(c.points[i].F) != side {
			return time.UnixMilli(c.points[i+1].T)
		}
	}
	if side {
		return time.UnixMilli(c.points[0].T)
	}
	return start
}

// stepTimes are the evaluations at which any of the series has a value.
func stepTimes(courses []course) []time.Time {
	var all []int64
	for _, c := range courses {
		for _, p := range c.points {
			all = append(all, p.T)
		}
	}
	return moments(all)
}
