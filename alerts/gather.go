package alerts

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// lookback is how many intervals before a stretch are read besides, to know
// what is new in it.
const lookback = 4

// gather reads the counts of the rollout from the window, from its start to
// scene.Now, where it is asked for by instance besides: that is costly where there
// are many, and only needed when a gate fires.
func gather(ctx context.Context, scene Scene, byPod bool) (Counts, error) {
	fold := &countFold{}
	if scene.Kept != nil && !byPod {
		fold = &scene.Kept.counts
	}
	return fold.gather(ctx, scene, byPod)
}

// gathered is what was read under a rollout. It may be counted in several ways.
type gathered struct {
	read
	span Span
	told arms
}

// readRollout reads the rollout whole.
func readRollout(ctx context.Context, scene Scene) (gathered, error) {
	span := Span{From: scene.Subject.StartedAt, To: scene.Now}
	read, err := readSeries(ctx, scene, span)
	if err != nil {
		return gathered{}, err
	}
	return gathered{read: read, span: span, told: tell(scene, read.requests)}, nil
}

// counts are the counts as the arms tell them.
func (g gathered) counts(told arms) Counts {
	counts := g.count(told, g.span)
	counts.Scope = told.scope
	counts.Why = g.why(told)
	return counts
}

// sums adds up in a span what each arm counted, by what key says of a series.
func (r read) sums(told arms, edges []float64, span Span, key func(labels.Labels) string) map[string]*twoArms {
	sums := map[string]*twoArms{}
	gathered{read: r, told: told}.eachDelta(edges, span, func(at place, l labels.Labels, _ time.Time, count func(*Tally)) {
		name := key(l)
		if sums[name] == nil {
			sums[name] = &twoArms{}
		}
		count(sums[name].arm(at))
	})
	return sums
}

// eachDelta visits the differences that lie wholly within the span.
func (g gathered) eachDelta(edges []float64, span Span, visit func(at place, l labels.Labels, when time.Time, count func(*Tally))) {
	g.each(edges, func(s collector.Series, count func(*Tally, float64)) {
		at := g.told.place(s.Labels)
		if !at.subject && !at.control {
			return
		}
		for d := range g.counter.Deltas(s) {
			if d.N > 0 && !d.Begin.Before(span.From) && !d.At.After(span.To) {
				visit(at, s.Labels, d.At, func(t *Tally) { count(t, d.N) })
			}
		}
	})
}

// twoArms are the tallies of both.
type twoArms struct{ subject, control Tally }

func (t *twoArms) arm(at place) *Tally {
	if at.subject {
		return &t.subject
	}
	return &t.control
}

// tellArms finds how new is told from old now.
func tellArms(ctx context.Context, scene Scene) (arms, error) {
	from := scene.Subject.StartedAt
	if told := tell(scene, nil); told.tracked {
		if scene.Service.VersionLabel == "" {
			return told, nil // what there is to read makes no difference
		}
		from = later(from, scene.Now.Add(-staleAfter(scene.Interval))) // only who serves what now does
	}
	var counters [][]*labels.Matcher
	if hasMetrics(scene.Service) {
		m, err := scene.Service.meter()
		if err != nil {
			return arms{}, err
		}
		counters = append(counters, m.requests)
	}
	if scene.Service.Completions != "" {
		completions, err := scene.Service.selector(scene.Service.Completions, "")
		if err != nil {
			return arms{}, err
		}
		counters = append(counters, completions)
	}
	var all []collector.Series
	for _, matchers := range counters {
		series, err := scene.Window.Select(ctx, from, scene.Now, matchers...)
		if err != nil {
			return arms{}, fmt.Errorf("select %s: %w", nameOf(matchers), err)
		}
		all = append(all, series...)
	}
	return tell(scene, all), nil
}

// read is everything of a service that is counted, raw.
type read struct {
	meter     meter
	interval  time.Duration
	requests  []collector.Series
	unlabeled bool // there were requests without a status
	errors    []collector.Series
	buckets   []collector.Series
	ups       []collector.Series
	starts    []collector.Series
	counter   *collector.Counter
}

// readSeries reads what is counted in a span, on its own.
func readSeries(ctx context.Context, scene Scene, span Span) (read, error) {
	m, err := scene.Service.meter()
	if err != nil {
		return read{}, err
	}
	span.From = span.From.Add(-lookback * scene.Interval)
	return readStretch(ctx, scene, m, span, collector.NewCounter(scene.Interval))
}

// readStretch reads what a meter knows of a stretch of time and has the counter
// observe it.
func readStretch(ctx context.Context, scene Scene, m meter, span Span, counter *collector.Counter) (read, error) {
	r, err := readRaw(ctx, scene, m, span)
	r.counter = counter
	if err == nil {
		counter.Observe(r.ups, r.starts, r.requests, r.errors, r.buckets)
	}
	return r, err
}

// readRaw reads what a meter knows of a stretch of time.
func readRaw(ctx context.Context, scene Scene, m meter, span Span) (read, error) {
	r := read{meter: m, interval: scene.Interval}
	job := equal("job", scene.Service.Name)
	for _, part := range []struct {
		into     *[]collector.Series
		matchers []*labels.Matcher
	}{
		{&r.requests, m.requests}, {&r.errors, m.errors}, {&r.buckets, m.buckets},
		{&r.ups, []*labels.Matcher{equal(model.MetricNameLabel, scrapeUp), job}},
		{&r.starts, []*labels.Matcher{equal(model.MetricNameLabel, processStart), job}},
	} {
		if len(part.matchers) == 0 {
			continue
		}
		var err error
		if *part.into, err = scene.Window.Select(ctx, span.From, span.To, part.matchers...); err != nil {
			return read{}, fmt.Errorf("select %s: %w", nameOf(part.matchers), err)
		}
	}
	r.dropUnlabeled()
	return r, nil
}

// dropUnlabeled leaves out requests whose status no label tells: they would
// read as requests without errors.
func (r *read) dropUnlabeled() {
	if len(r.meter.status) == 0 {
		return
	}
	before := len(r.requests)
	r.requests = slices.DeleteFunc(r.requests, func(s collector.Series) bool { return r.meter.statusOf(s.Labels) == "" })
	r.unlabeled = len(r.requests) < before
}

// statusOf is the status that a series of requests counts, "" when no label tells.
func (m meter) statusOf(l labels.Labels) string {
	for _, label := range m.status {
		if status := l.Get(label); status != "" {
			return status
		}
	}
	return ""
}

// isError says whether a series counts requests that the service failed.
func (m meter) isError(l labels.Labels) bool {
	return slices.ContainsFunc(m.status, func(label string) bool { return serverError.Matches(l.Get(label)) })
}

// why explains that there is nothing to count, where more is known than that.
func (r read) why(told arms) string {
	switch name := nameOf(r.meter.requests); {
	case len(r.requests) == 0 && r.unlabeled:
		return fmt.Sprintf("%s has none of the labels %s, so that errors cannot be told", name, strings.Join(r.meter.status, ", "))
	case len(r.requests) == 0:
		return ""
	case !slices.ContainsFunc(r.requests, func(s collector.Series) bool { return told.isSubject(s.Labels) }):
		return fmt.Sprintf("%s has no series with %s", name, told.sought())
	default:
		return ""
	}
}

// count sums the differences in the span, tick by tick, arm by arm.
func (r read) count(told arms, span Span) Counts {
	t := newTicker(span, r.counter, r.interval)
	t.meet(r.requests, r.ups)
	edges := r.edges(told)
	r.countInto(t, told, edges)
	r.sources(t, told)
	return Counts{Ticks: t.finish(), Edges: edges}
}

// sources notes of each tick whether the scrapes of what is judged went well.
func (r read) sources(t *ticker, told arms) {
	for _, up := range r.ups {
		if told.scrapes(up.Labels) {
			t.source(up)
		}
	}
}

// countInto adds the differences to a ticker that has met the requests.
func (r read) countInto(t *ticker, told arms, edges []float64) {
	for _, s := range r.requests {
		t.see(s, told)
	}
	r.each(edges, func(s collector.Series, count func(*Tally, float64)) { t.add(s, told, count) })
}

// each visits every series that is counted, and says what its differences count.
func (r read) each(edges []float64, visit func(s collector.Series, count func(*Tally, float64))) {
	for _, s := range r.requests {
		failed := r.meter.isError(s.Labels)
		visit(s, func(tally *Tally, n float64) {
			tally.Requests += n
			if failed {
				tally.Errors += n
			}
		})
	}
	for _, s := range r.errors {
		visit(s, func(tally *Tally, n float64) { tally.Errors += n })
	}
	for _, s := range r.buckets {
		edge := r.meter.edge(s.Labels)
		i, known := slices.BinarySearch(edges, edge)
		switch {
		case math.IsInf(edge, 1):
			visit(s, func(tally *Tally, n float64) {
				tally.Timed += n
				tally.slower(len(edges), func(slower []float64) {
					for j := range slower {
						slower[j] += n
					}
				})
			})
		case known:
			visit(s, func(tally *Tally, n float64) {
				tally.slower(len(edges), func(slower []float64) { slower[i] -= n })
			})
		}
	}
}

// slower changes the slow requests of a tally.
func (t *Tally) slower(edges int, change func([]float64)) {
	if t.Slower == nil {
		t.Slower = make([]float64, edges)
	}
	change(t.Slower)
}

// edge is the upper edge of a bucket series in seconds, NaN if it has none.
func (m meter) edge(l labels.Labels) float64 {
	edge, err := strconv.ParseFloat(l.Get(model.BucketLabel), 64)
	if err != nil {
		return math.NaN()
	}
	if m.millis {
		edge /= 1000
	}
	return edge
}

// edges are the bucket edges that every histogram of both arms has: requests
// are slower than an edge only where the histogram has it.
func (r read) edges(told arms) []float64 {
	having, histograms := map[float64]int{}, 0
	for _, s := range r.buckets {
		if !told.isSubject(s.Labels) && !told.isControl(s.Labels) {
			continue
		}
		edge := r.meter.edge(s.Labels)
		if math.IsInf(edge, 1) {
			histograms++
		} else if !math.IsNaN(edge) {
			having[edge]++
		}
	}
	var edges []float64
	for edge, n := range having {
		if n == histograms {
			edges = append(edges, edge)
		}
	}
	slices.Sort(edges)
	return edges
}

// processStart tells when a process began to count.
const processStart = "process_start_time_seconds"

// A place is where a series is counted: in an arm, and in its instance where
// that is asked for.
type place struct {
	subject, control bool
	pod              string
}

func (a arms) place(l labels.Labels) place {
	if len(a.without) > 0 && a.without.match(l) {
		return place{}
	}
	p := place{subject: a.isSubject(l)}
	p.control = !p.subject && a.isControl(l)
	if p.subject && a.byPod {
		p.pod = l.Get(model.InstanceLabel)
	}
	return p
}

// change changes the tallies of a place.
func (tick *Tick) change(at place, change func(*Tally)) {
	if at.subject {
		change(&tick.Subject)
	}
	if at.control {
		change(&tick.Control)
	}
	if at.pod != "" {
		if tick.Pods == nil {
			tick.Pods = map[string]Tally{}
		}
		pod := tick.Pods[at.pod]
		change(&pod)
		tick.Pods[at.pod] = pod
	}
}
