package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// surveyEvery is how often what is slow to read is read, and a new client is
// let in.
const surveyEvery = time.Minute

// A survey is what was found the last time. It is dropped, not frozen, when
// three of them have failed since.
type survey struct {
	mu      sync.Mutex
	at      time.Time
	samples []probe.Sample
	views   []probe.View
}

// Discover connects as a new client would, times that, and reads what is too
// slow for every Read.
func (r *reader) Discover(ctx context.Context) error {
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
	c := &cycle{}
	c.add(connectTime.Sample(time.Since(start).Seconds()))
	at := here{s.version, r.config}
	if err := s.survey(ctx, c, views[:1], at); err != nil {
		return err
	}
	c.samples, c.views = c.samples[:1], nil // the server view is Read's
	if err := s.survey(ctx, c, surveyed, at); err != nil {
		return err
	}
	r.survey.keep(c, start)
	return nil
}

// DiscoverInterval implements probe.Discoverer.
func (r *reader) DiscoverInterval() time.Duration { return surveyEvery }

// survey reads views one by one. An error is a connection that is of no use any more.
func (s *session) survey(ctx context.Context, c *cycle, of []view, at here) error {
	for _, v := range of {
		if v.sql(at) == "" {
			c.views = append(c.views, probe.View{Name: v.name, State: probe.ViewAbsent})
			continue
		}
		found, err := s.compose(ctx, []view{v}, at)
		if err != nil && (!answered(err) || s.conn.IsClosed()) {
			return inTime(ctx, fmt.Errorf("view %s: %w", v.name, err))
		}
		if err != nil {
			state := stateOf(err)
			if state == probe.ViewAbsent {
				err = nil
			}
			c.views = append(c.views, probe.View{Name: v.name, State: state, Err: err})
			continue
		}
		c.take(v, found[0])
	}
	return nil
}

func (s *survey) keep(c *cycle, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.samples, s.views = at, c.samples, c.views
}

// addTo adds what the newest survey found, if it is still true.
func (s *survey) addTo(c *cycle, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || now.Sub(s.at) > 3*surveyEvery {
		for _, v := range surveyed {
			c.views = append(c.views, probe.View{Name: v.name, State: probe.ViewAbsent})
		}
		return
	}
	c.add(s.samples...)
	c.views = slices.Concat(c.views, s.views)
}
