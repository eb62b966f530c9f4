package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// surveyEvery is how often what is slow to read is read, and a new client is
// let in.
const surveyEvery = time.Minute

// A chore is a view that is read rarely.
type chore struct {
	view

	every  time.Duration
	wanted bool // somebody wrote it: that what it names is not there is a fault
}

// chores are what a target has that is read rarely: what everybody has, and the
// invariants of the configuration.
func chores(config Config) []chore {
	all := make([]chore, 0, len(surveyed)+len(config.Integrity))
	for _, v := range surveyed {
		all = append(all, chore{view: v, every: surveyEvery})
	}
	for _, invariant := range config.Integrity {
		all = append(all, chore{view: invariant.view(), every: invariant.every(), wanted: true})
	}
	return all
}

// A surveyor keeps what each chore found the last time. That is dropped, not
// frozen, when three of its intervals have passed since.
type surveyor struct {
	chores []chore

	mu        sync.Mutex
	connect   time.Duration // how long the newest connection took
	connectAt time.Time
	found     map[string]finding
}

type finding struct {
	at      time.Time
	samples []probe.Sample
	view    probe.View
	schema  *probe.Schema
}

func newSurveyor(config Config) *surveyor {
	return &surveyor{chores: chores(config), found: map[string]finding{}}
}

// Discover connects as a new client would, times that, and does the chores that
// are due.
func (r *reader) Discover(ctx context.Context) error {
	if err := r.beside.take(ctx); err != nil {
		return inTime(ctx, err)
	}
	defer r.beside.give()
	config, err := r.target()
	if err != nil {
		return err
	}
	start := time.Now()
	s, err := connect(ctx, config, r.statementTimeout(ctx))
	if err != nil {
		return inTime(ctx, err)
	}
	defer s.close() //nolint:contextcheck // the goodbye has a time of its own
	r.survey.connected(start, time.Since(start))
	c := &cycle{}
	at := here{s.version, r.config}
	if _, err := s.survey(ctx, c, views[0], at); err != nil { // whom we are, and on what
		return err
	}
	for _, due := range r.survey.due(start) {
		c.samples, c.views, c.schema = nil, nil, nil // what is known of the server stays
		view, err := s.survey(ctx, c, due.view, at)
		if err != nil {
			return err
		}
		if due.wanted && view.State == probe.ViewAbsent {
			view.State = probe.ViewFailed
		}
		c.schema.Stamp(start)
		r.survey.keep(finding{at: start, samples: c.samples, view: view, schema: c.schema})
	}
	return nil
}

// DiscoverInterval implements probe.Discoverer: the shortest of the chores'.
func (r *reader) DiscoverInterval() time.Duration {
	shortest := surveyEvery
	for _, c := range r.survey.chores {
		shortest = min(shortest, c.every)
	}
	return shortest
}

// survey reads one view. An error is a connection that is of no use any more.
func (s *session) survey(ctx context.Context, c *cycle, v view, at here) (probe.View, error) {
	if v.sql(at) == "" {
		return probe.View{Name: v.name, State: probe.ViewAbsent}, nil
	}
	if lacks, err := s.lacks(ctx, c, v, at); err != nil || lacks.State != "" {
		return lacks, err
	}
	found, err := s.compose(ctx, []view{v}, at)
	switch {
	case err == nil:
		c.take(v, found[0])
		return c.views[len(c.views)-1], nil
	case !answered(err), s.conn.IsClosed():
		return probe.View{}, inTime(ctx, fmt.Errorf("view %s: %w", v.name, err))
	default:
		return unread(v, err), nil
	}
}

// lacks says what is missing for a view; a View without a State when nothing is.
func (s *session) lacks(ctx context.Context, c *cycle, v view, at here) (probe.View, error) {
	if v.needs == nil {
		return probe.View{}, nil
	}
	needed := v.needs(at.config)
	var readable *bool
	if err := s.conn.QueryRow(ctx, "SELECT "+needed.readable).Scan(&readable); err != nil {
		return probe.View{}, inTime(ctx, fmt.Errorf("view %s: what it needs: %w", v.name, err))
	}
	switch {
	case readable == nil:
		return probe.View{Name: v.name, State: probe.ViewAbsent}, nil
	case !*readable:
		err := fmt.Errorf("not granted: %s TO %s", needed.grant, pgx.Identifier{c.server.user}.Sanitize())
		return probe.View{Name: v.name, State: probe.ViewDenied, Err: err}, nil
	}
	return probe.View{}, nil
}

// unread is a view that the server refused to answer.
func unread(v view, err error) probe.View {
	return probe.View{Name: v.name, State: stateOf(err), Err: err}
}

func (s *surveyor) connected(at time.Time, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connectAt, s.connect = at, took
}

// due are the chores whose time has come; ticks come a little early or late.
func (s *surveyor) due(now time.Time) []chore {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.chores), func(c chore) bool {
		return now.Sub(s.found[c.name].at) < c.every*9/10
	})
}

func (s *surveyor) keep(f finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[f.view.Name] = f
}

// addTo adds what the chores found, as far as it is still true.
func (s *surveyor) addTo(c *cycle, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.connectAt) <= 3*surveyEvery {
		c.add(connectTime.Sample(s.connect.Seconds()))
	}
	for _, chore := range s.chores {
		f, ok := s.found[chore.name]
		if !ok || now.Sub(f.at) > 3*max(chore.every, surveyEvery) {
			c.views = append(c.views, probe.View{Name: chore.name, State: probe.ViewAbsent})
			continue
		}
		c.add(f.samples...)
		c.views = append(c.views, f.view)
		c.schema = cmp.Or(f.schema, c.schema)
	}
}
