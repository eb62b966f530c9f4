package alerts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

const (
	// tenantStretch is how much of the window is read at once: the samples of a
	// hundred thousand tenants over a whole watch need not be in memory together.
	tenantStretch = 5 * time.Minute
	// leastStretch is how much of it is read at once where time is short.
	leastStretch = time.Minute
	// tenantLag is how many intervals must have passed since a minute before it is
	// counted: a scrape that takes long writes its samples late, under the time at
	// which it began.
	tenantLag = 2
)

// A tenantFold is what one rollout's gate of tenants has counted so far, so that
// each judgement reads only what is new. It is nothing but a cache: made anew, or of
// another rollout, it reads everything again and is the same. It may be used by
// several judgements at a time. The zero value is ready.
type tenantFold struct {
	mu      sync.Mutex
	of      tenantFoldOf
	before  *beforeReader // nil once it is done
	book    *book
	counter *collector.Counter
	until   time.Time   // the end of the newest minute that was counted
	times   []time.Time // of the scrapes in which the new version told its tenants
	seen    bool        // requests of the new version were read, whether of a tenant or not
	told    tenantArms
	stretch time.Duration // that is read at once; less where there was no time for it
}

// tenantFoldOf is what a fold depends on, besides the window.
type tenantFoldOf struct {
	service, version, baseline string
	canary                     bool
	started, from              time.Time
	interval                   time.Duration
}

// A beforeReader reads what tenants were before the rollout.
type beforeReader struct {
	spans   []Span    // that are left to read
	from    time.Time // where the one that is being read began
	counter *collector.Counter
	tenants map[TenantPath]Ratio
	hours   float64
}

// tenantArms tell new from old. Whether series tell their version is known once the
// first does.
type tenantArms struct {
	plain, versioned arms
	since            time.Time // when the first series told its version
	known            bool
}

// advance counts the minutes that are over at scene.Now. An error leaves what was
// counted before it, and the next call goes on from there.
func (f *tenantFold) advance(ctx context.Context, scene Scene) error {
	if f.stretch == 0 {
		f.stretch = tenantStretch
	}
	err := f.read(ctx, scene)
	if errors.Is(err, context.DeadlineExceeded) {
		f.stretch = max(f.stretch/2, leastStretch)
	}
	return err
}

// read is advance, by stretches that are as long as there is time for.
func (f *tenantFold) read(ctx context.Context, scene Scene) error {
	minute := tenantMinute(scene)
	settled := scene.Now.Add(-tenantLag * scene.Interval).Sub(scene.EvidenceFrom()).Truncate(minute)
	until := scene.EvidenceFrom().Add(max(0, settled))
	if of := foldOf(scene); of != f.of || until.Before(f.until) {
		f.reset(of, scene)
	}
	m, err := scene.Service.meter()
	if err != nil {
		return err
	}
	m.buckets = nil
	if err := f.readBefore(ctx, scene, m); err != nil {
		return err
	}
	for f.until.Before(until) {
		to := f.until.Add(max(minute, f.stretch.Truncate(minute)))
		if to.After(until) {
			to = until
		}
		if err := f.readMinutes(ctx, scene, m, to); err != nil {
			return err
		}
	}
	return nil
}

// tenantMinute is how long a minute is: at least an interval.
func tenantMinute(scene Scene) time.Duration { return max(time.Minute, scene.Interval) }

func foldOf(scene Scene) tenantFoldOf {
	return tenantFoldOf{
		service: scene.Subject.Service, version: scene.Subject.Version, baseline: scene.Subject.Baseline.ID,
		canary: scene.Subject.judgesCanary(), started: scene.Subject.StartedAt, from: scene.EvidenceFrom(), interval: scene.Interval,
	}
}

func (f *tenantFold) reset(of tenantFoldOf, scene Scene) {
	f.of, f.book, f.times, f.seen = of, nil, nil, false
	f.counter, f.until = collector.NewCounter(scene.Interval), scene.EvidenceFrom()
	f.told = tenantArms{plain: armsOf(scene, false), versioned: armsOf(scene, true), known: scene.Service.VersionLabel == ""}
	f.before = &beforeReader{spans: slices.Clone(scene.Subject.Baseline.Spans), tenants: map[TenantPath]Ratio{}}
	for _, span := range f.before.spans {
		f.before.hours += span.To.Sub(span.From).Hours()
	}
}

// readBefore counts what tenants were in the time of the baseline.
func (f *tenantFold) readBefore(ctx context.Context, scene Scene, m meter) error {
	if f.before == nil {
		return nil
	}
	b := f.before
	for len(b.spans) > 0 {
		span := &b.spans[0]
		stretch := *span
		if stretch.To = span.From.Add(f.stretch); stretch.To.After(span.To) {
			stretch.To = span.To
		}
		reads := stretch
		counter := b.counter
		if counter == nil { // the first stretch of a span
			counter = collector.NewCounter(scene.Interval)
			reads.From = reads.From.Add(-lookback * scene.Interval)
		}
		r, err := readStretch(ctx, scene, m, reads, counter)
		if err != nil {
			return fmt.Errorf("tenants before the rollout: %w", err)
		}
		if b.counter == nil {
			b.counter, b.from = counter, span.From
		}
		f.told.learn(r, scene.Service)
		b.count(r, scene.Service)
		if span.From = stretch.To; !span.From.Before(span.To) {
			b.spans, b.counter = b.spans[1:], nil
		}
	}
	f.book, f.before = newBook(b.tenants, b.hours, scene.Policy), nil
	return nil
}

// count adds the differences of one stretch.
func (b *beforeReader) count(r read, service *Service) {
	r.eachOfTenants(service, func(_ collector.Series, tenant func() TenantPath, d collector.Delta, n, bad float64) {
		if !d.Begin.Before(b.from) {
			path := tenant()
			b.tenants[path] = b.tenants[path].add(n, bad)
		}
	})
}

// eachOfTenants visits every difference that counts requests of a tenant. Which it is
// costs more to find than the difference, and most are none.
func (r read) eachOfTenants(service *Service, visit func(s collector.Series, tenant func() TenantPath, d collector.Delta, n, bad float64)) {
	names := service.tenantLabels()
	each := func(s collector.Series, counts, failed float64) {
		if s.Labels.Get(names[0]) == "" {
			return
		}
		path := TenantPath("")
		tenant := func() TenantPath {
			if path == "" {
				path = tenantOf(s.Labels, names)
			}
			return path
		}
		for d := range r.counter.Deltas(s) {
			if d.N > 0 {
				visit(s, tenant, d, counts*d.N, failed*d.N)
			}
		}
	}
	for _, s := range r.requests {
		failed := 0.0
		if r.meter.isError(s.Labels) {
			failed = 1
		}
		each(s, 1, failed)
	}
	for _, s := range r.errors { // which no series of requests counts as such
		each(s, 0, 1)
	}
}

// tenantOf is the tenant whose requests a series counts, by those labels.
func tenantOf(l labels.Labels, names []string) TenantPath {
	if len(names) == 1 {
		return PathOf(tenantValue(l.Get(names[0])))
	}
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = tenantValue(l.Get(name))
	}
	return PathOf(values...)
}

// tenantValue is a label's value as the name of a unit. Tenants may choose their own
// names: with a separator in it one would be a part of another.
func tenantValue(value string) string {
	return strings.ReplaceAll(value, tenantSeparator, "\uFFFD")
}

// tenantLabels are the labels of the hierarchy of tenants, the largest unit first.
func (s *Service) tenantLabels() []string {
	if s.TenantLabel != "" {
		return []string{s.TenantLabel}
	}
	return s.TenantLabels
}

// learn notes when the first series told its version.
func (a *tenantArms) learn(r read, service *Service) {
	if a.known {
		return
	}
	for _, s := range r.requests {
		if s.Labels.Get(service.VersionLabel) == "" {
			continue
		}
		if first := time.UnixMilli(s.Points[0].T); !a.known || first.Before(a.since) {
			a.known, a.since = true, first
		}
	}
}

// at are the arms at a time.
func (a *tenantArms) at(t time.Time) arms {
	if a.since.IsZero() || t.Before(a.since) {
		return a.plain
	}
	return a.versioned
}

// readMinutes counts the minutes up to a time.
func (f *tenantFold) readMinutes(ctx context.Context, scene Scene, m meter, to time.Time) error {
	span := Span{From: f.until, To: to}
	if f.until.Equal(f.of.from) {
		span.From = span.From.Add(-lookback * scene.Interval)
	}
	r, err := readStretch(ctx, scene, m, span, f.counter)
	if err != nil {
		return fmt.Errorf("tenants: %w", err)
	}
	f.told.learn(r, scene.Service)
	f.look(r, scene.Service)
	length := tenantMinute(scene)
	minutes := make([]TenantMinute, to.Sub(f.until)/length)
	for i := range minutes {
		minutes[i] = TenantMinute{}
	}
	r.eachOfTenants(scene.Service, func(s collector.Series, tenant func() TenantPath, d collector.Delta, n, bad float64) {
		if d.Begin.Before(f.of.from) || !d.At.After(f.until) {
			return
		}
		told := f.told.at(d.At)
		arm := told.place(s.Labels)
		if !arm.subject && !arm.control {
			return
		}
		minute := minutes[(d.At.Sub(f.until)-1)/length]
		tally := minute[tenant()]
		if tally == nil {
			tally = &TenantTally{}
			minute[tenant()] = tally
		}
		if arm.subject {
			tally.New = tally.New.add(n, bad)
		} else {
			tally.Old = tally.Old.add(n, bad)
		}
	})
	for _, minute := range minutes {
		f.book.observe(minute)
	}
	f.until = to
	return nil
}

// look notes in which scrapes the new version told its tenants.
func (f *tenantFold) look(r read, service *Service) {
	names, seen := service.tenantLabels(), map[int64]bool{}
	for _, s := range r.requests {
		told := f.told.at(time.UnixMilli(s.Points[len(s.Points)-1].T))
		if !told.isSubject(s.Labels) {
			continue
		}
		f.seen = true
		if s.Labels.Get(names[0]) == "" {
			continue
		}
		for _, p := range s.Points {
			if p.T > f.until.UnixMilli() {
				seen[p.T] = true
			}
		}
	}
	for t := range seen {
		f.times = append(f.times, time.UnixMilli(t))
	}
	slices.SortFunc(f.times, func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) })
}
