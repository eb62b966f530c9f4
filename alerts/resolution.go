package alerts

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
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

// MissedOnPage says what the configuration names of the service's requests and a
// metrics page does not show; nothing of a service that is not judged by requests,
// or by those of another job.
func MissedOnPage(s *Service, page []collector.Series) []string {
	if !hasMetrics(s) {
		return nil
	}
	wanted, err := s.requestSeries()
	m, err2 := s.meter()
	if err != nil || err2 != nil {
		return nil
	}
	name := "requests"
	for _, lm := range wanted {
		switch {
		case lm.Name == model.JobLabel && !lm.Matches(s.Name):
			return nil
		case lm.Name == model.MetricNameLabel:
			name = lm.Value
		}
	}
	requests := slices.DeleteFunc(slices.Clone(page), func(series collector.Series) bool {
		return slices.ContainsFunc(wanted, func(lm *labels.Matcher) bool { return !lm.Matches(series.Labels.Get(lm.Name)) })
	})
	if len(requests) == 0 {
		return []string{fmt.Sprintf("requests: no series %s is there (before the first request that may be so)", name)}
	}
	has := func(label string) bool {
		return slices.ContainsFunc(requests, func(series collector.Series) bool { return series.Labels.Has(label) })
	}
	var missed []string
	if len(m.status) > 0 && !slices.ContainsFunc(m.status, has) {
		missed = append(missed, fmt.Sprintf("status: %s has none of the labels %s, so no error would be seen", name, strings.Join(m.status, ", ")))
	}
	for _, label := range append([]string{s.VersionLabel}, s.tenantLabels()...) {
		if label == "" || has(label) {
			continue
		}
		key := "tenant_label"
		if label == s.VersionLabel {
			key = "version_label"
		}
		missed = append(missed, fmt.Sprintf("%s: %s has no label %q", key, name, label))
	}
	return missed
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
