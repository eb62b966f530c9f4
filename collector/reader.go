package collector

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// discoverTimeout bounds one Discover. It is background work, and waits behind
// the hot path of slow servers.
const discoverTimeout = 30 * time.Second

// A reader reads one target and keeps what it found.
type reader struct {
	target Target
	log    *zap.Logger

	mu          sync.Mutex
	status      Status
	discoverErr error
	dropping    bool            // the newest Reading was too much, and the log says so
	denied      map[string]bool // the views of which the log has said that they are
	warned      string          // what the log has said should be changed
}

func newReader(t Target, log *zap.Logger) *reader {
	return &reader{
		target: t,
		log:    log.With(zap.String("kind", t.Kind), zap.String("target", t.Name)),
		status: Status{Kind: t.Kind, Name: t.Name, Required: t.Required, Interval: t.Interval},
		denied: map[string]bool{},
	}
}

// String is how a target is named in the health document.
func (r *reader) String() string { return r.target.Kind + ":" + r.target.Name }

// inherit takes over what is known of the target under its old configuration.
func (r *reader) inherit(old *reader) {
	old.mu.Lock()
	defer old.mu.Unlock()
	r.status = old.status
	r.status.Required, r.status.Interval = r.target.Required, r.target.Interval
	r.dropping = old.dropping
	r.denied, r.warned = maps.Clone(old.denied), old.warned
}

// at is the Status at now: a Reading that is not fresh any more is left out.
func (r *reader) at(now time.Time) Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	if !s.Fresh(now) {
		s.Reading = probe.Reading{}
	}
	if r.discoverErr != nil {
		view := probe.View{Name: "discovery", State: probe.ViewFailed, Err: r.discoverErr}
		s.Reading.Views = append(slices.Clip(s.Reading.Views), view)
	}
	return s
}

// run reads until ctx ends, and closes the probe.
func (r *reader) run(ctx context.Context) error {
	var loops sync.WaitGroup
	var readErr, discoverErr error
	loops.Go(func() { readErr = r.reading().loop(ctx) })
	if d, ok := r.target.Probe.(probe.Discoverer); ok {
		loops.Go(func() { discoverErr = r.discovering(d).loop(ctx) })
	}
	loops.Wait()
	if err := errors.Join(readErr, discoverErr); err != nil {
		// A probe is not closed under a Read that still uses it.
		return fmt.Errorf("stop reading %s: %w", r, err)
	}
	return r.close()
}

// once discovers and reads one time, and closes the probe.
func (r *reader) once(ctx context.Context) {
	var err error
	if d, ok := r.target.Probe.(probe.Discoverer); ok {
		err = r.discovering(d).once(ctx)
	}
	if err = errors.Join(err, r.reading().once(ctx)); err != nil {
		return
	}
	if err := r.close(); err != nil {
		r.log.Warn("target did not close in order", zap.Error(err))
	}
}

// close gives back the probe's connections, for which a dead server may make
// it wait.
func (r *reader) close() error {
	closed := make(chan error, 1)
	go func() { closed <- r.target.Probe.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("close %s: %w", r, err)
		}
		return nil
	case <-time.After(parting):
		return fmt.Errorf("close %s: %w", r, errStillRunning)
	}
}

func (r *reader) reading() task {
	return task{
		every: r.target.Interval, timeout: r.target.Timeout, delay: r.jitter(),
		do: r.read, done: r.record, missed: r.miss,
	}
}

func (r *reader) discovering(d probe.Discoverer) task {
	every := d.DiscoverInterval()
	return task{
		every: every, timeout: min(every, discoverTimeout),
		do:     func(ctx context.Context) (probe.Reading, error) { return probe.Reading{}, d.Discover(ctx) },
		done:   r.discovered,
		missed: func() {}, // the overdue Discover itself has been reported
	}
}

// jitter spreads the targets over a tenth of the interval: enough not to read
// all at one moment, too little to leave one unread at start. It is the same
// after a restart.
func (r *reader) jitter() time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.String())) // a hash takes everything
	return time.Duration(h.Sum64() % uint64(max(r.target.Interval/10, 1)))
}

// read is the probe's Read within a span.
func (r *reader) read(ctx context.Context) (probe.Reading, error) {
	ctx, span := otel.Tracer("github.com/rollwatch/rollwatch/collector").Start(ctx, "probe.read", trace.WithAttributes(
		attribute.String("kind", r.target.Kind), attribute.String("target", r.target.Name)))
	defer span.End()
	reading, err := guarded(ctx, r.target.Probe.Read)
	span.SetAttributes(attribute.String("outcome", outcomeOf(err)))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return reading, err
}

// outcomeOf names how a Read went, in few words that never change.
func outcomeOf(err error) string {
	var panicked *panicError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &panicked):
		return "panic"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "error"
	}
}

func (r *reader) miss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Missed++
}

// record keeps the outcome of a Read. The log has one line when a target goes
// down and one when it comes back, not one a tick.
func (r *reader) record(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	first, wasUp, downSince := s.Started.IsZero(), s.Up, s.LastSuccess
	s.Started, s.Duration, s.Up, s.Err = o.started, o.took, o.err == nil, o.err
	if o.err != nil {
		if first || wasUp {
			r.log.Warn("target is down", append(stackOf(o.err), zap.Error(o.err))...)
		}
		return
	}
	switch {
	case first || wasUp:
	case downSince.IsZero():
		r.log.Info("target is up for the first time")
	default:
		r.log.Info("target is up again", zap.Time("last_success", downSince))
	}
	s.LastSuccess = o.started
	r.keep(o.reading)
	r.tellDenied(o.reading.Views)
	r.tellWarning(o.reading.Warning)
}

// tellWarning says once what should be changed, and when it was.
func (r *reader) tellWarning(warning string) {
	switch {
	case warning == r.warned:
	case warning != "":
		r.log.Warn("the target is up and should be changed: " + warning)
	default:
		r.log.Info("the target is warned of no more")
	}
	r.warned = warning
}

// tellDenied says once which parts the target refuses us, and when it does no
// more: what is not granted lasts, and is a fault of nobody's.
func (r *reader) tellDenied(views []probe.View) {
	for _, v := range views {
		switch denied := v.State == probe.ViewDenied; {
		case denied && !r.denied[v.Name]:
			r.log.Warn("a part of the target is denied to us: `rollwatch config grants` prints what is needed", zap.String("view", v.Name), zap.Error(v.Err))
			r.denied[v.Name] = true
		case !denied && r.denied[v.Name]:
			r.log.Info("a part of the target is not denied to us any more", zap.String("view", v.Name))
			delete(r.denied, v.Name)
		}
	}
}

// keep stores a Reading within the target's budget, and says loudly, once, when
// it does not fit.
func (r *reader) keep(reading probe.Reading) {
	samples, twice, over := trim(reading.Samples, r.target.Budget)
	over += reading.Dropped
	if dropped := twice + over; dropped > 0 {
		r.status.Dropped += uint64(dropped)
		if !r.dropping {
			r.log.Warn("series of the target are dropped",
				zap.Int("over_budget", over), zap.Int("budget", r.target.Budget), zap.Int("read_twice", twice))
		}
	}
	r.dropping = twice+over > 0
	reading.Samples = samples
	r.status.Reading = reading
}

// discovered keeps how Discover went: its failure is a View of the target,
// which may answer well.
func (r *reader) discovered(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.err != nil && r.discoverErr == nil {
		r.log.Warn("target cannot be searched for what there is to read", append(stackOf(o.err), zap.Error(o.err))...)
	}
	r.discoverErr = o.err
}

// stackOf is where a probe panicked, if it did.
func stackOf(err error) []zap.Field {
	var panicked *panicError
	if !errors.As(err, &panicked) {
		return nil
	}
	return []zap.Field{zap.ByteString("stack", panicked.stack)}
}
