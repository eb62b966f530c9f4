package alerts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// What BullMQ's probe reads of the workers of each track.
const (
	trackCompleted = "bullmq_track_jobs_completed_total"
	trackFailed    = "bullmq_track_jobs_failed_total"
	trackWorkers   = "bullmq_queue_track_workers"
	trackLabel     = "track"
)

// queueLabels are the labels in which a worker's counters may name the queue.
var queueLabels = []string{"queue", "queue_name"}

const (
	// mostUnknown is the share of finished jobs of which nobody may know who did them.
	mostUnknown = 0.1
	// mostExcused is the share of what one arm would do if both were alike, that may
	// be unknown: if all of it is that arm's, the other one is still not worse by
	// more than is excused.
	mostExcused = 1 - 1/excusedRisk
	// fewUnknown are too few jobs to prove anything.
	fewUnknown = 5
)

// tellsWorkers says whether anything tells what the workers of two versions do.
func tellsWorkers(s *Service) bool { return countsCompletions(s) || s.WorkerTracks }

// countsCompletions says whether the workers' own counters do.
func countsCompletions(s *Service) bool {
	tracked := len(s.Tracks[canaryTrack]) > 0 && len(s.Tracks[stableTrack]) > 0
	return s.Completions != "" && (tracked || s.VersionLabel != "")
}

// gatherWork reads what the workers of the rollout did from the window, from its
// start to scene.Now.
func gatherWork(ctx context.Context, scene Scene, byPod bool) (Counts, error) {
	span := Span{From: scene.Subject.StartedAt, To: scene.Now}
	r, err := readWork(ctx, scene, span)
	if err != nil {
		return Counts{}, err
	}
	told := r.tell(scene)
	told.byPod = byPod
	counts := r.count(told, span)
	counts.Scope, counts.Why = told.scope, r.why(told, counts)
	counts.WhyFailures = cmp.Or(counts.Why, r.whyFailures(counts))
	counts.Pace = assumedPace
	if pace := scene.Subject.Baseline.Pace; pace != nil {
		counts.Pace = *pace
	}
	return counts, nil
}

// A workRead is everything that tells what the workers of a service do, raw.
type workRead struct {
	interval  time.Duration
	byName    bool               // of BullMQ's workers by their names, not of the workers' own counters
	completed []collector.Series // counters
	failed    []collector.Series
	slots     []collector.Series // gauges of how many jobs an instance takes at once
	ups       []collector.Series
	starts    []collector.Series // of the processes
	counter   *collector.Counter
	prefixed  bool // queues of several targets, which may be named alike
}

// readWork reads the series of the workers in a span, and a little before it.
func readWork(ctx context.Context, scene Scene, span Span) (workRead, error) {
	r := workRead{interval: scene.Interval, byName: !countsCompletions(scene.Service), prefixed: len(scene.Service.Queues) > 1}
	span.From = span.From.Add(-lookback * scene.Interval)
	read := r.readScraped
	if r.byName {
		read = r.readNamed
	}
	if err := read(ctx, scene, span); err != nil {
		return workRead{}, err
	}
	r.counter = collector.NewCounter(scene.Interval)
	r.counter.Observe(r.ups, r.starts, r.completed, r.failed)
	return r, nil
}

// readScraped reads the counters that workers export themselves.
func (r *workRead) readScraped(ctx context.Context, scene Scene, span Span) error {
	s := scene.Service
	var job *labels.Matcher
	for _, part := range []struct {
		into     *[]collector.Series
		selector string
	}{{&r.completed, s.Completions}, {&r.failed, s.Failures}, {&r.slots, s.Concurrency}} {
		if part.selector == "" {
			continue
		}
		matchers, err := s.selector(part.selector, "")
		if err != nil {
			return err
		}
		if job == nil {
			job = matchers[slices.IndexFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.JobLabel })]
		}
		if *part.into, err = scene.Window.Select(ctx, span.From, span.To, matchers...); err != nil {
			return fmt.Errorf("select %s: %w", nameOf(matchers), err)
		}
	}
	var err error
	if r.ups, err = scene.Window.Select(ctx, span.From, span.To, equal(model.MetricNameLabel, scrapeUp), job); err != nil {
		return fmt.Errorf("select %s: %w", scrapeUp, err)
	}
	if r.starts, err = scene.Window.Select(ctx, span.From, span.To, equal(model.MetricNameLabel, processStart), job); err != nil {
		return fmt.Errorf("select %s: %w", processStart, err)
	}
	return nil
}

// readNamed reads what BullMQ's probe knows of workers by their names.
func (r *workRead) readNamed(ctx context.Context, scene Scene, span Span) (err error) {
	for _, part := range []struct {
		into   *[]collector.Series
		metric string
	}{{&r.completed, trackCompleted}, {&r.failed, trackFailed}, {&r.slots, trackWorkers}} {
		if *part.into, err = scene.probed(ctx, span, part.metric, nil, scene.Service.Queues); err != nil {
			return err
		}
	}
	r.ups, err = scene.probed(ctx, span, probeUp, []string{"bullmq"}, scene.Service.Queues)
	return err
}

// tell finds how the workers of the new version are told from those of the old one.
func (r workRead) tell(scene Scene) arms {
	if !r.byName {
		return tell(scene, slices.Concat(r.completed, r.failed))
	}
	if !scene.Subject.judgesCanary() {
		return arms{}
	}
	canary := Labels{trackLabel: canaryTrack}
	return arms{subject: selection{with: canary}, control: Labels{trackLabel: stableTrack}, scope: canary, tracked: true}
}

// before tells those who served before the rollout, by instance, to measure them.
func (r workRead) before(scene Scene) arms {
	told := arms{byPod: true}
	switch s := scene.Service; {
	case r.byName:
		told.subject, told.byPod = selection{with: Labels{trackLabel: stableTrack}}, false
	case len(s.Tracks[stableTrack]) > 0:
		told.subject.with = s.Tracks[stableTrack]
	default:
		told.subject.without = Labels{s.VersionLabel: scene.Subject.Version}
	}
	return told
}

// why explains that there is nothing to compare, where more is known than that.
func (r workRead) why(told arms, counts Counts) string {
	var subject, control bool
	for _, tick := range counts.Ticks {
		subject, control = subject || tick.Subject.Seen, control || tick.Control.Seen
	}
	switch {
	case r.byName && !told.tracked:
		return "workers are told by their names as those of a canary, and this rollout has none"
	case r.byName:
		return r.unknown(counts, r.completed, counts.shareOfSubject(), "completed")
	case control && !subject:
		return "no worker has series with " + told.sought()
	}
	return ""
}

// whyFailures explains that nobody can tell whose the failures are, though
// completions can be told.
func (r workRead) whyFailures(counts Counts) string {
	if !r.byName {
		return ""
	}
	return r.unknown(counts, r.failed, 1-counts.shareOfSubject(), "failed")
}

// unknown says that of too many jobs nobody knows who did them: of all, or of what
// an arm with that share of the workers would do. A version may keep other jobs than
// the one before: without its completions the new one would seem slow, and without
// the failures of the old one it would seem to fail more.
func (r workRead) unknown(counts Counts, series []collector.Series, share float64, how string) string {
	if len(counts.Ticks) == 0 {
		return ""
	}
	var n, of float64
	since := counts.Ticks[0].At.Add(-r.interval)
	for _, s := range series {
		for d := range r.counter.Deltas(s) {
			if d.Begin.Before(since) {
				continue
			}
			if of += d.N; s.Labels.Get(trackLabel) == "" {
				n += d.N
			}
		}
	}
	most := mostUnknown
	if share > 0 {
		most = min(most, mostExcused*share)
	}
	if n < fewUnknown || n <= most*of {
		return ""
	}
	return fmt.Sprintf("of %.0f of %.0f %s jobs nobody knows who did them: they are removed as soon as they are done", n, of, how)
}

// shareOfSubject is the part of the workers' time that is the subject's, 0 where
// nobody was there.
func (c Counts) shareOfSubject() float64 {
	var subject, all float64
	for _, tick := range c.Ticks {
		seconds := tick.Subject.work().Seconds
		subject, all = subject+seconds, all+seconds+tick.Control.work().Seconds
	}
	return subject / max(all, 1)
}

// queueOf names the queue that a series is of.
func (r workRead) queueOf(l labels.Labels) string {
	for _, label := range queueLabels {
		if queue := l.Get(label); queue != "" {
			if r.byName && r.prefixed {
				return l.Get("target") + "/" + queue
			}
			return queue
		}
	}
	return ""
}

// count sums what was done in the span, tick by tick, arm by arm, queue by queue.
func (r workRead) count(told arms, span Span) Counts {
	t := newTicker(span, r.counter, r.interval)
	t.meet(r.completed, r.failed, r.slots, r.ups)
	s := sheet{read: r, told: told, ticker: t, worked: map[station]map[int64]float64{}}
	for _, series := range slices.Concat(r.completed, r.failed) {
		s.attend(series)
	}
	s.attendIdle()
	queues := map[string]bool{}
	for station := range s.worked {
		queues[station.queue] = true
	}
	s.queues = slices.Sorted(maps.Keys(queues))
	for _, series := range r.completed {
		s.finished(series, func(w *Work, n float64) { w.Completed += n })
	}
	for _, series := range r.failed {
		s.finished(series, func(w *Work, n float64) { w.Failed += n })
	}
	s.exposed()
	for _, up := range r.ups {
		if r.byName || told.scrapes(up.Labels) {
			t.source(up)
		}
	}
	return Counts{Ticks: t.finish(), Queues: s.queues}
}
