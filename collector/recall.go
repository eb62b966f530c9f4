package collector

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Recall is a Window that asks another one once for what is selected within a
// stretch of time, and remembers it: who judges the same hours at every tick
// selects the same series hundreds of times. It is for one caller at a time,
// and for a past that does not change any more.
type Recall struct {
	Window

	from, to time.Time
	series   map[string][]Series // by matchers
}

// NewRecall remembers what the window holds after from, up to and with to.
func NewRecall(window Window, from, to time.Time) *Recall {
	return &Recall{Window: window, from: from, to: to, series: map[string][]Series{}}
}

// Select implements Window. The points are shared with what is remembered.
func (r *Recall) Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]Series, error) {
	if from.Before(r.from) || to.After(r.to) {
		return r.Window.Select(ctx, from, to, matchers...)
	}
	key := selectorOf(matchers)
	all, ok := r.series[key]
	if !ok {
		var err error
		if all, err = r.Window.Select(ctx, r.from, r.to, matchers...); err != nil {
			return nil, err
		}
		r.series[key] = all
	}
	var out []Series
	for _, s := range all {
		if points := between(s.Points, from.UnixMilli()+1, to.UnixMilli()); len(points) > 0 {
			out = append(out, Series{Labels: s.Labels, Points: slices.Clip(points)})
		}
	}
	return out, nil
}
