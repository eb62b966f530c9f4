// Package alerts finds what is wrong: it judges the recent past of a service by
// gates (Builtin, and the user's own) at a given time, and renders the same
// gates as Prometheus rules. Evaluation is pure: time and data are in a Scene.
package alerts

import (
	"context"
	"fmt"
	"time"
)

// A Gate is a signal, a limit, for how long, and what it means when it fires.
// Builtin is the table of them; evaluation is pure.
type Gate struct {
	Name     string
	Help     string // one sentence for docs and `gate list`
	Summary  string // what is wrong when it fires, for its alert
	From     string // what it is read from
	Mode     Mode
	Limit    float64
	MaxLimit float64 // Limit may be tuned to anything above 0 and up to this; 0: it is fixed
	Unit     string  // of Limit and of what is observed
	Factor   float64
	For      time.Duration
	InGrace  bool // may fire while the rollout warms up
	Required bool // its missing keeps a rollout from being promoted

	// ProvesLimit says of a gate on counts that the share itself must be over Limit
	// beyond chance, since the baseline's is too small for the guard to excuse any luck.
	ProvesLimit bool

	// RequireDetectable is the ratio to the baseline that so much traffic must be
	// able to prove before a rollout is promoted; 0: whatever it proves will do,
	// nil: as the judge says.
	RequireDetectable *float64

	// Applies says whether the service configures the gate's signal.
	Applies func(*Service) bool

	// Count says what a gate on counts counts; nil for the other gates, which
	// have Eval.
	Count func(gate Gate, counts Counts, scene Scene) Signal

	// Compare says what a gate compares in the new version and in the old one
	// beside it; nil for the others.
	Compare func(counts Counts) Comparison

	// Eval finds the state of the gate at scene.Now; nil for gates on counts,
	// which have Judge, and for those that compare.
	Eval func(ctx context.Context, gate Gate, scene Scene) (Finding, error)

	// CatchesUp says of a gate with Eval that it may need several judgements to read
	// all that it needs, and says so until then.
	CatchesUp bool

	// The gate in PromQL: when it pages, and what it observes. Gates on counts
	// have theirs by what they count.
	alertQL, drawQL func(Gate, *Service) string
	impact          string // the alert's description behind its value, of a gate for which one is too many; %s is the service

	// Custom is the user's own gate this one was made of, if it was.
	Custom *Custom
}

// What gates are read from.
const (
	fromCounts  = "counts"
	fromBuckets = "bucket counts"
	fromWorkers = "worker counts"
	fromScrapes = "scraped gauges"
	fromProbes  = "probes"
	fromPromQL  = "PromQL"
)

// staleAfter is how old the newest reading may be.
func staleAfter(interval time.Duration) time.Duration { return 3 * interval }

// Evaluate finds what every gate says of the rollout at scene.Now, in the
// order of the gates. An error is a window that could not be read, not a finding.
func Evaluate(ctx context.Context, gates []Gate, scene Scene) ([]Finding, error) {
	return EvaluateFrom(ctx, gates, gatherFor, scene)
}

// A Counter says where the counts that a gate counts come from, by instance besides
// where that is asked for.
type Counter func(ctx context.Context, gate Gate, scene Scene, byPod bool) (Counts, error)

// EvaluateFrom is Evaluate on counts from elsewhere than the window: those of a
// simulation. Gates that do not count read scene.Window.
func EvaluateFrom(ctx context.Context, gates []Gate, source Counter, scene Scene) ([]Finding, error) {
	if scene.Subject.StartedAt.After(scene.Now) { // by a deploy tool whose clock runs ahead
		scene.Subject.StartedAt = scene.Now
	}
	gathered := map[bool]*Counts{} // of requests, and of workers
	findings := make([]Finding, len(gates))
	for _, i := range inTurn(gates) {
		gate := gates[i]
		if (gate.Count != nil || gate.Compare != nil) && gathered[gate.CountsWork()] == nil {
			counts, err := source(ctx, gate, scene, false)
			if err != nil {
				return nil, err
			}
			gathered[gate.CountsWork()] = &counts
		}
		finding, err := gate.evaluate(ctx, gathered[gate.CountsWork()], source, scene)
		if err != nil {
			return nil, fmt.Errorf("gate %s of service %s: %w", gate.Name, scene.Subject.Service, err)
		}
		findings[i] = finding
	}
	return findings, nil
}

// inTurn is the order in which gates are evaluated: one that may need more time than
// there is comes last, so that it costs the others nothing.
func inTurn(gates []Gate) []int {
	var first, last []int
	for i, gate := range gates {
		if gate.CatchesUp {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	return append(first, last...)
}

// CountsWork says whether the gate counts what workers do, in place of requests.
func (g Gate) CountsWork() bool { return g.From == fromWorkers }

// gatherFor reads from the window what a gate counts.
func gatherFor(ctx context.Context, gate Gate, scene Scene, byPod bool) (Counts, error) {
	if gate.CountsWork() {
		return gatherWork(ctx, scene, byPod)
	}
	return gather(ctx, scene, byPod)
}

// evaluate finds what one gate says, and what a firing one is to be blamed on.
func (g Gate) evaluate(ctx context.Context, counts *Counts, source Counter, scene Scene) (Finding, error) {
	switch {
	case g.Eval != nil:
		return g.Eval(ctx, g, scene)
	case g.Compare != nil:
		finding := g.compare(*counts, scene)
		if finding.State != Firing {
			return g.told(finding, scene), nil
		}
		finding.Query = g.draws(scene, finding.Scope)
		return finding, g.attributeComparison(ctx, &finding, source, scene)
	}
	finding := g.Judge(*counts, scene)
	if finding.State != Firing {
		return g.told(finding, scene), nil
	}
	finding.Query = g.draws(scene, finding.Scope)
	return finding, g.attribute(ctx, &finding, *counts, source, scene)
}

// told adds to a finding that does not fire how it is drawn.
func (g Gate) told(f Finding, scene Scene) Finding {
	if !scene.Brief {
		f.Query = g.draws(scene, f.Scope)
	}
	return f
}

// finding begins what the gate finds.
func (g Gate) finding(state State) Finding {
	return Finding{
		Gate: g.Name, State: state, Mode: g.Mode, Unit: g.Unit, Required: g.Required, InGrace: g.InGrace,
		Counts: g.counts(), RequireDetectable: g.RequireDetectable,
	}
}

// counts says whether the gate tells the smallest effect that it would find.
func (g Gate) counts() bool { return g.Count != nil || g.Compare != nil }

// blame attributes the finding, and says why.
func (f *Finding) blame(cause Cause, why string) {
	f.Cause = cause
	f.Message += "; " + why
}

// EvidenceFrom is the time before which nothing counts as evidence.
func (s Scene) EvidenceFrom() time.Time {
	return later(s.Subject.StartedAt, s.After)
}

// warmingUp says whether the rollout is in its grace.
func (s Scene) warmingUp() bool { return s.Now.Before(s.warm()) }

// warm is the end of the grace.
func (s Scene) warm() time.Time { return s.Subject.StartedAt.Add(s.Grace) }

// underRollout is the stretch in which everything may be evidence.
func (s Scene) underRollout() Span { return Span{From: s.EvidenceFrom(), To: s.Now} }

// window is the stretch of the last d that may be evidence.
func (s Scene) window(d time.Duration) Span {
	return Span{From: later(s.Now.Add(-d), s.EvidenceFrom()), To: s.Now}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
