package verdict

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
)

// A Replay judges a rollout again that is on record, at every tick, on the window
// of its time. Overrides are applied when they were made. It reads no clock.
type Replay struct {
	Window   collector.Window
	Service  *alerts.Service
	Gates    []alerts.Gate
	Config   Config
	Interval time.Duration // between two judgements
	History  History       // the baseline in it is kept; without its id it is taken from the window
	Until    time.Time     // judge no further; the record may end before
}

// A Moment is one tick of a replay.
type Moment struct {
	At   time.Time
	Then Word // what was decided then; empty: nothing is on record
	Why  string
	Now  Document
}

// Differs says whether something else was decided then.
func (m Moment) Differs() bool { return m.Then != "" && m.Then != m.Now.Verdict }

// Run judges from the first judgement to the end of the record: when the rollout
// was finished or superseded, or when its watch and after-watch are over.
func (r Replay) Run(ctx context.Context) ([]Moment, error) {
	trial, err := r.trial(ctx)
	if err != nil {
		return nil, err
	}
	var moments []Moment
	var doc Document
	overrides := r.History.Overrides
	for _, at := range r.ticks() {
		for len(overrides) > 0 && !overrides[0].At.After(at) {
			trial.rollout.override(overrides[0])
			overrides = overrides[1:]
		}
		if !trial.rollout.Final || len(moments) == 0 {
			if doc, err = trial.At(ctx, at); err != nil {
				return nil, fmt.Errorf("judge at %s: %w", at.Format(time.RFC3339), err)
			}
		}
		moment := Moment{At: at, Now: doc}
		if then, ok := r.History.at(at); ok {
			moment.Then, moment.Why = then.Document.Verdict, then.Document.Progress
		}
		moments = append(moments, moment)
	}
	return moments, nil
}

func (r Replay) trial(ctx context.Context) (*Trial, error) {
	recorded := r.History.Rollout
	if recorded.Baseline.ID == "" {
		return NewTrial(ctx, r.Window, r.Service, r.Gates, r.Config, r.Interval, recorded.Registration)
	}
	if err := recorded.validate(); err != nil {
		return nil, err
	}
	baseline, err := recorded.Baseline.Under(r.Gates, r.Service)
	if err != nil {
		return nil, err
	}
	return &Trial{
		court: court{window: r.Window, service: r.Service, policy: r.Config.Policy(r.Interval), minRequests: r.Config.MinRequests, interval: r.Interval},
		gates: r.Gates,
		rollout: Rollout{
			ID: recorded.ID, Registration: recorded.Registration, RegisteredAt: recorded.RegisteredAt, Stages: recorded.Stages, Baseline: baseline,
		},
	}, nil
}

// ticks are an interval apart, and besides them the times at which the record
// has something: what was decided then must be compared with the same evidence.
func (r Replay) ticks() []time.Time {
	begin, end := r.Span()
	var ticks []time.Time
	for at := begin; !at.After(end); at = at.Add(r.Interval) {
		ticks = append(ticks, at)
	}
	for _, t := range r.History.Transitions {
		if t.At.After(begin) && !t.At.After(end) {
			ticks = append(ticks, t.At)
		}
	}
	slices.SortFunc(ticks, time.Time.Compare)
	return slices.CompactFunc(ticks, time.Time.Equal)
}

// Span is the time that is judged again.
func (r Replay) Span() (begin, end time.Time) {
	recorded := r.History.Rollout
	begin = recorded.RegisteredAt
	if begin.Before(recorded.StartedAt) {
		begin = recorded.StartedAt
	}
	if len(r.History.Transitions) > 0 {
		begin = r.History.Transitions[0].At // the first judgement
	}
	policy := r.Config.Policy(r.Interval)
	end = recorded.StartedAt.Add(max(2*policy.Watch(recorded.Strategy), policy.After))
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(end) {
			end = at
		}
	}
	sooner(r.Until)
	sooner(recorded.FinishedAt)
	for _, t := range r.History.Transitions {
		if t.Document.SupersededBy != "" {
			sooner(t.At.Add(-1)) // from then on it was not judged by evidence
		}
	}
	if end.Before(begin) {
		end = begin
	}
	return begin, end
}

// at is the transition in force at a time, false before the first.
func (h History) at(t time.Time) (Transition, bool) {
	for _, recorded := range slices.Backward(h.Transitions) {
		if !recorded.At.After(t) {
			return recorded, true
		}
	}
	return Transition{}, false
}
