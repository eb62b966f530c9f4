package collector

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// A Point is one scraped value. T is in Unix milliseconds, as the window stores it.
type Point struct {
	T int64
	V float64
}

// A Series is the raw samples of one series, in order of time, without stale markers.
type Series struct {
	Labels labels.Labels
	Points []Point
}

// A Window is the recent past of everything read: the embedded one (Open) or
// one made by hand in a test. Both methods are pure in their arguments: the
// same window gives the same answer for the same times.
type Window interface {
	// Select returns the raw samples with from < t <= to.
	Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]Series, error)

	// Query evaluates a PromQL expression at each step with from <= t <= to.
	Query(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error)
}
