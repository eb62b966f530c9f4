package collector

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A native histogram has no series _count and _bucket, by which gates count. It is
// read as if it had: its buckets are merged, which is exact, until they end at
// edges that every one of the selected histograms has.
const (
	countSuffix  = "_count"
	bucketSuffix = "_bucket"

	// finest is the schema to which finer ones are merged: each edge is 1.41 times
	// the one before. Gates need no finer ones, and count at each.
	finest = 1

	// The edges are the same whatever was observed, so that what a baseline was
	// measured by is still there when nothing slow comes: from 122 microseconds to
	// 64 seconds, or from an eighth of a millisecond to 65 of what counts those.
	leastExponent, greatestExponent = -13, 6
	millisExponents                 = 10 // more, for milliseconds
	millisUnit                      = "_milliseconds"
)

// A nativeSeries is the samples of one native histogram.
type nativeSeries struct {
	labels  labels.Labels
	samples []nativeSample
}

type nativeSample struct {
	t int64
	h *histogram.FloatHistogram
}

// asNative says which native histogram has the selected series as its parts.
func asNative(matchers []*labels.Matcher) (name, suffix string, ok bool) {
	for _, m := range matchers {
		if m.Name != model.MetricNameLabel || m.Type != labels.MatchEqual {
			continue
		}
		for _, suffix := range []string{countSuffix, bucketSuffix} {
			if name, cut := strings.CutSuffix(m.Value, suffix); cut && name != "" {
				return name, suffix, true
			}
		}
	}
	return "", "", false
}

// withNative adds to the selected series those that native histograms would have
// if they were classic. Where a target exposes both, the classic one counts.
func (q querier) withNative(ctx context.Context, reader storage.Querier, classic []Series, matchers []*labels.Matcher) ([]Series, error) {
	name, suffix, ok := asNative(matchers)
	if !ok {
		return classic, nil
	}
	natives, err := selectNative(ctx, reader, name, matchers)
	if err != nil || len(natives) == 0 {
		return classic, err
	}
	known := map[uint64]bool{}
	for _, s := range classic {
		known[partless(s.Labels)] = true
	}
	natives = slices.DeleteFunc(natives, func(n nativeSeries) bool { return known[partless(n.labels)] })
	schema := coarsest(natives)
	for _, n := range natives {
		if suffix == countSuffix {
			classic = append(classic, n.count(name))
		} else {
			classic = append(classic, n.buckets(name, schema)...)
		}
	}
	classic = slices.DeleteFunc(classic, func(s Series) bool {
		return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels.Get(m.Name)) })
	})
	slices.SortFunc(classic, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
	return classic, nil
}

// partless identifies a histogram by its labels.
func partless(l labels.Labels) uint64 {
	hash, _ := l.HashWithoutLabels(nil, model.MetricNameLabel, model.BucketLabel)
	return hash
}

func selectNative(ctx context.Context, reader storage.Querier, name string, matchers []*labels.Matcher) ([]nativeSeries, error) {
	of := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}
	for _, m := range matchers {
		if m.Name != model.MetricNameLabel && m.Name != model.BucketLabel {
			of = append(of, m)
		}
	}
	var found []nativeSeries
	var it chunkenc.Iterator
	set := reader.Select(ctx, false, nil, of...)
	for set.Next() {
		it = set.At().Iterator(it)
		samples, err := histograms(it)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.At().Labels(), err)
		}
		if len(samples) > 0 {
			found = append(found, nativeSeries{set.At().Labels().Copy(), samples})
		}
	}
	return found, set.Err()
}

// histograms are the native histograms that are left in it, no finer than needed,
// without stale markers.
func histograms(it chunkenc.Iterator) ([]nativeSample, error) {
	var samples []nativeSample
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if typ != chunkenc.ValHistogram && typ != chunkenc.ValFloatHistogram {
			continue
		}
		t, h := it.AtFloatHistogram(nil)
		if value.IsStaleNaN(h.Sum) {
			continue
		}
		if !h.UsesCustomBuckets() && h.Schema > finest {
			h = h.CopyToSchema(finest)
		}
		samples = append(samples, nativeSample{t, h})
	}
	return samples, it.Err()
}

// coarsest is the schema that all the histograms can be merged to.
func coarsest(natives []nativeSeries) int32 {
	schema := int32(finest)
	for _, n := range natives {
		for _, s := range n.samples {
			if !s.h.UsesCustomBuckets() {
				schema = min(schema, s.h.Schema)
			}
		}
	}
	return schema
}

// part are the labels of a series that the histogram would have if it were classic.
func (n nativeSeries) part(name, le string) labels.Labels {
	b := labels.NewBuilder(n.labels).Set(model.MetricNameLabel, name)
	if le != "" {
		b.Set(model.BucketLabel, le)
	}
	return b.Labels()
}

func (n nativeSeries) count(name string) Series {
	s := Series{Labels: n.part(name+countSuffix, "")}
	for _, sample := range n.samples {
		s.Points = append(s.Points, Point{T: sample.t, V: sample.h.Count})
	}
	return s
}

// buckets are the cumulative counts at each edge.
func (n nativeSeries) buckets(name string, schema int32) []Series {
	edges := n.edges(name, schema)
	out := make([]Series, len(edges))
	for i, edge := range edges {
		out[i] = Series{Labels: n.part(name+bucketSuffix, labels.FormatOpenMetricsFloat(edge)), Points: make([]Point, 0, len(n.samples))}
	}
	for _, sample := range n.samples {
		h := sample.h
		if !h.UsesCustomBuckets() && h.Schema > schema {
			h = h.CopyToSchema(schema)
		}
		cumulative, below := h.AllBucketIterator(), 0.0
		more := cumulative.Next()
		for i, edge := range edges {
			for more && cumulative.At().Upper <= edge*(1+edgeSlack) {
				below += cumulative.At().Count
				more = cumulative.Next()
			}
			v := below
			if math.IsInf(edge, 1) {
				v = h.Count // NaN observations are in no bucket
			}
			out[i].Points = append(out[i].Points, Point{T: sample.t, V: v})
		}
	}
	return out
}

// edgeSlack is how far two computations of one edge may lie apart.
const edgeSlack = 1e-12

// edges are the upper edges, ascending, +Inf the last. Custom ones are those of the
// newest sample: they change with a process, which counts anew.
func (n nativeSeries) edges(name string, schema int32) []float64 {
	if newest := n.samples[len(n.samples)-1].h; newest.UsesCustomBuckets() {
		return append(slices.Clone(newest.CustomValues), math.Inf(1))
	}
	from, to := leastExponent, greatestExponent
	if strings.HasSuffix(name, millisUnit) {
		from, to = from+millisExponents, to+millisExponents
	}
	step := math.Exp2(-float64(schema)) // of the exponent
	var edges []float64
	for i := math.Ceil(float64(from) / step); i*step <= float64(to); i++ {
		edges = append(edges, math.Exp2(i*step))
	}
	return append(edges, math.Inf(1))
}
