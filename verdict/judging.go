package verdict

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/alerts"
)

// judge reads the evidence on a rollout and judges it, as it is once the
// evidence was read: what was put on record meanwhile counts.
func (e *Engine) judge(ctx context.Context, w *watch) error {
	r, _ := w.now()
	now := time.Now().UTC()
	ctx, span := tracer.Start(ctx, "judge", trace.WithAttributes(
		attribute.String("rollwatch.service", r.Service), attribute.String("rollwatch.rollout", r.ID)))
	defer span.End()
	defer func() { e.duration.Observe(time.Since(now).Seconds()) }()

	findings, readErr := e.gather(ctx, r, w.keeps(), now)
	if _, panicked := errors.AsType[*panicError](readErr); panicked {
		w.startAnew()
	}
	w.change.Lock()
	defer w.change.Unlock()
	if err := e.reread(ctx, w); err != nil {
		return failed(span, err)
	}
	if r, _ = w.now(); r.Final {
		return nil
	}
	doc := Judge(r, findings, e.policy, now)
	if readErr != nil {
		var ok bool
		if doc, ok = JudgeRecord(r, e.policy, now); !ok {
			w.fail(readErr, false)
			return failed(span, readErr)
		}
	}
	if doc.Verdict == Rollback {
		doc.Action = advise(r, e.survey(ctx, r, now))
	}
	if err := e.settle(ctx, w, r, doc, nil); err != nil {
		return failed(span, err)
	}
	span.SetAttributes(attribute.String("rollwatch.verdict", string(doc.Verdict)), attribute.Bool("rollwatch.final", doc.Final))
	return nil
}

func failed(span trace.Span, err error) error {
	span.RecordError(err)
	span.SetStatus(codes.Error, "not judged")
	return err
}

// gather reads what the gates find. A service that is configured no more has
// no gates, so nothing speaks for its rollout.
func (e *Engine) gather(ctx context.Context, r Rollout, kept *alerts.Kept, now time.Time) ([]alerts.Finding, error) {
	s, ok := e.services[r.Service]
	if !ok {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.readingTime())
	defer cancel()
	scene := e.scene(s, r, now)
	scene.Kept = kept
	findings, err := e.guarded(ctx, s.gates, scene)
	if err != nil {
		return nil, fmt.Errorf("read the evidence on %s: %w", r.Service, err)
	}
	return findings, nil
}

// guarded turns a panic of a gate into an error: a service whose metrics a gate is
// not up to is not judged, and stops neither the judging of others nor the program,
// which would end again at each start.
func (e *Engine) guarded(ctx context.Context, gates []alerts.Gate, scene alerts.Scene) (_ []alerts.Finding, err error) {
	defer func() {
		if v := recover(); v != nil {
			e.opts.Log.Error("a gate panicked", zap.String("service", scene.Service.Name), zap.Any("cause", v), zap.ByteString("stack", debug.Stack()))
			err = &panicError{v}
		}
	}()
	return e.opts.Evaluate(ctx, gates, scene)
}

// A panicError is a panic of a gate.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("a gate panicked: %v", e.value) }

// scene is what gates may look at of a rollout at now.
func (e *Engine) scene(s *service, r Rollout, now time.Time) alerts.Scene {
	return court{e.opts.Window, s.Service, e.policy, e.opts.Config.MinRequests, e.opts.Interval}.scene(r, now)
}

// reread makes memory what the ledger says, after a write that failed: it may
// have been carried out all the same.
func (e *Engine) reread(ctx context.Context, w *watch) error {
	w.mu.Lock()
	id, suspect := w.rollout.ID, w.suspect
	w.mu.Unlock()
	if !suspect {
		return nil
	}
	r, err := e.opts.Ledger.rollout(ctx, id)
	if err != nil {
		return err
	}
	doc, _, err := e.opts.Ledger.lastDocument(ctx, id)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rollout, w.suspect = r, false
	if doc.Seq != w.doc.Seq {
		w.doc = doc
	}
	return nil
}

// settle makes a judgement known. When it is a transition, it and the
// deliveries it owes are on disk before anyone sees it; when they cannot be
// written it is not shown, and the next judgement tries again. The caller holds
// w.change; r is the rollout as it is to be.
func (e *Engine) settle(ctx context.Context, w *watch, r Rollout, doc Document, override *Override) error {
	before, shown := w.now()
	doc = e.opts.Link.in(doc)
	doc.Seq = before.Seq
	if !isTransition(before, shown, doc, override) {
		if doc.Final { // a finish of what was final already
			if err := e.write(ctx, w, transition{rollout: r, document: doc}); err != nil {
				return err
			}
		}
		w.publish(r, doc)
		return nil
	}
	doc.Seq++
	r.settle(doc)
	kind, payload, err := newEvent(doc)
	if err != nil {
		w.fail(err, false)
		return err
	}
	t := transition{rollout: r, override: override, document: doc, event: newID("evt"), typ: kind, payload: payload}
	for _, endpoint := range e.opts.Endpoints {
		if endpoint.wants(kind) {
			t.owedTo = append(t.owedTo, endpoint.Name)
		}
	}
	if err := e.write(ctx, w, t); err != nil {
		return err
	}
	w.publish(r, doc)
	e.tell(before.Verdict, doc)
	if len(t.owedTo) > 0 && e.opts.OnOwed != nil {
		e.opts.OnOwed()
	}
	return nil
}

// TransitionMessage is the message of the line that the log has for each transition.
const TransitionMessage = "verdict"

// tell writes a transition to the log, once it is on record.
func (e *Engine) tell(from Word, doc Document) {
	level := zap.InfoLevel
	if doc.Verdict == Rollback {
		level = zap.WarnLevel
	}
	e.opts.Log.Log(level, TransitionMessage,
		zap.String("service", doc.Service), zap.String("rollout", doc.Rollout), zap.String("version", doc.Version),
		zap.String("from", string(from)), zap.String("to", string(doc.Verdict)), zap.Bool("final", doc.Final),
		zap.Bool("dryRun", doc.DryRun), zap.String("reason", doc.Progress), zap.Int64("seq", doc.Seq))
}

// write records a transition. It is not given up when the one who asked for it
// leaves: half a decision is worse than a late one.
func (e *Engine) write(ctx context.Context, w *watch, t transition) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxWriting)
	defer cancel()
	if err := e.opts.Ledger.record(ctx, t); err != nil {
		w.fail(err, true)
		return err
	}
	return nil
}

// isTransition says whether a judgement differs from the one shown before in
// what people must be told.
func isTransition(before Rollout, shown, doc Document, override *Override) bool {
	return before.Seq == 0 ||
		override != nil ||
		doc.Verdict != before.Verdict ||
		doc.Final != before.Final ||
		doc.SupersededBy != shown.SupersededBy ||
		(doc.Override == nil) != (shown.Override == nil)
}
