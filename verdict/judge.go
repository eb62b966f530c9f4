// Package verdict says what to do with a rollout: continue, promote, hold or
// roll back, and why. Judge is a pure function of the rollout, what the gates
// found, the policy and the time; the Engine calls it once an interval, and the
// Ledger keeps what must survive: rollouts, overrides, transitions and the
// deliveries owed for them.
package verdict

import (
	"math"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

const (
	// lostAfter is how long a required signal that was seen under this rollout
	// may be missing before the rollout is held.
	lostAfter = 2 * time.Minute
	// neededCoverage is the share of ticks in which a gate must have been observed.
	neededCoverage = 0.9
)

// Judge decides what to do with a rollout at now. The same arguments give the
// same Document, whatever the order of the findings. Seq is the caller's to set.
func Judge(r Rollout, findings []alerts.Finding, p Policy, now time.Time) Document {
	c := newSitting(r, findings, p, now)
	return c.document(c.decide())
}

// JudgeRecord decides by what is on record alone (an override in force, a
// latched rollback, a newer rollout, a finish), without evidence; false when
// evidence is needed.
func JudgeRecord(r Rollout, p Policy, now time.Time) (Document, bool) {
	c := newSitting(r, nil, p, now)
	for _, rule := range byRecord {
		if d, ok := rule(c); ok {
			return c.document(d), true
		}
	}
	return Document{}, false
}

// EvidenceFrom is the time from which evidence counts: the start of the
// rollout, or the newest override, after which only later evidence does.
func (r Rollout) EvidenceFrom() time.Time {
	if o := r.Override; o != nil && o.At.After(r.StartedAt) {
		return o.At
	}
	return r.StartedAt
}

// A sitting is one judgement in the making.
type sitting struct {
	Rollout
	policy   Policy
	now      time.Time
	elapsed  time.Duration
	watch    time.Duration
	findings []alerts.Finding // those that may be judged, sorted
}

// A decision is what one rule of the order of decision says.
type decision struct {
	word  Word
	final bool
	by    []alerts.Finding // the findings that decided
	why   string           // where no finding did
}

// A rule decides, or leaves it to the next.
type rule func(*sitting) (decision, bool)

// byRecord are the rules that need no evidence. Together with byEvidence they
// are the order of decision: the first match decides.
var byRecord = []rule{
	(*sitting).finished,
	(*sitting).overridden,
	(*sitting).rolledBack,
	(*sitting).superseded,
}

var byEvidence = []rule{
	(*sitting).fires,
	(*sitting).held,
	(*sitting).lost,
	(*sitting).promoted,
	(*sitting).underWatch,
	(*sitting).covered,
	(*sitting).undecided,
}

func newSitting(r Rollout, findings []alerts.Finding, p Policy, now time.Time) *sitting {
	c := &sitting{Rollout: r, policy: p, now: now, elapsed: now.Sub(r.StartedAt), watch: p.Watch(r.Strategy)}
	for _, f := range findings {
		if r.Kind == KindOfRollback && f.Gate != "target_down" && f.Gate != "outage" {
			continue // what is being rolled back may well be slow: only whether it serves counts
		}
		c.findings = append(c.findings, finite(f))
	}
	slices.SortFunc(c.findings, compareFindings)
	return c
}

func (c *sitting) decide() decision {
	for _, rule := range slices.Concat(byRecord, byEvidence) {
		if d, ok := rule(c); ok {
			return d
		}
	}
	panic("verdict: the last rule leaves nothing undecided")
}

func (c *sitting) finished() (decision, bool) {
	if c.FinishedAt.IsZero() {
		return decision{}, false
	}
	word := c.Verdict
	if word == "" {
		word = Continue
	}
	return decision{word: word, final: true, why: "finished: " + string(c.Outcome)}, true
}

func (c *sitting) overridden() (decision, bool) {
	if !c.overrideInForce() {
		return decision{}, false
	}
	o := c.Override
	final := o.Verdict == Rollback || (o.Verdict == Promote && c.afterWatchEnded())
	return decision{word: o.Verdict, final: final, why: o.Author + " decided: " + o.Reason}, true
}

func (c *sitting) rolledBack() (decision, bool) {
	return decision{word: Rollback, final: true, why: "decided at " + c.LatchedAt.UTC().Format(time.RFC3339)}, c.Latched == Rollback
}

func (c *sitting) superseded() (decision, bool) {
	return decision{word: HoldOn, final: true, why: "superseded by " + c.SupersededBy}, c.SupersededBy != ""
}

func (c *sitting) fires() (decision, bool) {
	by := c.firing(func(f alerts.Finding) bool {
		return f.Mode == alerts.Enforce && (f.Cause == "" || f.Cause == alerts.Version)
	})
	return decision{word: Rollback, final: true, by: by}, len(by) > 0
}

func (c *sitting) held() (decision, bool) {
	by := c.firing(func(f alerts.Finding) bool { return f.Mode != alerts.Observe })
	return decision{word: HoldOn, final: c.judgingEnded(), by: by}, len(by) > 0
}

func (c *sitting) lost() (decision, bool) {
	by := c.those(c.isLost)
	return decision{word: HoldOn, final: c.judgingEnded(), by: by}, len(by) > 0
}

func (c *sitting) promoted() (decision, bool) {
	return decision{word: Promote, final: c.afterWatchEnded(), why: "promoted, and watched on"}, c.Latched == Promote
}

func (c *sitting) underWatch() (decision, bool) {
	return decision{word: Continue}, c.elapsed < c.watch
}

func (c *sitting) covered() (decision, bool) {
	open := c.those(func(f alerts.Finding) bool { return c.pends(f) || c.uncovered(f) != "" })
	return decision{word: Promote, final: c.afterWatchEnded(), why: "every required gate was covered and none fired"}, len(open) == 0
}

func (c *sitting) undecided() (decision, bool) {
	by := c.those(func(f alerts.Finding) bool { return c.pends(f) || c.uncovered(f) != "" })
	return decision{word: HoldOn, final: c.judgingEnded(), by: by}, true
}

func (c *sitting) overrideInForce() bool {
	return c.Override != nil && c.now.Before(c.Override.Until)
}

// afterWatchEnded says whether a promotion can no longer be taken back.
func (c *sitting) afterWatchEnded() bool { return c.elapsed >= max(c.watch, c.policy.After) }

// judgingEnded says whether a rollout that is held will not be judged again:
// twice the watch has passed, and for one that was promoted the after-watch.
func (c *sitting) judgingEnded() bool {
	if c.Latched == Promote && !c.afterWatchEnded() {
		return false
	}
	return c.elapsed >= 2*c.watch
}

func (c *sitting) those(match func(alerts.Finding) bool) []alerts.Finding {
	var found []alerts.Finding
	for _, f := range c.findings {
		if match(f) {
			found = append(found, f)
		}
	}
	return found
}

// firing returns the findings that fire and may: in the grace only few gates do.
func (c *sitting) firing(match func(alerts.Finding) bool) []alerts.Finding {
	inGrace := c.elapsed < c.policy.Grace
	return c.those(func(f alerts.Finding) bool {
		return f.State == alerts.Firing && (f.InGrace || !inGrace) && match(f)
	})
}

// pends says whether a finding is an unproven crossing that keeps the rollout
// from being promoted; a gate that only observes keeps it from nothing.
func (c *sitting) pends(f alerts.Finding) bool {
	return f.State == alerts.Pending && f.Mode != alerts.Observe
}

func required(f alerts.Finding) bool { return f.Required && f.Mode != alerts.Observe }

// isLost says whether a required signal was there and has been away for too long.
// A signal without traffic is not lost: it blocks a promotion only.
func (c *sitting) isLost(f alerts.Finding) bool {
	return required(f) && f.Seen && f.State.Missing() && f.State != alerts.NoTraffic && c.now.Sub(f.LastSeen) > lostAfter
}

// uncovered says why a required gate does not speak for a promotion; empty when it does.
func (c *sitting) uncovered(f alerts.Finding) string {
	switch {
	case !required(f):
		return ""
	case f.State.Missing():
		return stateInWords(f.State)
	case f.State == alerts.WarmingUp:
		return "warming up"
	case f.Coverage < neededCoverage:
		return coverageInWords(f.Coverage)
	case f.Thin:
		return thinInWords(f.N)
	default:
		return ""
	}
}

// finite drops numbers that JSON cannot carry: one gate's division by zero must
// not keep a verdict from being written down.
func finite(f alerts.Finding) alerts.Finding {
	number := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	if f.Observed != nil && !number(*f.Observed) {
		f.Observed = nil
	}
	if f.Limit != nil && !number(*f.Limit) {
		f.Limit = nil
	}
	if f.Baseline != nil && !(number(f.Baseline.Value) && number(f.Baseline.N)) {
		f.Baseline = nil
	}
	if f.Evidence != nil && !(number(f.Evidence.Guard) && number(f.Evidence.Needed)) {
		evidence := *f.Evidence
		evidence.Guard, evidence.Needed = 0, 0
		f.Evidence = &evidence
	}
	if !number(f.N) {
		f.N = 0
	}
	if !number(f.Coverage) {
		f.Coverage = 0
	}
	return f
}
