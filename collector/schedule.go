package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A Schedule reads its targets, each in a loop of its own, and knows what was
// read last. A target that hangs, panics or floods costs its own reading and
// nothing else.
type Schedule struct {
	log     *zap.Logger
	changed chan struct{} // one slot: the readers are not those that run

	mu      sync.Mutex
	readers []*reader // sorted by kind and name
	running bool      // Run has taken these readers
	unread  []*reader // replaced before Run took them: nothing but to close
}

// NewSchedule makes a schedule of targets, whose probes it closes at the end of
// Run. It reads nothing before. It refuses two targets of one kind and name.
func NewSchedule(targets []Target, log *zap.Logger) (*Schedule, error) {
	s := &Schedule{log: log, changed: make(chan struct{}, 1)}
	if err := s.Replace(targets); err != nil {
		return nil, err
	}
	return s, nil
}

// Replace swaps the targets for others. What is known of a target with the same
// kind and name is kept until it has been read anew. When it refuses, nothing
// has changed, and the probes stay the caller's to close.
func (s *Schedule) Replace(targets []Target) error {
	readers := make([]*reader, 0, len(targets))
	for _, t := range targets {
		readers = append(readers, newReader(t, s.log))
	}
	slices.SortFunc(readers, byKindAndName)
	for i, r := range readers {
		if r.target.Interval <= 0 || r.target.Timeout <= 0 || r.target.Budget <= 0 {
			return fmt.Errorf("schedule %s: interval (%s), timeout (%s) and budget (%d series) must be positive",
				r, r.target.Interval, r.target.Timeout, r.target.Budget)
		}
		if i > 0 && byKindAndName(readers[i-1], r) == 0 {
			return fmt.Errorf("schedule %s: there are two of this kind and name", r)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.readers {
		if i, ok := slices.BinarySearchFunc(readers, old, byKindAndName); ok {
			readers[i].inherit(old)
		}
		if !s.running {
			s.unread = append(s.unread, old)
		}
	}
	s.readers, s.running = readers, false
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

// Run reads the targets until ctx ends, and then closes their probes. It must
// be called once. Its error names probes that did not close in order.
func (s *Schedule) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	var failures failures
	var stopOld context.CancelFunc = func() {}
	for {
		select {
		case <-s.changed:
			readers, unread := s.claim()
			if readers == nil {
				continue // the signal came after its readers had been taken
			}
			// The old ones end in their own time: one that hangs must not keep the
			// new ones from starting.
			stopOld()
			var current context.Context
			current, stopOld = context.WithCancel(ctx)
			for _, r := range readers {
				loops.Go(func() { failures.add(r.run(current)) })
			}
			for _, r := range unread {
				loops.Go(func() { failures.add(r.close()) })
			}
		case <-ctx.Done():
			stopOld()
			readers, unread := s.claim() // replaced at the last moment
			for _, r := range slices.Concat(readers, unread) {
				loops.Go(func() { failures.add(r.close()) })
			}
			loops.Wait()
			return errors.Join(failures.errs...)
		}
	}
}

// claim gives Run the readers to run, once after each Replace, and those that
// were replaced before it came for them.
func (s *Schedule) claim() (readers, unread []*reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return nil, nil
	}
	s.running = true
	unread, s.unread = s.unread, nil
	return s.readers, unread
}

// failures collects the errors of goroutines.
type failures struct {
	mu   sync.Mutex
	errs []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.errs = append(f.errs, err)
	}
}

// Statuses is what is known of every target at now, sorted by kind and name.
func (s *Schedule) Statuses(now time.Time) []Status {
	s.mu.Lock()
	readers := s.readers
	s.mu.Unlock()
	return statuses(readers, now)
}

// ReadOnce reads every target one time, all at once, Discover first, and closes
// their probes. It returns when the slowest target's deadlines have passed.
func ReadOnce(ctx context.Context, targets []Target, log *zap.Logger) []Status {
	readers := make([]*reader, 0, len(targets))
	var all sync.WaitGroup
	for _, t := range targets {
		r := newReader(t, log)
		readers = append(readers, r)
		all.Go(func() { r.once(ctx) })
	}
	all.Wait()
	slices.SortFunc(readers, byKindAndName)
	return statuses(readers, time.Now())
}

func statuses(readers []*reader, now time.Time) []Status {
	out := make([]Status, 0, len(readers))
	for _, r := range readers {
		out = append(out, r.at(now))
	}
	return out
}

func byKindAndName(a, b *reader) int {
	return cmp.Or(cmp.Compare(a.target.Kind, b.target.Kind), cmp.Compare(a.target.Name, b.target.Name))
}
