package verdict

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/rollwatch/rollwatch/alerts"
)

const (
	// detectWithin is how far back a version must not have been seen to be new.
	detectWithin = time.Hour
	// detectReadings is how many intervals back are read at each tick; only what
	// they show and is not known yet asks for more.
	detectReadings = 12
	// adoptWithin is how far the registration by a tool and the detection of the
	// same version may lie apart and yet be one rollout.
	adoptWithin = 10 * time.Minute
	// maxNewcomers is how many versions an hour may bring. A label with the id of
	// a process or of a request would else register rollouts without end.
	maxNewcomers = 10
	// detectRollouts is how many of a service's newest rollouts may account for a version.
	detectRollouts = 50
)

// detect registers the rollouts that nobody told of.
func (e *Engine) detect(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(maxJudging)
	for _, s := range e.services {
		if s.Detect == nil {
			continue
		}
		group.Go(func() error {
			now := time.Now().UTC()
			if err := e.detectIn(ctx, s, now); ctx.Err() == nil {
				e.tellDetecting(s, err, now)
			}
			return nil
		})
	}
	_ = group.Wait() // each has told the log what went wrong
}

// tellDetecting tells the log why new versions cannot be looked for: once, not at every
// tick. A label that is none of versions is news again when an hour went by without too
// many of them: how many there are changes at each tick, and whether anybody asks too.
func (e *Engine) tellDetecting(s *service, err error, now time.Time) {
	why, told := "", s.undetected
	if err != nil {
		why = err.Error()
	}
	if _, many := errors.AsType[*manyVersionsError](err); many {
		why = "too many versions"
		if now.Sub(s.manyAt) < detectWithin {
			told = why
		}
		s.manyAt = now
	}
	if s.undetected = why; why != "" && why != told {
		e.opts.Log.Error("cannot look for new versions", zap.String("service", s.Name), zap.Error(err))
	}
}

// A manyVersionsError is a label that tells something else than versions.
type manyVersionsError struct{ n int }

func (e *manyVersionsError) Error() string {
	return fmt.Sprintf("%d new versions within %s: what is taken for the version is something else", e.n, rounded(detectWithin))
}

// detectIn looks at the versions that a service shows now. What it decides
// follows from the window and the ledger alone, so a restart changes nothing;
// s.usual only spares reading an hour at each tick.
func (e *Engine) detectIn(ctx context.Context, s *service, now time.Time) error {
	recent, err := e.sightings(ctx, s, alerts.Span{From: now.Add(-detectReadings * e.opts.Interval), To: now})
	if err != nil {
		return err
	}
	shown := map[string]bool{}
	for _, sighting := range recent {
		for _, version := range sighting.Versions {
			shown[version] = true
		}
	}
	for version := range s.usual {
		if !shown[version] {
			delete(s.usual, version)
		}
	}
	newest, watched := e.newestOf(s.Name)
	back := watched && e.mayGoBack(newest, now) && alerts.MayBeGone(recent, newest.Version)
	if !back && len(shown) == len(s.usual) {
		return nil
	}
	span := alerts.Span{From: now.Add(-detectWithin), To: now}
	if back {
		span.From = earlier(span.From, newest.StartedAt.Add(-detectWithin))
	}
	past, err := e.sightings(ctx, s, span)
	if err != nil {
		return err
	}
	if back {
		if found, err := e.goneBack(ctx, s, newest, past, now); found || err != nil {
			return err
		}
	}
	return e.newVersions(ctx, s, past, shown, now)
}

func (e *Engine) sightings(ctx context.Context, s *service, span alerts.Span) ([]alerts.Sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, e.readingTime())
	defer cancel()
	return e.opts.Sight(ctx, alerts.Scene{Window: e.opts.Window, Service: s.Service, Interval: e.opts.Interval}, span)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// newestOf is the newest rollout of a service, false if there is none.
func (e *Engine) newestOf(name string) (Rollout, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.watches[e.newest[name]]
	if w == nil {
		return Rollout{}, false
	}
	r, _ := w.now()
	return r, true
}

// mayGoBack says whether the end of the rollout's version would be news: it is
// young, and nobody has said that it was taken back.
func (e *Engine) mayGoBack(r Rollout, now time.Time) bool {
	return r.Outcome != RolledBack && r.Outcome != Aborted && now.Before(r.StartedAt.Add(max(e.policy.Watch(r.Strategy), e.policy.After)))
}

// goneBack registers that the service is back at the version before the newest
// rollout, where it is.
func (e *Engine) goneBack(ctx context.Context, s *service, newest Rollout, past []alerts.Sighting, now time.Time) (bool, error) {
	previous := newest.PreviousVersion
	for _, n := range alerts.Newcomers(past) {
		if n.Version == newest.Version {
			previous = cmp.Or(previous, n.Before)
		}
	}
	// Only what it showed under this rollout can be gone: it may have been there before.
	under := slices.DeleteFunc(slices.Clone(past), func(s alerts.Sighting) bool { return s.At.Before(newest.StartedAt) })
	since, gone := alerts.Replaced(under, newest.Version, previous)
	if !gone || previous == "" {
		return false, nil
	}
	reg := Registration{Version: previous, PreviousVersion: newest.Version, Kind: KindOfRollback, StartedAt: since}
	if newest.Kind == KindOfRollback { // back from the way back: it is tried again
		reg.Kind = Deploy
	}
	return true, e.registerDetected(ctx, s, reg, now, func([]Rollout) bool {
		r, _ := e.newestOf(s.Name)
		return r.ID != newest.ID // somebody was faster
	})
}

// newVersions registers the versions that are new and that no rollout accounts for.
func (e *Engine) newVersions(ctx context.Context, s *service, past []alerts.Sighting, shown map[string]bool, now time.Time) error {
	newcomers := alerts.Newcomers(past)
	if len(newcomers) > maxNewcomers {
		return &manyVersionsError{len(newcomers)}
	}
	for version := range shown {
		isNew := func(n alerts.Newcomer) bool { return n.Version == version }
		if !slices.ContainsFunc(newcomers, isNew) && alerts.IsFamiliar(past, version) {
			s.usual[version] = true
		}
	}
	for _, n := range newcomers {
		if !shown[n.Version] || s.usual[n.Version] {
			continue
		}
		if now.Sub(n.Since) < e.policy.Watch(s.Detect.Strategy) { // else it is too late to judge it
			reg := Registration{Version: n.Version, PreviousVersion: n.Before, Kind: Deploy, StartedAt: n.Since}
			accounted := func(known []Rollout) bool {
				return slices.ContainsFunc(known, func(r Rollout) bool { return e.policy.accountsFor(r, n, past) })
			}
			err := e.registerDetected(ctx, s, reg, now, accounted)
			if refusal, ok := errors.AsType[*Error](err); ok && refusal.Code == Invalid {
				e.opts.Log.Warn("what shows itself as a version is none", zap.String("service", s.Name), zap.Error(err))
			} else if err != nil {
				return err
			}
		}
		s.usual[n.Version] = true
	}
	return nil
}

// registerDetected registers a rollout that rollwatch found by itself, unless
// those on record are found to account for it.
func (e *Engine) registerDetected(ctx context.Context, s *service, reg Registration, now time.Time, accounted func([]Rollout) bool) error {
	s.registering.Lock()
	defer s.registering.Unlock()
	known, _, err := e.opts.Ledger.rollouts(ctx, s.Name, Page{Limit: detectRollouts})
	if err != nil {
		return err
	}
	if accounted(known) {
		return nil
	}
	reg.Service, reg.Strategy = s.Name, s.Detect.Strategy
	// It began after the reading before the first that named it.
	reg.StartedAt = latest(reg.StartedAt.Add(-e.opts.Interval), now.Add(-e.policy.Watch(reg.Strategy)))
	if _, err := e.admit(&reg, now); err != nil {
		return err
	}
	r, err := e.enroll(ctx, s, registration{rollout: Rollout{Registration: reg, Detected: true}}, now)
	if err != nil {
		return err
	}
	e.opts.Log.Info("a version was detected that nobody had registered", zap.String("service", r.Service), zap.String("rollout", r.ID),
		zap.String("version", r.Version), zap.String("previous_version", r.PreviousVersion), zap.String("kind", string(r.Kind)))
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// accountsFor says whether a version that showed itself is that of a rollout on
// record. A tool may call it otherwise than the service does: what comes while
// a rollout's own version was never seen is taken for it.
func (p Policy) accountsFor(r Rollout, n alerts.Newcomer, past []alerts.Sighting) bool {
	from := r.StartedAt.Add(-adoptWithin)
	switch {
	case n.Since.After(p.heldUntil(r)):
		return false
	case r.Version == n.Version:
		return true
	case r.Detected || n.Since.Before(from):
		return false
	}
	return !slices.ContainsFunc(past, func(s alerts.Sighting) bool { return s.At.After(from) && s.Has(r.Version) })
}

// heldUntil is until when a version that begins to show itself may be the rollout's.
func (p Policy) heldUntil(r Rollout) time.Time {
	switch {
	case !r.FinishedAt.IsZero():
		return r.FinishedAt.Add(adoptWithin)
	case !r.Final && r.SupersededBy == "":
		return time.Unix(1<<40, 0)
	default:
		return r.StartedAt.Add(max(2*p.Watch(r.Strategy), p.After))
	}
}

// adopt gives a rollout that was detected what the tool says of it that
// registers the same version now; false when there is none such. It keeps its
// id, its start and its baseline, which the registration comes too late for.
func (e *Engine) adoptDetected(ctx context.Context, reg registration, now time.Time) (Rollout, bool, error) {
	told := reg.rollout.Registration
	found, watched := e.newestOf(told.Service)
	if !watched || !found.Detected || found.Version != told.Version || !found.FinishedAt.IsZero() || now.Sub(found.RegisteredAt) > adoptWithin {
		return Rollout{}, false, nil
	}
	w := e.inMemory(found.ID)
	w.change.Lock()
	r, _ := w.now()
	told.StartedAt, told.PreviousVersion = r.StartedAt, cmp.Or(told.PreviousVersion, r.PreviousVersion)
	reg.rollout = r
	reg.rollout.Registration, reg.rollout.Detected = told, false
	reg.rollout.Notes = notesOn(e.services[told.Service].Service, told)
	if err := e.opts.Ledger.adopt(ctx, reg); err != nil {
		w.change.Unlock()
		return Rollout{}, false, e.unavailable(err)
	}
	w.tell(reg.rollout)
	w.change.Unlock()
	if !r.Final {
		_ = e.judge(context.WithoutCancel(ctx), w) // the watch remembers what went wrong, and the next tick tries again
	}
	r, _ = w.now()
	return r, true, nil
}

// tell makes what a tool says of a detected rollout the rollout's own.
func (w *watch) tell(told Rollout) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rollout.Registration, w.rollout.Notes, w.rollout.Detected = told.Registration, told.Notes, false
	w.doc.Strategy, w.doc.Notes, w.doc.Detected = told.Strategy, told.Notes, false
}
