package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// An Inspection is what a database looks like.
type Inspection struct {
	Target string        // its name in the configuration
	Schema *probe.Schema // the newest that is known; nil: none is
	Err    error         // why it is not of now; nil: it is
}

// Inspect reads the schema of databases now, all at once, in the time that ctx
// leaves. Where that fails, what was read of it last is told with the error.
func (s *Schedule) Inspect(ctx context.Context, targets []string) []Inspection {
	s.mu.Lock()
	readers := s.readers
	s.mu.Unlock()
	found := make([]Inspection, len(targets))
	var all sync.WaitGroup
	for i, target := range targets {
		all.Go(func() { found[i] = inspect(ctx, readers, target) })
	}
	all.Wait()
	return found
}

func inspect(ctx context.Context, readers []*reader, target string) Inspection {
	i := slices.IndexFunc(readers, func(r *reader) bool {
		_, ok := r.target.Probe.(probe.Inspector)
		return ok && r.target.Name == target
	})
	if i < 0 {
		return Inspection{Target: target, Err: errNotInspected}
	}
	r := readers[i]
	inspector, _ := r.target.Probe.(probe.Inspector)
	found := Inspection{Target: target}
	timeout := r.target.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	left := task{
		timeout: timeout,
		do: func(ctx context.Context) (probe.Reading, error) {
			schema, err := inspector.Inspect(ctx)
			return probe.Reading{Schema: schema}, err
		},
		done: func(o outcome) { found.Schema, found.Err = o.reading.Schema, o.err },
	}.once(ctx)
	if found.Err = cmp.Or(found.Err, left); found.Err != nil {
		found.Schema = r.at(time.Now()).Reading.Schema
		found.Err = fmt.Errorf("%s: %w", r, found.Err)
	}
	return found
}

var errNotInspected = errors.New("it is not a PostgreSQL target of the configuration")
