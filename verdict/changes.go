package verdict

import (
	"context"
	"errors"
	"slices"
	"time"
)

// AddStage records a stage; Conflict when the rollout is finished.
func (e *Engine) AddStage(ctx context.Context, id string, stage Stage) (Rollout, error) {
	if stage.At.IsZero() {
		stage.At = time.Now()
	}
	stage.At = stage.At.UTC()
	if err := stage.validate(); err != nil {
		return Rollout{}, err
	}
	w, err := e.watched(ctx, id)
	if err != nil {
		return Rollout{}, err
	}
	w.change.Lock()
	defer w.change.Unlock()
	r, _ := w.now()
	if !r.FinishedAt.IsZero() {
		return Rollout{}, isFinished(r)
	}
	if len(r.Stages) >= maxStages {
		return Rollout{}, conflict("rollout %s has %d stages already", id, maxStages)
	}
	if err := e.opts.Ledger.addStage(ctx, id, stage); err != nil {
		return Rollout{}, e.unavailable(err)
	}
	return w.add(stage), nil
}

// add appends a stage to the rollout in memory.
func (w *watch) add(stage Stage) Rollout {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rollout.Stages = append(slices.Clip(w.rollout.Stages), stage)
	w.doc.Stage = &stage
	return w.rollout
}

// Finish ends the watch: the rollout keeps its last verdict, which is final.
func (e *Engine) Finish(ctx context.Context, id string, outcome Outcome) (Rollout, error) {
	switch outcome {
	case Promoted, RolledBack, Aborted:
	default:
		return Rollout{}, invalid("outcome", "outcome is %q; it must be promoted, rolled_back or aborted", shortened(string(outcome)))
	}
	w, err := e.watched(ctx, id)
	if err != nil {
		return Rollout{}, err
	}
	err = e.alter(ctx, w, nil, func(r Rollout) (Rollout, error) {
		switch {
		case r.FinishedAt.IsZero():
			r.Outcome, r.FinishedAt = outcome, time.Now().UTC()
			return r, nil
		case r.Outcome == outcome:
			return r, errUnchanged
		default:
			return r, isFinished(r)
		}
	})
	return e.changed(w, err)
}

// SetOverride records a human's decision and judges again at once.
func (e *Engine) SetOverride(ctx context.Context, id string, override Override) (Rollout, error) {
	override.At = time.Now().UTC()
	override.Until = override.Until.UTC()
	if err := override.validate(override.At); err != nil {
		return Rollout{}, err
	}
	w, err := e.watched(ctx, id)
	if err != nil {
		return Rollout{}, err
	}
	err = e.alter(ctx, w, &override, func(r Rollout) (Rollout, error) {
		if !r.FinishedAt.IsZero() {
			return r, isFinished(r)
		}
		r.override(override)
		return r, nil
	})
	if err == nil {
		e.adopt(id, w) // while it was still closed, a sweep may have let go of it
	}
	return e.changed(w, err)
}

// override puts a human's decision in place of what was decided until then.
func (r *Rollout) override(o Override) {
	r.Override, r.Latched, r.LatchedAt, r.Final = &o, "", time.Time{}, false
}

// errUnchanged ends a change that was made before.
var errUnchanged = errors.New("nothing to change")

func isFinished(r Rollout) *Error {
	return conflict("rollout %s is finished (%s)", r.ID, r.Outcome)
}

// alter changes a rollout by what is on record alone, so that no evidence need
// be read, and judges it in the same breath: the change and its transition are
// written together or not at all. What was found last is shown with it.
func (e *Engine) alter(ctx context.Context, w *watch, override *Override, change func(Rollout) (Rollout, error)) error {
	w.change.Lock()
	defer w.change.Unlock()
	if err := e.reread(ctx, w); err != nil {
		return e.unavailable(err)
	}
	before, shown := w.now()
	r, err := change(before)
	if err != nil {
		return err
	}
	doc := shown
	if !(before.Final && r.Final) {
		now := time.Now().UTC()
		doc = Judge(r, shown.Findings, e.policy, now)
		if doc.Verdict == Rollback {
			doc.Action = advise(r, e.survey(ctx, r, now))
		}
	}
	if err := e.settle(ctx, w, r, doc, override); err != nil {
		return e.unavailable(err)
	}
	return nil
}

// changed answers a change with the rollout as it is now.
func (e *Engine) changed(w *watch, err error) (Rollout, error) {
	if err != nil && !errors.Is(err, errUnchanged) {
		return Rollout{}, err
	}
	r, _ := w.now()
	return r, nil
}

// unavailable tells that something could not be done now; a refusal stays one.
func (e *Engine) unavailable(err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	return &Error{Code: Unavailable, Message: err.Error(), RetryAfter: e.opts.Interval}
}
