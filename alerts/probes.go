package alerts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// ProbeJob is the job under which the window keeps what probes read.
const ProbeJob = "rollwatch"

// The series that say whether a probe reached its target, and whether a scrape did.
const (
	probeUp  = "rollwatch_probe_up"
	scrapeUp = "up"
)

// queueKinds are the kinds of probes that read queues.
var queueKinds = []string{"bullmq", "asynq"}

// probed selects what probes read of a metric from these targets.
func (s Scene) probed(ctx context.Context, span Span, metric string, kinds, targets []string) ([]collector.Series, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	matchers := []*labels.Matcher{
		equal(model.MetricNameLabel, metric), equal("job", ProbeJob), oneOf("target", targets),
	}
	if len(kinds) > 0 {
		matchers = append(matchers, oneOf("kind", kinds))
	}
	series, err := s.Window.Select(ctx, span.From, span.To, matchers...)
	if err != nil {
		return nil, fmt.Errorf("select %s: %w", metric, err)
	}
	return series, nil
}

// dependencyDown names a dependency of the service that did not answer when
// the evidence began, "" when all did.
func dependencyDown(ctx context.Context, scene Scene, began time.Time) (string, error) {
	// Its probe may find out no sooner than at its deadline, after the requests
	// that failed with it.
	around := Span{From: began.Add(-scene.Interval), To: began.Add(2 * scene.Interval)}
	series, err := scene.dependencies(ctx, around)
	if err != nil {
		return "", err
	}
	for _, s := range series {
		if downAt(s.Points, began) {
			return dependencyName(s), nil
		}
	}
	return "", nil
}

// dependencies selects whether the service's dependencies answered.
func (s Scene) dependencies(ctx context.Context, span Span) ([]collector.Series, error) {
	databases, err := s.probed(ctx, span, probeUp, []string{"postgres"}, s.Service.Databases)
	if err != nil {
		return nil, err
	}
	queues, err := s.probed(ctx, span, probeUp, queueKinds, s.Service.Queues)
	return append(databases, queues...), err
}

func dependencyName(s collector.Series) string {
	return s.Labels.Get("kind") + ":" + s.Labels.Get("target")
}

// downMeanwhile names a dependency of the service but for whose outage the gate would
// not fire: a stray error before it is no beginning.
func (g Gate) downMeanwhile(ctx context.Context, counts Counts, scene Scene) (string, error) {
	window := scene.window(g.For)
	series, err := scene.dependencies(ctx, Span{From: window.From.Add(-scene.Interval), To: window.To})
	if err != nil {
		return "", err
	}
	signal := g.Count(g, counts, scene)
	for _, s := range series {
		rest, left := counts.whileUp(s.Points, window, scene.Interval)
		if a := g.weigh(signal, rest, scene); left && !g.proves(a.Window, a.Base.Value, signal.Frozen) {
			return dependencyName(s), nil
		}
	}
	return "", nil
}

// whileUp leaves out the ticks in which a dependency did not answer, and whether there
// are any. Its probe finds out after the requests that failed with it, and they may be
// counted a scrape later.
func (c Counts) whileUp(points []collector.Point, window Span, interval time.Duration) (rest Counts, left bool) {
	rest = c
	rest.Ticks = slices.DeleteFunc(slices.Clone(c.between(window.From, window.To)), func(tick Tick) bool {
		return slices.ContainsFunc(points, func(p collector.Point) bool {
			at := time.UnixMilli(p.T)
			return p.V == 0 && tick.At.After(at.Add(-2*interval)) && !tick.At.After(at.Add(interval))
		})
	})
	return rest, len(rest.Ticks) < len(c.between(window.From, window.To))
}

// downAt says whether one of the readings up to a time, or the first after it, is
// that nothing answers.
func downAt(points []collector.Point, at time.Time) bool {
	for _, p := range points {
		if p.V == 0 {
			return true
		}
		if p.T > at.UnixMilli() {
			return false
		}
	}
	return false
}

// newest is the time of the newest sample of any of the series, zero without one.
func newest(series []collector.Series) time.Time {
	var t time.Time
	for _, s := range series {
		if n := len(s.Points); n > 0 {
			t = later(t, time.UnixMilli(s.Points[n-1].T))
		}
	}
	return t
}

// times are the moments at which any of the series has a sample, ascending.
func times(series []collector.Series) []time.Time {
	n := 0
	for _, s := range series {
		n += len(s.Points)
	}
	all := make([]int64, 0, n)
	for _, s := range series {
		known := len(all)
		for i, p := range s.Points {
			if i >= known || all[i] != p.T { // series that are read together have the same times
				all = append(all, p.T)
			}
		}
	}
	return moments(all)
}

// moments sorts Unix milliseconds and leaves out what is there twice.
func moments(millis []int64) []time.Time {
	slices.Sort(millis)
	millis = slices.Compact(millis)
	at := make([]time.Time, len(millis))
	for i, t := range millis {
		at[i] = time.UnixMilli(t)
	}
	return at
}
