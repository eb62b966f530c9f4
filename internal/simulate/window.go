package simulate

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
)

const (
	serviceName  = "api"
	databaseName = "main"
	queueName    = "jobs"
	featureName  = "login"
	versionLabel = "version"
	trackLabel   = "track"
	oldVersion   = "1"
	newVersion   = "2"
	ticksBefore  = int(time.Hour / interval)
)

// A line is one series: its value at a tick, counted from the start of the
// rollout, if it has one. Ticks before the rollout are not positive.
type line struct {
	labels labels.Labels
	value  func(tick int) (float64, bool)
	keeps  bool              // what was shown once
	points []collector.Point // that are kept
	next   int               // of the ticks, from the first of all on, the first that is not among them
}

// A window shows what the probes of a world read, and whether its scrapes went
// well. The points are made when a gate reads them; only of the many series of requests
// they are kept.
type window struct {
	lines    []line
	requests func() []line // more of them, that are made when they are first asked for; nil: none
	counted  []line
}

// between are the points of the line with from < T <= to. Nobody asks for what is not
// drawn yet.
func (l *line) between(from, to time.Time) []collector.Point {
	first, end := max(-ticksBefore, int(from.Sub(begun)/interval)-1), int(to.Sub(begun)/interval)
	if l.keeps {
		first = l.next - ticksBefore
	}
	var points []collector.Point
	for tick := first; tick <= end; tick++ {
		if v, ok := l.value(tick); ok {
			points = append(points, collector.Point{T: begun.Add(time.Duration(tick) * interval).UnixMilli(), V: v})
		}
	}
	if l.keeps {
		l.points, l.next = append(l.points, points...), max(l.next, end+1+ticksBefore)
		points = l.points
	}
	after := func(t time.Time) int {
		at, _ := slices.BinarySearchFunc(points, t.UnixMilli()+1, func(p collector.Point, ms int64) int { return cmp.Compare(p.T, ms) })
		return at
	}
	low, high := after(from), after(to)
	return points[low:max(low, high):max(low, high)]
}

// Select implements collector.Window.
func (w *window) Select(_ context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]collector.Series, error) {
	var out []collector.Series
	lines := w.asked(matchers)
	for i := range lines {
		l := &lines[i]
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(l.labels.Get(m.Name)) }) {
			continue
		}
		if points := l.between(from, to); len(points) > 0 {
			out = append(out, collector.Series{Labels: l.labels, Points: points})
		}
	}
	slices.SortFunc(out, func(a, b collector.Series) int { return labels.Compare(a.Labels, b.Labels) })
	return out, nil
}

// asked are the lines among which those are that the matchers ask for.
func (w *window) asked(matchers []*labels.Matcher) []line {
	if w.requests == nil || !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
		return m.Name == model.MetricNameLabel && strings.HasPrefix(m.Value, requestPrefix)
	}) {
		return w.lines
	}
	if w.counted == nil {
		w.counted = w.requests()
	}
	return w.counted
}

// Query implements collector.Window. No built-in gate asks in PromQL.
func (*window) Query(context.Context, string, time.Time, time.Time, time.Duration) (promql.Matrix, error) {
	return nil, errors.New("a simulated window answers no PromQL")
}

// windowOf is the window of a world, which shows what happened up to now.
func windowOf(w *world) *window {
	win := &window{lines: w.scrapes()}
	win.add(w.probe("rollwatch_probe_up", "postgres", databaseName), w.shown(func(m *moment) float64 { return truth(!m.weather.probes.databaseDown) }, 1))
	if w.scenario.Probes {
		win.lines = append(win.lines, w.probed()...)
	}
	if w.scenario.Parts != nil { // else nobody asks for more than the counts tell
		win.requests = func() []line { return append(w.requests(), w.stable()...) }
	}
	return win
}

func (w *window) add(l labels.Labels, value func(int) (float64, bool)) {
	w.lines = append(w.lines, line{labels: l, value: value})
}

// shown is what a function says of the moments there were, and something else
// before the rollout.
func (w *world) shown(of func(*moment) float64, before float64) func(int) (float64, bool) {
	return func(tick int) (float64, bool) {
		switch {
		case tick > len(w.ticks):
			return 0, false
		case tick <= 0:
			return before, true
		default:
			return of(&w.ticks[tick-1]), true
		}
	}
}

// probe are the labels of a series that a probe reads; what follows are names and values.
func (*world) probe(metric, kind, target string, more ...string) labels.Labels {
	pairs := append([]string{model.MetricNameLabel, metric, "job", alerts.ProbeJob, "target", target}, more...)
	if kind != "" {
		pairs = append(pairs, "kind", kind)
	}
	return labels.FromStrings(pairs...)
}

// scrapes say of each instance whether its scrape went well. Only where one of
// them differs are the new version's told apart.
func (w *world) scrapes() []line {
	up := func(oddOne bool) func(int) (float64, bool) {
		return func(tick int) (float64, bool) {
			if tick <= 0 || tick > len(w.ticks) || w.ticks[tick-1].source == alerts.SourceUnknown {
				return 0, false
			}
			m := &w.ticks[tick-1]
			return truth(m.source == alerts.SourceUp && !(oddOne && m.weather.probes.oddDown)), true
		}
	}
	var lines []line
	pods := canaryPods
	if w.rollout.Strategy != alerts.Canary {
		pods = fleetPods
	}
	for i := range pods {
		lines = append(lines, line{labels: w.instance("up", podName(i), true), value: up(i == 0)})
	}
	return append(lines, line{labels: w.instance("up", oldAddress, false), value: func(tick int) (float64, bool) {
		if tick > 0 && tick <= len(w.ticks) && w.share(time.Duration(tick)*interval) == 1 && w.rollout.Strategy != alerts.Canary {
			return 0, false
		}
		return w.shown(func(m *moment) float64 { return truth(m.source == alerts.SourceUp) }, 1)(tick)
	}})
}

// instance are the labels of a series of the service's own.
func (w *world) instance(metric, address string, isNew bool, more ...string) labels.Labels {
	pairs := append([]string{model.MetricNameLabel, metric, "job", serviceName, model.InstanceLabel, address}, more...)
	if w.rollout.Strategy == alerts.Canary {
		track := "stable"
		if isNew {
			track = "canary"
		}
		return labels.FromStrings(append(pairs, trackLabel, track)...)
	}
	if metric == "up" {
		return labels.FromStrings(pairs...)
	}
	version := oldVersion
	if isNew {
		version = newVersion
	}
	return labels.FromStrings(append(pairs, versionLabel, version)...)
}

// probed are the series of the queue, of the invariants and of the feature.
func (w *world) probed() []line {
	const tenants = 200
	read := func(l labels.Labels, of func(*moment) float64, before float64) line {
		return line{labels: l, value: w.shown(of, before)}
	}
	target := feature.TargetName(serviceName, featureName)
	queue := func(metric string, more ...string) labels.Labels {
		return w.probe(metric, "", queueName, append(more, "queue", "mail")...)
	}
	lines := []line{
		read(w.probe("pg_invariant_violations", "", databaseName, "invariant", "rows_across_tenants"), func(m *moment) float64 { return m.weather.probes.violations }, 0),
		read(w.probe("rollwatch_probe_up", "bullmq", queueName), func(*moment) float64 { return 1 }, 1),
		read(queue("bullmq_job_count", "state", "waiting"), func(m *moment) float64 { return m.weather.probes.waiting }, 0),
		read(queue("bullmq_queue_workers"), func(*moment) float64 { return 4 }, 4),
		read(w.probe(feature.TenantsMetric, "", target, "state", "works"), func(m *moment) float64 { return tenants - float64(m.weather.probes.broken) }, tenants),
		read(w.probe(feature.TenantsMetric, "", target, "state", "broken"), func(m *moment) float64 { return float64(m.weather.probes.broken) }, 0),
		{labels: queue("bullmq_job_completed_total"), value: w.total(func(m *moment) float64 { return m.jobs }, w.jobs())},
		{labels: queue("bullmq_job_failed_total"), value: w.total(func(m *moment) float64 { return m.failures }, 0)},
	}
	for metric, of := range map[string]func(*moment) float64{
		feature.FailuresMetric:    func(m *moment) float64 { return m.weather.probes.tries },
		feature.FailingMetric:     func(*moment) float64 { return float64(begun.Add(w.scenario.Onset + interval).Unix()) },
		feature.LastSuccessMetric: func(*moment) float64 { return float64(begun.Add(w.scenario.Onset).Unix()) },
	} {
		lines = append(lines, line{labels: w.probe(metric, "", target, "tenant", "globex"), value: w.whileBroken(of)})
	}
	return lines
}

// jobs are how many end a second while all is well.
func (w *world) jobs() float64 {
	if w.scenario.Workers {
		return w.rps
	}
	return usualJobs
}

// whileBroken shows a series of a tenant only while the feature fails for it.
func (w *world) whileBroken(of func(*moment) float64) func(int) (float64, bool) {
	return func(tick int) (float64, bool) {
		if tick <= 0 || tick > len(w.ticks) || w.ticks[tick-1].weather.probes.broken == 0 {
			return 0, false
		}
		return of(&w.ticks[tick-1]), true
	}
}

// total is a counter of what happens in each tick, that rose steadily before.
func (w *world) total(of func(*moment) float64, perSecond float64) func(int) (float64, bool) {
	var sums []float64
	return func(tick int) (float64, bool) {
		base := math.Round(perSecond * interval.Seconds() * float64(ticksBefore+min(tick, 0)))
		if tick <= 0 {
			return base, true
		}
		if tick > len(w.ticks) {
			return 0, false
		}
		for i := len(sums); i < len(w.ticks); i++ {
			sum := of(&w.ticks[i])
			if i > 0 {
				sum += sums[i-1]
			}
			sums = append(sums, sum)
		}
		return base + sums[tick-1], true
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func figure(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
