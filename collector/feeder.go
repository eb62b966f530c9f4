package collector

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Job is the label job of everything that probes have read. No service may
// have this name.
const Job = "rollwatch"

// A Feeder records the newest snapshot in the window, tick by tick: all series
// of all targets together, at times that are multiples of the interval.
type Feeder struct {
	source   Snapshot
	own      func(now time.Time) []probe.Sample
	window   *Store
	interval time.Duration
	log      *zap.Logger
	live     map[string]*fed // the series of the tick before, by labels
	failing  bool
}

// fed is one series of the window.
type fed struct {
	labels labels.Labels
	ref    storage.SeriesRef // makes appending cheap; 0 when unknown
}

// NewFeeder makes a feeder of the window. Besides what was read of targets it records
// what own says at each tick of rollwatch itself, without a label target; nil: nothing.
func NewFeeder(source Snapshot, own func(now time.Time) []probe.Sample, window *Store, interval time.Duration, log *zap.Logger) *Feeder {
	return &Feeder{source: source, own: own, window: window, interval: interval, log: log, live: map[string]*fed{}}
}

// Run feeds the window until ctx ends. A window that does not take samples is
// said once, in the log and by Store.Degraded, and tried again at every tick.
func (f *Feeder) Run(ctx context.Context) error {
	now := time.Now()
	if err := f.resume(ctx, now); err != nil {
		if ctx.Err() != nil {
			return nil // it was told to end before it had begun
		}
		return err
	}
	tick := time.NewTimer(f.untilNext(now))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := time.Now()
			f.report(f.feed(ctx, now.Truncate(f.interval), now))
			tick.Reset(f.untilNext(time.Now()))
		}
	}
}

func (f *Feeder) untilNext(now time.Time) time.Duration {
	return now.Truncate(f.interval).Add(f.interval).Sub(now)
}

// resume finds the series that were live when the daemon went down, so that
// those which are gone since get their end too.
func (f *Feeder) resume(ctx context.Context, now time.Time) error {
	ours := labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, Job)
	series, err := f.window.Select(ctx, now.Add(-resumeWithin), now, ours)
	if err != nil {
		return fmt.Errorf("resume feeding the window: %w", err)
	}
	for _, s := range series {
		f.live[s.Labels.String()] = &fed{labels: s.Labels}
	}
	return nil
}

// resumeWithin is how far PromQL looks back for a series without an end.
const resumeWithin = 5 * time.Minute

// report logs the first failure of several, and the recovery.
func (f *Feeder) report(err error) {
	switch {
	case err != nil && !f.failing:
		f.log.Error("what is read is not recorded, and gates go without it", zap.Error(err))
	case err == nil && f.failing:
		f.log.Info("what is read is recorded again")
	}
	f.failing = err != nil
}

// feed appends everything that is known at now as the tick at. A sample that
// the window refuses does not keep out the others.
func (f *Feeder) feed(ctx context.Context, at, now time.Time) error {
	app := f.window.AppenderV2(ctx)
	live := make(map[string]*fed, len(f.live))
	var refused error
	add := func(s *fed, v float64) {
		if err := s.append(app, at, v); err != nil {
			refused = cmp.Or(refused, err) // the first tells as much as all of them
		}
	}
	for sample, target := range f.known(now) {
		for part := range partsOf(sample) {
			lset := feedLabels(sample, part, target)
			key := lset.String()
			if live[key] != nil {
				continue // of another target too; the exporter says so
			}
			live[key] = cmp.Or(f.live[key], &fed{labels: lset})
			add(live[key], part.value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.live)) {
		if live[key] == nil {
			add(f.live[key], staleMarker)
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	f.live = live
	if refused != nil {
		f.window.note(refused)
	}
	return refused
}

// known is everything that is known at now, each sample with the target it is of.
func (f *Feeder) known(now time.Time) iter.Seq2[probe.Sample, string] {
	return func(yield func(probe.Sample, string) bool) {
		for _, status := range f.source.Statuses(now) {
			for _, sample := range samples(status) {
				if !yield(sample, status.Name) {
					return
				}
			}
		}
		if f.own == nil {
			return
		}
		for _, sample := range f.own(now) {
			if !yield(sample, "") {
				return
			}
		}
	}
}

// staleMarker ends a series for PromQL.
var staleMarker = math.Float64frombits(value.StaleNaN)

func (s *fed) append(app storage.AppenderV2, at time.Time, v float64) error {
	ref, err := app.Append(s.ref, s.labels, 0, at.UnixMilli(), v, nil, nil, storage.AppendV2Options{})
	if err != nil {
		return fmt.Errorf("append %s to the window: %w", s.labels, err)
	}
	s.ref = ref
	return nil
}

// A part is one series of a sample: a distribution has several, told apart by
// the end of their names and one label.
type part struct {
	suffix       string
	label, bound string
	value        float64
}

// partsOf are the series of a sample.
func partsOf(s probe.Sample) iter.Seq[part] {
	return func(yield func(part) bool) {
		d := s.Distribution
		if d == nil {
			yield(part{value: s.Value})
			return
		}
		points := part{label: model.QuantileLabel}
		if s.Metric.Type == probe.Histogram {
			points = part{suffix: "_bucket", label: model.BucketLabel}
			if !yield(part{"_bucket", model.BucketLabel, "+Inf", float64(d.Count)}) {
				return
			}
		}
		for _, p := range d.Points {
			points.bound, points.value = labels.FormatOpenMetricsFloat(p.At), p.Value
			if !yield(points) {
				return
			}
		}
		_ = yield(part{suffix: "_sum", value: d.Sum}) && yield(part{suffix: "_count", value: float64(d.Count)})
	}
}

// feedLabels are the labels of a series in the window. A label job of the
// sample's own becomes exported_job, as it would if Prometheus scraped it.
func feedLabels(s probe.Sample, of part, target string) labels.Labels {
	b := labels.NewScratchBuilder(len(s.Labels) + 4)
	b.Add(model.MetricNameLabel, s.Metric.Name+of.suffix)
	b.Add(model.JobLabel, Job)
	if target != "" {
		b.Add("target", target)
	}
	for i, name := range s.Metric.Labels {
		if name == model.JobLabel {
			name = model.ExportedLabelPrefix + name
		}
		b.Add(name, s.Labels[i])
	}
	if of.label != "" {
		b.Add(of.label, of.bound)
	}
	b.Sort()
	return b.Labels()
}
