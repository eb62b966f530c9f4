package alerts

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// tellingRequests is how many durations tell where a service's p99 is.
const tellingRequests = 100

// CheckBuckets says what the buckets of scene.Service cannot resolve for the gate
// latency_p99, as far as its newest scrapes tell, and which edge would; "" when
// they will do. It is not known before some requests were timed. Only
// scene.Window, Service, Now and Interval are looked at.
func CheckBuckets(ctx context.Context, gates []Gate, scene Scene) (advice string, known bool, err error) {
	if !judgesLatency(gates) {
		return "", true, nil
	}
	m, err := scene.Service.meter()
	if err != nil {
		return "", false, err
	}
	buckets, err := scene.Window.Select(ctx, scene.Now.Add(-staleAfter(scene.Interval)), scene.Now, m.buckets...)
	if err != nil {
		return "", false, fmt.Errorf("select the buckets of %s: %w", scene.Service.Name, err)
	}
	advice, known = resolution(gates, m, buckets)
	return advice, known, nil
}

// CheckPage is CheckBuckets for the series of one metrics page, whose labels are
// as the window would have them.
func CheckPage(gates []Gate, s *Service, page []collector.Series) (advice string, known bool) {
	m, err := s.meter()
	if err != nil || !judgesLatency(gates) {
		return "", false
	}
	buckets := slices.DeleteFunc(slices.Clone(page), func(series collector.Series) bool {
		return slices.ContainsFunc(m.buckets, func(lm *labels.Matcher) bool { return !lm.Matches(series.Labels.Get(lm.Name)) })
	})
	return resolution(gates, m, buckets)
}

func judgesLatency(gates []Gate) bool {
	return slices.ContainsFunc(gates, func(g Gate) bool { return g.Name == latencyP99.Name })
}

// resolution weighs the newest values of buckets: what was timed since each
// process started.
func resolution(gates []Gate, m meter, buckets []collector.Series) (advice string, known bool) {
	r := read{meter: m, buckets: buckets}
	b := Baseline{Edges: r.edges(arms{})}
	b.Buckets = make([]float64, len(b.Edges))
	for _, s := range buckets {
		newest := s.Points[len(s.Points)-1].V
		switch edge := m.edge(s.Labels); {
		case math.IsInf(edge, 1):
			b.Timed += newest
		default:
			if i, ok := slices.BinarySearch(b.Edges, edge); ok {
				b.Buckets[i] += newest
			}
		}
	}
	if b.Timed < tellingRequests || len(b.Edges) == 0 {
		return "", false
	}
	for _, g := range gates {
		if g.Name == latencyP99.Name {
			b.resolve(g.Factor, m.millis)
		}
	}
	return b.Unresolved, true
}
