package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"

	"github.com/rollwatch/rollwatch/verdict"
)

// A judge is the engine in office. A reload puts another in its place, which
// takes everything up from the ledger; whoever asks knows nothing of that.
type judge struct {
	// mu is held by who writes. Whoever reads never waits for it: a registration
	// takes seconds, and /metrics must answer meanwhile.
	mu     sync.RWMutex
	office atomic.Pointer[office]
}

// An office is an engine's time as the judge; over ends with it.
type office struct {
	engine *verdict.Engine
	over   context.Context //nolint:containedctx // it is the time in office itself, not that of a call
	end    context.CancelFunc
}

// now is the engine in office.
func (j *judge) now() *verdict.Engine { return j.office.Load().engine }

// succeed lets find make the successor while nothing is written: a rollout
// that the old engine registered behind its back would be watched by nobody.
func (j *judge) succeed(find func() (*verdict.Engine, error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	next, err := find()
	if err != nil {
		return err
	}
	over, end := context.WithCancel(context.Background())
	if last := j.office.Swap(&office{next, over, end}); last != nil {
		last.end()
	}
	return nil
}

// Register implements api.Judge.
func (j *judge) Register(ctx context.Context, reg verdict.Registration, key string) (verdict.Rollout, bool, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.now().Register(ctx, reg, key)
}

// AddStage implements api.Judge.
func (j *judge) AddStage(ctx context.Context, id string, stage verdict.Stage) (verdict.Rollout, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.now().AddStage(ctx, id, stage)
}

// Finish implements api.Judge.
func (j *judge) Finish(ctx context.Context, id string, outcome verdict.Outcome) (verdict.Rollout, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.now().Finish(ctx, id, outcome)
}

// SetOverride implements api.Judge.
func (j *judge) SetOverride(ctx context.Context, id string, override verdict.Override) (verdict.Rollout, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.now().SetOverride(ctx, id, override)
}

// ReplayDelivery implements api.Judge.
func (j *judge) ReplayDelivery(ctx context.Context, id string) (verdict.Delivery, error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.now().ReplayDelivery(ctx, id)
}

// Rollout implements api.Judge.
func (j *judge) Rollout(ctx context.Context, id string) (verdict.Rollout, error) {
	return j.now().Rollout(ctx, id)
}

// Rollouts implements api.Judge.
func (j *judge) Rollouts(ctx context.Context, service string, page verdict.Page) ([]verdict.Rollout, string, error) {
	return j.now().Rollouts(ctx, service, page)
}

// History implements api.Judge.
func (j *judge) History(ctx context.Context, id string) (verdict.History, error) {
	return j.now().History(ctx, id)
}

// Draw implements api.Judge.
func (j *judge) Draw(ctx context.Context, query string, from, to time.Time, steps int) (promql.Matrix, error) {
	return j.now().Draw(ctx, query, from, to, steps)
}

// Document implements api.Judge.
func (j *judge) Document(ctx context.Context, id string) (verdict.Document, error) {
	return j.now().Document(ctx, id)
}

// Newest implements api.Judge.
func (j *judge) Newest(ctx context.Context, service string) (string, error) {
	return j.now().Newest(ctx, service)
}

// Await implements api.Judge. It holds nothing while it waits, and when the
// engine that it asked is dismissed, it asks the next.
func (j *judge) Await(ctx context.Context, id string, seq int64) (verdict.Document, error) {
	for {
		held := j.office.Load()
		waiting, leave := context.WithCancel(ctx)
		stay := context.AfterFunc(held.over, leave)
		doc, err := held.engine.Await(waiting, id, seq)
		stay()
		leave()
		if held.over.Err() == nil || ctx.Err() != nil || err == nil && doc.Seq > seq {
			return doc, err
		}
	}
}

// Deliveries implements api.Judge.
func (j *judge) Deliveries(ctx context.Context, page verdict.Page) ([]verdict.Delivery, string, error) {
	return j.now().Deliveries(ctx, page)
}

// Describe implements prometheus.Collector.
func (j *judge) Describe(ch chan<- *prometheus.Desc) { j.now().Describe(ch) }

// Collect implements prometheus.Collector.
func (j *judge) Collect(ch chan<- prometheus.Metric) { j.now().Collect(ch) }
