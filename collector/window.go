// Package collector decides when probes run and keeps what was read: the newest
// reading of each target in memory (Schedule), the recent past in an embedded
// Prometheus TSDB (Store), and two writers of the same snapshot, for Prometheus
// and for OpenTelemetry. It knows what was read, not what is right or wrong.
package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A Point is one scraped value. T is in Unix milliseconds, as the window stores it.
type Point struct {
	T int64
	V float64
}

// A Series is the raw samples of one series, in order of time, without stale
// markers. Points may be shared with the window and must not be written to.
type Series struct {
	Labels labels.Labels
	Points []Point
}

// A Window is the recent past of everything read: the embedded one (Open) or
// one in memory (Memory). Both methods are pure in their arguments: the same
// window gives the same answer for the same times.
type Window interface {
	// Select returns the raw samples with from < t <= to, the series in the order
	// of their labels. A series without a sample in that time is left out. A native
	// histogram is found under the names of the _count and the _bucket series that
	// it would have if it were classic.
	Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]Series, error)

	// Query evaluates a PromQL expression at from, from+step, ... up to to.
	Query(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error)
}

const (
	// A query is asked by a gate that somebody waits for, or by the page: one that
	// takes longer is of no use to either.
	queryTimeout = 10 * time.Second

	// querySamples bounds what one query may hold in memory (16 bytes each). 5,000
	// series over two hours at 15 s need 2.4 million.
	querySamples = 10_000_000
)

// querier answers Query for any storage.
type querier struct {
	storage storage.Queryable
	engine  *promql.Engine
}

func newQuerier(s storage.Queryable) querier {
	return querier{storage: s, engine: promql.NewEngine(promql.EngineOpts{
		Timeout:              queryTimeout,
		MaxSamples:           querySamples,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	})}
}

// Query implements Window.
func (q querier) Query(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	switch {
	case to.Before(from):
		return nil, fmt.Errorf("query %s: it ends (%s) before it begins (%s)", expr, to, from)
	case to.Equal(from):
		step = time.Second // one step, whatever its length
	case step <= 0:
		return nil, fmt.Errorf("query %s: step is %s, it must be positive", expr, step)
	}
	query, err := q.engine.NewRangeQuery(ctx, q.storage, nil, expr, from, to, step)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	// The query is never closed: closing gives the points of the result back to a
	// pool, while the caller still reads them.
	matrix, err := query.Exec(ctx).Matrix()
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	return matrix, nil
}

// Select implements Window.
func (q querier) Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) (_ []Series, err error) {
	reader, err := q.storage.Querier(from.UnixMilli()+1, to.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read the window: %w", err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()

	out, err := q.selectSeries(ctx, reader, from, to, matchers)
	if err != nil {
		return nil, fmt.Errorf("read the window: %w", err)
	}
	return out, nil
}

// selectSeries is Select on an open reader.
func (q querier) selectSeries(ctx context.Context, reader storage.Querier, from, to time.Time, matchers []*labels.Matcher) ([]Series, error) {
	var out []Series
	var it chunkenc.Iterator
	var buf []Point
	// What is outside of the time is left out here: the storage's own way to do it costs
	// as much again as reading.
	mint, maxt := from.UnixMilli()+1, to.UnixMilli()
	var err error
	set := reader.Select(ctx, true, &storage.SelectHints{Start: mint, End: maxt, DisableTrimming: true}, matchers...)
	for set.Next() {
		it = set.At().Iterator(it)
		if buf, err = floats(buf[:0], it, mint, maxt); err != nil {
			return nil, fmt.Errorf("%s: %w", set.At().Labels(), err)
		}
		if len(buf) > 0 {
			out = append(out, Series{Labels: set.At().Labels().Copy(), Points: slices.Clone(buf)})
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	return q.withNative(ctx, reader, out, matchers)
}

// floats appends the float samples from mint to maxt, both included, that are left in
// it, without stale markers.
func floats(points []Point, it chunkenc.Iterator, mint, maxt int64) ([]Point, error) {
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if typ != chunkenc.ValFloat {
			continue
		}
		if t, v := it.At(); t >= mint && t <= maxt && !value.IsStaleNaN(v) {
			points = append(points, Point{T: t, V: v})
		}
	}
	return points, it.Err()
}
