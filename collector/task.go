package collector

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

const (
	// overdue is what a probe gets beyond its deadline to come back with an error
	// of its own, which says more than ours. Then it is abandoned.
	overdue = 250 * time.Millisecond

	// parting is how long a probe is waited for when the daemon stops, and again
	// for its connections to close.
	parting = 3 * time.Second
)

// A task is work on one target that is done again and again: Read or Discover.
type task struct {
	every, timeout time.Duration
	delay          time.Duration // before the first time
	do             func(context.Context) (probe.Reading, error)
	done           func(outcome) // called once for each run that was not called off
	missed         func()        // called for each tick at which the work was still going on
}

// An outcome is how one run of a task went.
type outcome struct {
	started time.Time
	took    time.Duration
	reading probe.Reading
	err     error
}

// A panicError is a panic in a probe: a fault of ours, which costs its target only.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the probe panicked: %v", e.value) }

var errStillRunning = errors.New("still running after it was called off: left behind")

// A run is one run of a task under way.
type run struct {
	started time.Time
	result  chan outcome
	overdue *time.Timer
	cancel  context.CancelFunc
}

// start runs the work beside the caller, which hears of it by result.
func (t task) start(ctx context.Context) *run {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	r := &run{
		started: time.Now(), cancel: cancel,
		result:  make(chan outcome, 1), // so that an abandoned run can end unheard
		overdue: time.NewTimer(t.timeout + overdue),
	}
	go func() {
		reading, err := guarded(ctx, t.do)
		r.result <- outcome{started: r.started, took: time.Since(r.started), reading: reading, err: err}
	}()
	return r
}

// guarded turns a panic into an error.
func guarded(ctx context.Context, do func(context.Context) (probe.Reading, error)) (_ probe.Reading, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return do(ctx)
}

// abandoned is the outcome of a run that has not come back.
func (t task) abandoned(r *run) outcome {
	return outcome{
		started: r.started, took: time.Since(r.started),
		err: fmt.Errorf("no answer within %s: %w", t.timeout, context.DeadlineExceeded),
	}
}

// loop does the work at every tick until ctx ends. A run that is overdue is
// reported as failed and then waited for, never doubled. The error says that
// the last run was left behind.
func (t task) loop(ctx context.Context) error {
	tick := time.NewTimer(t.delay)
	defer tick.Stop()
	var current *run
	var result <-chan outcome
	var late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return current.part()
		case <-tick.C:
			tick.Reset(t.every)
			if current != nil {
				t.missed()
				continue
			}
			current = t.start(ctx)
			result, late = current.result, current.overdue.C
		case <-late:
			late = nil
			t.done(t.abandoned(current))
		case o := <-result:
			// What comes after it was given up is too old to be news.
			if late != nil && ctx.Err() == nil {
				t.done(o)
			}
			current.release()
			current, result, late = nil, nil, nil
		}
	}
}

// once does the work one time, and waits for it no longer than its deadline.
// The error says that it was left behind.
func (t task) once(ctx context.Context) error {
	r := t.start(ctx)
	defer r.release()
	select {
	case o := <-r.result:
		t.done(o)
		return nil
	case <-r.overdue.C:
		t.done(t.abandoned(r))
		return errStillRunning
	}
}

func (r *run) release() {
	r.cancel()
	r.overdue.Stop()
}

// part waits a little for a run that was called off.
func (r *run) part() error {
	if r == nil {
		return nil
	}
	defer r.release()
	select {
	case <-r.result:
		return nil
	case <-time.After(parting):
		return errStillRunning
	}
}
