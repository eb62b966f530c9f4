package verdict

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// A Page asks for a part of a list, newest first. Cursor is the Next of the
// page before; empty for the first.
type Page struct {
	Limit  int // rows; 50 by default, 500 at most
	Cursor string
}

// Rollout returns one rollout, NotFound if there is none.
func (e *Engine) Rollout(ctx context.Context, id string) (Rollout, error) {
	return e.opts.Ledger.rollout(ctx, id)
}

// Rollouts lists rollouts of a service (of all, if empty), newest first, and
// the cursor of the next page.
func (e *Engine) Rollouts(ctx context.Context, service string, page Page) ([]Rollout, string, error) {
	return e.opts.Ledger.rollouts(ctx, service, page)
}

// History returns all that is on record of a rollout, NotFound if there is none.
func (e *Engine) History(ctx context.Context, id string) (History, error) {
	return e.opts.Ledger.history(ctx, id)
}

// Draw evaluates the PromQL of a finding on the window, over a time divided into
// so many steps at most, none of them shorter than the interval. Where the window
// holds nothing there is no point.
func (e *Engine) Draw(ctx context.Context, query string, from, to time.Time, steps int) (promql.Matrix, error) {
	step := max(e.opts.Interval, to.Sub(from)/time.Duration(max(1, steps)))
	return e.opts.Window.Query(ctx, query, from, to, step.Truncate(time.Millisecond))
}

// Newest returns the id of the newest rollout of a service.
func (e *Engine) Newest(_ context.Context, service string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id, ok := e.newest[service]
	switch _, known := e.services[service]; {
	case ok:
		return id, nil
	case known:
		return "", notFound("no rollout of %q was registered", shortened(service))
	default:
		return "", notFound("service %q is not in the configuration; it must be one of: %s", shortened(service), strings.Join(e.serviceNames(), ", "))
	}
}

// Document returns the newest verdict of a rollout: NotFound, or Unavailable
// when there was no judgement for three intervals. A final verdict is served
// whatever the judge does.
func (e *Engine) Document(ctx context.Context, id string) (Document, error) {
	now := time.Now()
	if w := e.inMemory(id); w != nil {
		_, doc := w.now()
		doc.Degraded = cmp.Or(w.inTrouble(), e.unrecorded())
		return e.serve(doc, id, now)
	}
	doc, ok, err := e.opts.Ledger.lastDocument(ctx, id)
	if err != nil {
		return Document{}, err
	}
	if !ok {
		return Document{}, notFound("there is no rollout %q", shortened(id))
	}
	return e.serve(doc, id, now)
}

// serve refuses a verdict that must not be believed. A final one is not judged
// again, so it holds for as long as a new judgement would.
func (e *Engine) serve(doc Document, id string, now time.Time) (Document, error) {
	if doc.Seq == 0 || doc.Stale(now) {
		why := "rollout " + id + " was not judged for " + rounded(e.policy.Validity)
		if doc.Seq == 0 {
			why = "rollout " + id + " was not judged yet"
		}
		if doc.Degraded != "" {
			why += ": " + doc.Degraded
		}
		return Document{}, &Error{Code: Unavailable, Message: why, RetryAfter: e.opts.Interval}
	}
	if doc.Final {
		doc.ValidUntil = now.Add(e.policy.Validity)
	}
	return doc, nil
}

// Await returns the Document as soon as its Seq is above seq, or as it is when
// ctx ends first. An unknown rollout is not waited for.
func (e *Engine) Await(ctx context.Context, id string, seq int64) (Document, error) {
	for {
		changed := e.nextChange(id) // before looking, so that no change is missed
		doc, err := e.Document(context.WithoutCancel(ctx), id)
		if err == nil && doc.Seq > seq {
			return doc, nil
		}
		if refusal, ok := errors.AsType[*Error](err); err != nil && (!ok || refusal.Code != Unavailable) {
			return Document{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return e.Document(context.WithoutCancel(ctx), id)
		}
	}
}

// nextChange is closed at the next transition of the rollout. One that is
// closed can only change by being taken up again.
func (e *Engine) nextChange(id string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.watches[id]
	if !ok {
		return e.adopted
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Deliveries lists webhook deliveries, newest first.
func (e *Engine) Deliveries(ctx context.Context, page Page) ([]Delivery, string, error) {
	return e.opts.Ledger.deliveries(ctx, page)
}

// ReplayDelivery owes a delivery again, whatever became of it, and tries an
// endpoint again that was disabled.
func (e *Engine) ReplayDelivery(ctx context.Context, id string) (Delivery, error) {
	d, err := e.opts.Ledger.replay(ctx, id, time.Now().UTC())
	if err != nil {
		return Delivery{}, e.unavailable(err)
	}
	if e.opts.OnOwed != nil {
		e.opts.OnOwed()
	}
	return d, nil
}
