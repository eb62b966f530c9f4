package verdict

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
)

// A Trial judges a rollout that nobody makes: one of a test, by the very code that
// judges real ones, on a window, without clock or ledger.
type Trial struct {
	court
	rollout Rollout
	gates   []alerts.Gate
	kept    alerts.Kept
}

// A court is what every judgement of a service's rollout needs besides the rollout.
type court struct {
	window      collector.Window
	service     *alerts.Service
	policy      Policy
	minRequests float64
	interval    time.Duration
}

// NewTrial registers the rollout, at the time at which it starts. What contradicts
// itself in the registration is an error.
func NewTrial(
	ctx context.Context, window collector.Window, service *alerts.Service, gates []alerts.Gate, config Config, interval time.Duration, reg Registration,
) (*Trial, error) {
	t, err := NewTrialOn(alerts.Baseline{}, window, service, gates, config, interval, reg)
	if err != nil {
		return nil, err
	}
	baseline, err := alerts.TakeBaseline(ctx, gates, t.Scene(reg.StartedAt), nil)
	if err != nil {
		return nil, fmt.Errorf("take the baseline: %w", err)
	}
	t.rollout.Baseline = baseline
	return t, nil
}

// NewTrialOn is NewTrial with a baseline that is known.
func NewTrialOn(
	baseline alerts.Baseline, window collector.Window, service *alerts.Service, gates []alerts.Gate, config Config, interval time.Duration, reg Registration,
) (*Trial, error) {
	if reg.Kind == "" {
		reg.Kind = Deploy
	}
	if err := reg.validate(); err != nil {
		return nil, err
	}
	return &Trial{
		court: court{window: window, service: service, policy: config.Policy(interval), minRequests: config.MinRequests, interval: interval},
		gates: gates, rollout: Rollout{ID: "trial", Registration: reg, RegisteredAt: reg.StartedAt, Notes: notesOn(service, reg), Baseline: baseline},
	}, nil
}

// At judges at a time, which is not before that of the last judgement: what
// latched stays.
func (t *Trial) At(ctx context.Context, now time.Time) (Document, error) {
	findings, err := alerts.Evaluate(ctx, t.gates, t.Scene(now))
	if err != nil {
		return Document{}, err
	}
	return t.Judge(findings, now), nil
}

// Scene is what gates may look at of the rollout at a time.
func (t *Trial) Scene(now time.Time) alerts.Scene {
	scene := t.scene(t.rollout, now)
	scene.Kept = &t.kept
	return scene
}

// Judge judges by what gates found at a time.
func (t *Trial) Judge(findings []alerts.Finding, now time.Time) Document {
	doc := Judge(t.rollout, findings, t.policy, now)
	t.rollout.settle(doc)
	return doc
}

// scene is what gates may look at of a rollout at now.
func (c court) scene(r Rollout, now time.Time) alerts.Scene {
	scene := alerts.Scene{
		Window:  c.window,
		Service: c.service,
		Subject: alerts.Subject{
			Service:   r.Service,
			Version:   r.Version,
			Strategy:  r.Strategy,
			Promoted:  r.wasPromoted(),
			StartedAt: r.StartedAt,
			Baseline:  r.Baseline,
		},
		Now:      now,
		Interval: c.interval,
		Grace:    c.policy.Grace,
		Policy:   alerts.Policy{MinRequests: c.minRequests, Watch: c.policy.Watch(r.Strategy)},
	}
	if r.Override != nil {
		scene.After = r.Override.At
	}
	return scene
}

// settle makes a judgement the rollout's own: its verdict, and what latches. A
// promotion that somebody decided does not: it ends with the override, and the
// evidence decides again. A rollback does, whoever decided it: it is final, and
// the deploy tool has acted on it.
func (r *Rollout) settle(doc Document) {
	r.Verdict, r.Final, r.Seq = doc.Verdict, doc.Final, doc.Seq
	latches := doc.Verdict == Rollback || (doc.Verdict == Promote && doc.Override == nil)
	if latches && r.Latched != doc.Verdict {
		r.Latched, r.LatchedAt = doc.Verdict, doc.AsOf
		if r.latchedBy = nil; doc.Verdict == Rollback && doc.Override == nil {
			r.latchedBy = decisive(doc.Reasons)
		}
	}
}

// decisive are the reasons that fire: what decided a rollback stands first among them.
func decisive(reasons []alerts.Finding) []alerts.Finding {
	n := slices.IndexFunc(reasons, func(f alerts.Finding) bool { return f.State != alerts.Firing })
	if n < 0 {
		n = len(reasons)
	}
	return reasons[:n:n]
}

// wasPromoted says whether the traffic may have gone to the version already,
// by the judge or by an override that has expired since.
func (r Rollout) wasPromoted() bool {
	return r.Latched == Promote || (r.Override != nil && r.Override.Verdict == Promote)
}
