package alerts

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/collector"
)

// queueFailed finds a rollout under which jobs fail in numbers. Nothing is
// compared, so it holds and cannot be made to roll back.
var queueFailed = Gate{
	Name:     "queue_failed",
	Help:     "so many jobs failed since the rollout started, summed over the service's queues",
	Summary:  "Many jobs failed since the rollout started.",
	From:     fromProbes,
	Mode:     Hold,
	Limit:    100,
	MaxLimit: math.MaxFloat64,
	Unit:     "jobs",
	Required: true,
	Applies:  func(s *Service) bool { return len(s.Queues) > 0 },
	Eval:     evalQueueFailed,
	alertQL:  func(g Gate, s *Service) string { return observedQL(g, s) + " >= " + number(g.Limit) },
	drawQL:   observedQL,
}

// failureSources are the series that tell of failed jobs, the better first. A
// queue is counted by the one that tells of the most: a counter stands still
// where workers keep no metrics, what is retained is trimmed.
var failureSources = []struct {
	metric  string
	state   string // the label state, for a metric that has it
	trimmed bool   // it also falls when old jobs are removed: only its rises count
}{
	{metric: "bullmq_job_failed_total"},
	{metric: "asynq_tasks_failed_total"},
	{metric: "bullmq_job_count", state: "failed", trimmed: true},
}

// failures are the failed jobs of a service's queues.
type failures struct {
	series  []collector.Series
	total   float64
	method  []string  // which sources were counted
	trimmed int       // queues of which only the retained failures are known
	over    time.Time // when the total reached the limit; zero if it did not
}

func evalQueueFailed(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	failed, err := countFailures(ctx, gate.Limit, scene)
	if err != nil {
		return Finding{}, err
	}
	ups, err := scene.probed(ctx, scene.underRollout(), probeUp, queueKinds, scene.Service.Queues)
	if err != nil {
		return Finding{}, err
	}
	missing, since, why := queuesMissing(scene, failed.series, ups)
	f := gate.finding(OK)
	f.Limit, f.Observed, f.N = &gate.Limit, &failed.total, failed.total
	f.Since = scene.EvidenceFrom()
	f.Window = short(scene.Now.Sub(f.Since).Truncate(time.Second))
	f.Query = gate.query(scene.Service)
	f.Evidence = &Evidence{Method: "threshold on " + strings.Join(failed.method, " and "), Resolution: failed.resolution()}
	f.observed(times(slices.Concat(failed.series, answered(ups))), scene)
	counted := fmt.Sprintf("%g jobs failed since the rollout started", failed.total)
	switch {
	case !failed.over.IsZero():
		f.State, f.Since = Firing, failed.over
		if scene.warmingUp() {
			f.State = WarmingUp
		}
		f.Message = fmt.Sprintf("%s >= %g", counted, gate.Limit)
	case missing != "":
		f.State, f.Since, f.Message = missing, later(since, f.Since), why
		if len(failed.series) == 0 {
			f.Observed = nil
		}
	default:
		f.Message = fmt.Sprintf("%s < %g", counted, gate.Limit)
	}
	return f, nil
}

// A queueCount is what one source told of one queue.
type queueCount struct {
	source int // of failureSources
	rises  map[int64]float64
}

func (c queueCount) total() float64 {
	total := 0.0
	for _, n := range c.rises {
		total += n
	}
	return total
}

// countFailures sums what the service's queues failed since the rollout started.
func countFailures(ctx context.Context, limit float64, scene Scene) (failures, error) {
	var all failures
	most := map[string]queueCount{}
	read := map[string][]collector.Point{} // when the retained failures of a queue were read
	for i, source := range slices.Backward(failureSources) {
		series, err := readFailures(ctx, scene, source.metric, source.state)
		if err != nil {
			return failures{}, err
		}
		for _, s := range series {
			queue := s.Labels.Get("target") + "/" + s.Labels.Get("queue")
			under := from(scene.EvidenceFrom(), s.Points)
			if len(under) == 0 {
				continue
			}
			c := queueCount{source: i, rises: map[int64]float64{}}
			addRises(c.rises, under, source.trimmed)
			if source.trimmed {
				read[queue] = s.Points
			} else if first := under[0]; first == s.Points[0] && readBefore(read[queue], first.T, scene.Interval) {
				c.rises[first.T] += first.V
			}
			all.series = append(all.series, collector.Series{Labels: s.Labels, Points: under})
			if before, known := most[queue]; !known || c.total() >= before.total() {
				most[queue] = c
			}
		}
	}
	all.add(most, limit)
	return all, nil
}

// readFailures reads a source of failed jobs. What came before the rollout is
// read only to know what is new in it.
func readFailures(ctx context.Context, scene Scene, metric, state string) ([]collector.Series, error) {
	span := scene.underRollout()
	span.From = span.From.Add(-lookback * scene.Interval)
	series, err := scene.probed(ctx, span, metric, nil, scene.Service.Queues)
	return slices.DeleteFunc(series, func(s collector.Series) bool { return s.Labels.Get("state") != state }), err
}

// from leaves out what came before: a value at the very start is a mark to
// count from.
func from(start time.Time, points []collector.Point) []collector.Point {
	i := slices.IndexFunc(points, func(p collector.Point) bool { return p.T >= start.UnixMilli() })
	if i < 0 {
		return nil
	}
	return points[i:]
}

// readBefore says whether a queue was read in the two intervals before: then a
// counter that is new was born with its first failures. A queue that is
// discovered late brings its whole past with it.
func readBefore(points []collector.Point, at int64, interval time.Duration) bool {
	return slices.ContainsFunc(points, func(p collector.Point) bool {
		return p.T < at && p.T >= at-2*interval.Milliseconds()
	})
}

// addRises adds what a series grew by at each sample. Its first value only sets
// the mark.
func addRises(rises map[int64]float64, points []collector.Point, trimmed bool) {
	for i := 1; i < len(points); i++ {
		before, p := points[i-1], points[i]
		switch {
		case p.V >= before.V:
			rises[p.T] += p.V - before.V
		case !trimmed: // a counter that fell began anew
			rises[p.T] += p.V
		}
	}
}

// add sums the queues, and notes what each was counted by.
func (f *failures) add(queues map[string]queueCount, limit float64) {
	rises, used := map[int64]float64{}, make([]int, len(failureSources))
	for _, c := range queues {
		used[c.source]++
		for t, n := range c.rises {
			rises[t] += n
		}
	}
	for i, source := range failureSources {
		if used[i] > 0 {
			f.method = append(f.method, fmt.Sprintf("%s (%d)", source.metric, used[i]))
		}
		if source.trimmed {
			f.trimmed += used[i]
		}
	}
	f.sum(rises, limit)
}

// resolution says what cannot be seen.
func (f *failures) resolution() string {
	if f.trimmed == 0 {
		return ""
	}
	return fmt.Sprintf("of %d queues only the retained failures are known: what is removed in between is missed", f.trimmed)
}

// sum adds up the rises and finds when they reached the limit.
func (f *failures) sum(rises map[int64]float64, limit float64) {
	at := make([]int64, 0, len(rises))
	for t := range rises {
		at = append(at, t)
	}
	slices.Sort(at)
	for _, t := range at {
		if f.total += rises[t]; f.total >= limit && f.over.IsZero() {
			f.over = time.UnixMilli(t)
		}
	}
}

// queuesMissing says whether some of the service's queues cannot be read. A
// target that answers and has no queue yet has no failed jobs either.
func queuesMissing(scene Scene, series, ups []collector.Series) (state State, since time.Time, why string) {
	limit := staleAfter(scene.Interval)
	for _, target := range scene.Service.Queues {
		others := func(s collector.Series) bool { return s.Labels.Get("target") != target }
		own := slices.DeleteFunc(slices.Clone(series), others)
		up := slices.DeleteFunc(slices.Clone(ups), others)
		last, lastUp := newest(own), newest(up)
		switch newest := later(last, lastUp); {
		case newest.IsZero():
			return NoSeries, time.Time{}, "no queue of " + target + " was read since the rollout started"
		case scene.Now.Sub(newest) > limit:
			return Stale, newest.Add(limit), "nothing was read of the queues of " + target + " since " + clock(newest)
		case scene.Now.Sub(lastUp) <= limit && !failingSince(up[0].Points).IsZero():
			return SourceDown, failingSince(up[0].Points), "the queues of " + target + " cannot be read"
		}
	}
	return "", time.Time{}, ""
}

// answered are the readings that went well.
func answered(ups []collector.Series) []collector.Series {
	well := slices.Clone(ups)
	for i, s := range well {
		well[i].Points = slices.DeleteFunc(slices.Clone(s.Points), func(p collector.Point) bool { return p.V == 0 })
	}
	return well
}

// failingSince is the first of the zeros that a series ends with.
func failingSince(points []collector.Point) time.Time {
	i := len(points)
	for i > 0 && points[i-1].V == 0 {
		i--
	}
	if i == len(points) {
		return time.Time{}
	}
	return time.UnixMilli(points[i].T)
}

// observedQL is what rollwatch itself says that a gate observed.
func observedQL(g Gate, s *Service) string {
	return fmt.Sprintf("max(rollwatch_gate_observed{gate=%q,service=%q})", g.Name, s.Name)
}
