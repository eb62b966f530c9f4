package alerts

import (
	"slices"
	"time"
)

// A Signal is what a gate on counts counts.
type Signal struct {
	Of         func(Tally) (n, bad float64)
	Frozen     Ratio  // in the baseline
	Noun       string // what is bad, for the reason: "errors"
	Missing    string // why nothing can be counted, if it cannot
	Optional   bool   // that it cannot keeps nobody from being promoted
	Resolution string // what the buckets cannot resolve
}

// An Assessment is how the counts stand against a gate at one time.
type Assessment struct {
	State     State
	Window    Ratio         // the whole window
	Base      BaselineValue // what it was weighed against
	Guard     float64       // nats that it is not the baseline's luck
	Spans     int
	SpansOver int
}

// Judge is what a gate on counts, or one that compares, finds on the counts
// alone: scene.Window is not looked at, so that a simulation can make them up.
// What a firing gate is to be blamed on is for Evaluate to say.
func (g Gate) Judge(counts Counts, scene Scene) Finding {
	if g.Compare != nil {
		return g.compare(counts, scene)
	}
	signal := g.Count(g, counts, scene)
	a := g.assess(signal, counts, scene)
	f := g.finding(a.State)
	f.Scope, f.N, f.Window = counts.Scope, a.Window.N, short(g.For)
	f.Limit = &g.Limit
	f.Required = g.Required && !signal.Optional
	if a.Window.N > 0 {
		observed := a.Window.Value()
		f.Observed = &observed
	}
	f.Baseline = &a.Base
	f.Evidence = &Evidence{
		Method: "spans and guard", Guard: a.Guard, Needed: guardNeeded,
		Spans: a.Spans, SpansOver: a.SpansOver, Resolution: signal.Resolution,
	}
	f.cover(signal, counts, scene)
	if scene.Brief && a.State != Firing {
		return f
	}
	f.MinDetectable = g.minDetectable(a.Window.N, a.Base.Value, signal.Frozen)
	f.Since = g.since(signal, a.State, counts, scene)
	f.Message = g.reason(f, signal)
	return f
}

// Assess is the state of the gate on the counts at scene.Now and the figures
// behind it: the part of Judge that a simulation needs.
func (g Gate) Assess(counts Counts, scene Scene) Assessment {
	return g.assess(g.Count(g, counts, scene), counts, scene)
}

func (g Gate) assess(signal Signal, counts Counts, scene Scene) Assessment {
	if signal.Missing != "" {
		return Assessment{State: NoSeries, Base: BaselineValue{Kind: "none"}}
	}
	a := g.weigh(signal, counts, scene)
	missing, _ := counts.missing(scene.Now, scene.Interval)
	crossed := a.Window.Value() > g.Limit && (a.Guard >= suspicion || a.Base.Value > g.Limit)
	proven := crossed && a.SpansOver == a.Spans && g.proves(a.Window, a.Base.Value, signal.Frozen)
	// Whoever may fire in the grace is held to the letter: a version that is still
	// starting may fail for a while.
	tooSoon := g.InGrace && scene.Now.Sub(scene.EvidenceFrom()) < g.For
	excused := scene.warmingUp() && !g.InGrace
	switch {
	case proven && !tooSoon && !excused:
		a.State = Firing
	case missing != "":
		a.State = missing
	case a.Window.N == 0:
		a.State = NoTraffic
	case !crossed:
		a.State = OK
	case excused:
		a.State = WarmingUp
	default:
		a.State = Pending
	}
	return a
}

// weigh applies the span rule and the guard to the newest window.
func (g Gate) weigh(signal Signal, counts Counts, scene Scene) Assessment {
	a := Assessment{Spans: spansOf(g.For, scene.Interval)}
	var control Ratio
	spans := make([]Ratio, a.Spans)
	width := g.For / time.Duration(a.Spans)
	window := scene.window(g.For)
	for _, tick := range counts.between(window.From, window.To) {
		n, bad := signal.Of(tick.Subject)
		i := min(int(scene.Now.Sub(tick.At)/width), a.Spans-1)
		spans[i] = spans[i].add(n, bad)
		a.Window = a.Window.add(n, bad)
		if tick.Subject.Seen && tick.Control.Seen { // the same ticks for both
			control = control.add(signal.Of(tick.Control))
		}
	}
	for _, span := range spans {
		if span.Value() > g.Limit {
			a.SpansOver++
		}
	}
	control = telling(signal.Frozen, control, g.Limit, scene.Policy.MinRequests)
	a.Base = g.base(signal.Frozen, control, scene.Subject.Baseline)
	a.Guard = guard(a.Window, a.Base.Value)
	return a
}

// base says what the window is weighed against, and from where it is.
func (g Gate) base(frozen, control Ratio, baseline Baseline) BaselineValue {
	b := BaselineValue{
		Kind: baseline.Kind, ID: baseline.ID,
		Value: leastFavourable(frozen, control, g.Limit), N: frozen.N + control.N,
	}
	switch {
	case b.N < 2:
		b.Kind = "none"
	case frozen.N == 0, control.Value() > frozen.Value():
		b.Kind = "stable"
	}
	return b
}

// since walks back to when the state began, as far as the counts tell.
func (g Gate) since(signal Signal, state State, counts Counts, scene Scene) time.Time {
	if state == NoSeries || state == SourceDown || state == Stale {
		_, since := counts.missing(scene.Now, scene.Interval)
		return later(since, scene.EvidenceFrom())
	}
	since := scene.Now
	past := counts.between(scene.EvidenceFrom(), scene.Now)
	for _, tick := range slices.Backward(past) {
		scene.Now = tick.At
		if g.assess(signal, counts, scene).State != state {
			return since
		}
		since = tick.At
	}
	return since
}

// cover says how much of the rollout the gate has seen so far.
func (f *Finding) cover(signal Signal, counts Counts, scene Scene) {
	ticks := counts.between(scene.Subject.StartedAt, scene.Now)
	times, total := make([]time.Time, 0, len(ticks)), 0.0
	for i := range ticks {
		tick := &ticks[i]
		if !tick.Subject.Seen || signal.Missing != "" {
			continue
		}
		n, _ := signal.Of(tick.Subject)
		total += n
		if !tick.Begin.IsZero() {
			// What one instance is late by is not missed while another was read.
			times = append(times, tick.Begin)
		}
		times = append(times, tick.At)
	}
	f.observed(times, scene)
	f.Thin = total < scene.Policy.MinRequests
}

// observed notes when the gate was observed under this rollout, and how much
// of the time after the grace that is.
func (f *Finding) observed(times []time.Time, scene Scene) {
	if f.Seen = len(times) > 0; f.Seen {
		f.LastSeen = times[len(times)-1]
	}
	f.Coverage = coverage(times, scene.warm(), scene.Now, scene.Interval)
}
