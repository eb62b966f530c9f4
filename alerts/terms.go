package alerts

import (
	"fmt"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// Terms are what worse means in a comparison, and how it is said.
type Terms struct {
	R0      float64   // times the old version's rate that is no reason to roll back
	Effects []float64 // that are looked for
	figure  func(rate float64) string
	idle    string // what is said when nothing happened
	alone   string // what is said when the new version was not exposed
	proven  string
	work    bool // events are counted over the seconds of workers
}

// ofRequests are the terms of what may happen to requests.
var ofRequests = Terms{
	R0: excusedRisk, Effects: sequential.Harm, figure: percent,
	idle: "no requests to compare", alone: "no requests to compare",
	proven: fmt.Sprintf("over %g times as many", excusedRisk),
}

// ofCompletions are the terms of the jobs that workers complete, ofFailures of those
// that fail under them.
var (
	ofCompletions = Terms{
		R0: 1 / excusedRisk, Effects: sequential.Slowness, figure: perWorker, work: true,
		idle: "no jobs to compare", alone: "no worker of the new version was there to compare",
		proven: fmt.Sprintf("less than 1/%g of it", excusedRisk),
	}
	ofFailures = Terms{
		R0: excusedRisk, Effects: sequential.Harm, figure: perWorker, work: true,
		idle: ofCompletions.idle, alone: ofCompletions.alone,
		proven: fmt.Sprintf("over %g times as many", excusedRisk),
	}
)

// perWorker writes a rate of jobs.
func perWorker(rate float64) string { return fmt.Sprintf("%.3g/s a worker", rate) }

// strata are what the two arms of a tick show. What is not told apart by queues is
// written into whole.
func (s Side) strata(tick *Tick, whole []sequential.Tick) []sequential.Tick {
	if s.ByQueue == nil {
		whole[0].Exposure, whole[0].Events = s.Of(tick.Subject)
		whole[0].ControlExposure, whole[0].ControlEvents = s.Of(tick.Control)
		return whole
	}
	strata := make([]sequential.Tick, max(len(tick.Subject.Work), len(tick.Control.Work)))
	for i := range strata {
		strata[i].Exposure, strata[i].Events = s.ByQueue(tick.Subject.at(i))
		strata[i].ControlExposure, strata[i].ControlEvents = s.ByQueue(tick.Control.at(i))
	}
	return strata
}

// total is what one arm shows.
func (s Side) total(t Tally) (n, bad float64) {
	if s.ByQueue == nil {
		return s.Of(t)
	}
	return s.ByQueue(t.work())
}

// settles says whether the new version needs time for its first events.
func (c Comparison) settles() bool { return c.Terms.R0 < 1 }

// settled is when what the new version does begins to count. A version that starts
// with cold caches is not compared with one that did so yesterday; and a worker that
// has just begun has finished nothing for as long as its first job takes, however
// good it is.
func (c Comparison) settled(counts Counts, scene Scene) time.Time {
	warm := scene.comparedFrom()
	if !c.settles() {
		return warm
	}
	for _, tick := range counts.between(scene.EvidenceFrom(), scene.Now) {
		if tick.Subject.work().Seconds > 0 {
			return later(warm, tick.At.Add(c.Settles))
		}
	}
	return warm
}

// comparedFrom is the time from which on versions are compared.
func (s Scene) comparedFrom() time.Time { return later(s.EvidenceFrom(), s.warm()) }

// compared is the stretch in which versions are compared.
func (s Scene) compared() Span { return Span{From: s.comparedFrom(), To: s.Now} }

// testOf tests against a rate of the old version's. Only what is worse than that is
// evidence.
func (c Comparison) testOf(risk float64, scene Scene) sequential.Test {
	effects := slices.DeleteFunc(slices.Clone(c.Terms.Effects), func(effect float64) bool {
		return effect == risk || (effect > risk) != (c.Terms.R0 > 1)
	})
	return sequential.Test{R0: risk, Effects: effects, Horizon: max(1, int(c.lasts(scene)/scene.Interval)), Dispersion: c.Dispersion.Value}
}

// lasts is for how long a rollout may be compared: to allow for effects that begin
// later would only cost time.
func (c Comparison) lasts(scene Scene) time.Duration {
	if watch := scene.Policy.Watch; watch > 0 && scene.comparesTracks(c.Terms.work) {
		return min(longestWatch, 2*watch)
	}
	return longestWatch
}

// matter says which sides may roll a version back. What is slow is so by the user's
// own measure, the 99th percentile: it has to lie as far above the baseline's as the
// other rates may. A small shift makes many times as many of the few requests that
// were slow anyway. Where the buckets end below that, the last edge has to do.
func (c Comparison) matter(scene Scene) []bool {
	matter := make([]bool, len(c.Sides))
	for i, side := range c.Sides {
		matter[i] = i == len(c.Sides)-1 || side.Beyond == 0 || side.Beyond >= c.Terms.R0*scene.Subject.Baseline.P99
	}
	return matter
}

// detectable is the smallest times the control's rate (of completions: so many
// times less) that so much exposure would be expected to prove; 0 when none would.
func (c Comparison) detectable(total sequential.Tick) float64 {
	if total.Exposure == 0 || total.ControlExposure == 0 {
		return 0
	}
	test := c.testOf(c.Terms.R0, Scene{Interval: longestWatch})
	control := max(total.ControlEvents, 1)
	for _, times := range []float64{1.75, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000} {
		r := times
		if c.Terms.R0 < 1 {
			r = 1 / times
		}
		expected := sequential.Tick{
			Events: r * control * total.Exposure / total.ControlExposure, Exposure: total.Exposure,
			ControlEvents: control, ControlExposure: total.ControlExposure,
		}
		if !c.Terms.work && expected.Events > total.Exposure {
			return 0
		}
		if test.LogE([]sequential.Tick{expected}) >= sequential.Needed(compareAlpha) {
			return times
		}
	}
	return 0
}
