package collector

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// An InputSeries is one series in promtool's notation, as the tests that
// operators write for their gates have it: '0+10x20', '1 _ _ 4', 'stale'.
type InputSeries struct {
	Series string `yaml:"series" jsonschema:"required"`
	Values string `yaml:"values" jsonschema:"required"`
}

// Memory is a Window that is kept in memory only: for tests of gates and for
// simulations. The zero value is not usable; use NewMemory or ParseMemory.
type Memory struct {
	querier
	mu     sync.RWMutex
	series map[string]*Series // by labels
}

// NewMemory makes an empty window.
func NewMemory() *Memory {
	m := &Memory{series: map[string]*Series{}}
	m.querier = newQuerier(memoryStorage{m})
	return m
}

// maxInputValues is how many values the series of one test have at most: half a
// year at every 15 seconds. The parser writes out each of '0+1x1000000000'.
const maxInputValues = 1_000_000

var repetition = regexp.MustCompile(`x(\d+)`)

// repeated is how many values the repetitions in a text amount to, at most one more
// than are allowed.
func repeated(values string) (n int) {
	for _, match := range repetition.FindAllStringSubmatch(values, -1) {
		times, err := strconv.Atoi(match[1])
		if err != nil || times > maxInputValues-n {
			return maxInputValues + 1
		}
		n += times
	}
	return n
}

// ParseMemory makes a window of series in promtool's notation. The first value
// of each stands at Unix time 0, the others follow at the interval.
func ParseMemory(interval time.Duration, input []InputSeries) (*Memory, error) {
	m := NewMemory()
	left := maxInputValues
	for i, in := range input {
		if left -= repeated(in.Values); left < 0 {
			return nil, fmt.Errorf("input_series[%d] %s: with this one there are more than %d values", i, in.Series, maxInputValues)
		}
		lset, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(in.Series + " " + in.Values)
		if err != nil {
			return nil, fmt.Errorf("input_series[%d] %s: %w", i, in.Series, err)
		}
		if _, ok := m.series[lset.String()]; ok {
			return nil, fmt.Errorf("input_series[%d] %s: this series is there already", i, in.Series)
		}
		for n, v := range values {
			if v.Histogram != nil {
				return nil, fmt.Errorf("input_series[%d] %s: native histograms cannot be written here, write the _count and _bucket series", i, in.Series)
			}
			if v.Omitted {
				continue
			}
			if err := m.Append(time.Unix(0, 0).Add(time.Duration(n)*interval), lset, v.Value); err != nil {
				return nil, fmt.Errorf("input_series[%d]: %w", i, err)
			}
		}
	}
	return m, nil
}

// Append adds a sample, which must be newer than what the series has. A stale
// marker (value.StaleNaN) ends the series for Query.
func (m *Memory) Append(t time.Time, lset labels.Labels, v float64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := lset.String()
	s, ok := m.series[key]
	if !ok {
		s = &Series{Labels: lset.Copy()}
		m.series[key] = s
	}
	if n := len(s.Points); n > 0 && s.Points[n-1].T >= t.UnixMilli() {
		return fmt.Errorf("append %s: a sample at %s is not newer than the one before", key, t)
	}
	s.Points = append(s.Points, Point{T: t.UnixMilli(), V: v})
	return nil
}

// Select implements Window. It shares the points with the window where there
// is no stale marker to leave out: simulations read the same hours many times.
func (m *Memory) Select(_ context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]Series, error) {
	series := m.match(from.UnixMilli()+1, to.UnixMilli(), matchers)
	out := series[:0]
	for _, s := range series {
		stale := func(p Point) bool { return value.IsStaleNaN(p.V) }
		if slices.ContainsFunc(s.Points, stale) {
			s.Points = slices.DeleteFunc(slices.Clone(s.Points), stale)
		}
		if len(s.Points) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// match returns the series that match, sorted, with their points of mint to
// maxt, both included.
func (m *Memory) match(mint, maxt int64, matchers []*labels.Matcher) []Series {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []Series
	for _, s := range m.series {
		if !slices.ContainsFunc(matchers, func(lm *labels.Matcher) bool { return !lm.Matches(s.Labels.Get(lm.Name)) }) {
			out = append(out, Series{Labels: s.Labels, Points: between(s.Points, mint, maxt)})
		}
	}
	slices.SortFunc(out, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
	return out
}

// between cuts out the points of mint to maxt, both included.
func between(points []Point, mint, maxt int64) []Point {
	byTime := func(p Point, t int64) int { return cmp.Compare(p.T, t) }
	lo, _ := slices.BinarySearchFunc(points, mint, byTime)
	hi, found := slices.BinarySearchFunc(points, maxt, byTime)
	if found {
		hi++
	}
	return slices.Clip(points[lo:max(lo, hi)])
}

// memoryStorage shows a Memory to the PromQL engine.
type memoryStorage struct{ *Memory }

// Querier implements storage.Queryable.
func (m memoryStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	return &memoryQuerier{memory: m.Memory, mint: mint, maxt: maxt}, nil
}

type memoryQuerier struct {
	memory     *Memory
	mint, maxt int64
}

// Select implements storage.Querier.
func (q *memoryQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return &memorySet{series: q.memory.match(q.mint, q.maxt, matchers), at: -1}
}

// LabelValues implements storage.Querier; the engine never asks for it.
func (q *memoryQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements storage.Querier; the engine never asks for it.
func (q *memoryQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements storage.Querier.
func (q *memoryQuerier) Close() error { return nil }

type memorySet struct {
	series []Series
	at     int
}

func (s *memorySet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *memorySet) Err() error                        { return nil }
func (s *memorySet) Warnings() annotations.Annotations { return nil }
func (s *memorySet) At() storage.Series {
	series := s.series[s.at]
	return &storage.SeriesEntry{Lset: series.Labels, SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
		return storage.NewListSeriesIterator(pointSamples(series.Points))
	}}
}

// pointSamples are points as the storage wants them.
type pointSamples []Point

func (s pointSamples) Get(i int) chunks.Sample { return pointSample{s[i]} }
func (s pointSamples) Len() int                { return len(s) }

type pointSample struct{ p Point }

func (s pointSample) ST() int64                     { return 0 }
func (s pointSample) T() int64                      { return s.p.T }
func (s pointSample) F() float64                    { return s.p.V }
func (s pointSample) H() *histogram.Histogram       { return nil }
func (s pointSample) FH() *histogram.FloatHistogram { return nil }
func (s pointSample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s pointSample) Copy() chunks.Sample           { return s }
