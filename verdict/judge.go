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
	// LostAfter is how long a required signal that was seen under this rollout
	// may be missing before the rollout is held.
	LostAfter = 2 * time.Minute
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
	why   string           // in words; empty: in those of the findings
}

// A rule decides, or leaves it to the next.
type rule func(*sitting) (decision, bool)

// byRecord are the rules that need no evidence. Together with byEvidence they
// are the order of decision: the first match decides, undecided when none does.
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
	return c.undecided()
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
	if c.Latched != Rollback {
		return decision{}, false
	}
	d := decision{word: Rollback, final: true, by: c.latchedBy, why: "decided at " + c.LatchedAt.UTC().Format(time.RFC3339)}
	if len(d.by) > 0 {
		d.why += ": " + c.inWords(d.by)
	}
	return d, true
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
	speaks := len(c.those(required)) > 0
	return decision{word: Promote, final: c.afterWatchEnded(), why: "every required gate was covered and none fired"},
		speaks && len(c.those(c.isOpen)) == 0
}

func (c *sitting) undecided() decision {
	d := decision{word: HoldOn, final: c.judgingEnded(), by: c.those(c.isOpen)}
	if len(d.by) == 0 {
		d.why = "no gate is required of the service, so nothing speaks for it"
	}
	return d
}

// isOpen says whether a finding keeps the rollout from being promoted.
func (c *sitting) isOpen(f alerts.Finding) bool { return c.pends(f) || c.uncovered(f) != "" }

func (c *sitting) overrideInForce() bool {
	return c.Override != nil && c.now.Before(c.Override.Until)
}

// afterWatchEnded says whether a promotion can no longer be taken back.
func (c *sitting) afterWatchEnded() bool { return c.elapsed >= max(c.watch, c.policy.After) }

// judgingEnded says whether a rollout that is held will not be judged again:
// twice the watch has passed, and for one that was promoted the after-watch.
func (c *sitting) judgingEnded() bool {
	if c.wasPromoted() && !c.afterWatchEnded() {
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
	return required(f) && f.Seen && f.State.Missing() && f.State != alerts.NoTraffic && c.now.Sub(f.LastSeen) > LostAfter
}

// uncovered says why a required gate does not speak for a promotion; empty when it does.
func (c *sitting) uncovered(f alerts.Finding) string {
	switch {
	case !required(f):
		return ""
	case f.State.Missing():
		return missingInWords(f)
	case f.State == alerts.WarmingUp:
		return "warming up"
	case f.Coverage < neededCoverage:
		return coverageInWords(f.Coverage)
	case f.Thin:
		return thinInWords(f.N)
	default:
		return c.blind(f)
	}
}

// blind says that a gate would not have found what it is required to find.
func (c *sitting) blind(f alerts.Finding) string {
	wanted := c.policy.Detectable
	if f.RequireDetectable != nil {
		wanted = *f.RequireDetectable
	}
	if !f.Counts || wanted == 0 || f.MinDetectable > 0 && f.MinDetectable <= wanted {
		return ""
	}
	return blindInWords(f, wanted)
}

func isNumber(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// finite drops numbers that JSON cannot carry: one gate's division by zero must
// not keep a verdict from being written down.
func finite(f alerts.Finding) alerts.Finding {
	if f.Observed != nil && !isNumber(*f.Observed) {
		f.Observed = nil
	}
	if f.Limit != nil && !isNumber(*f.Limit) {
		f.Limit = nil
	}
	if f.Baseline != nil && !(isNumber(f.Baseline.Value) && isNumber(f.Baseline.N)) {
		f.Baseline = nil
	}
	if f.Evidence != nil && !(isNumber(f.Evidence.Guard) && isNumber(f.Evidence.Needed)) {
		evidence := *f.Evidence
		evidence.Guard, evidence.Needed = 0, 0
		f.Evidence = &evidence
	}
	if !isNumber(f.N) {
		f.N = 0
	}
	if !isNumber(f.Coverage) {
		f.Coverage = 0
	}
	return f
}
