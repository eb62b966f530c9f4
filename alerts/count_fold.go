package alerts

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// settledAfter is how many intervals must have passed before a stretch is counted
// for good: a scrape that takes long writes its samples late, under the time at
// which it began.
const settledAfter = 2

// countStretch is how much of the window is read at once: the samples of very many
// series over a whole watch need not be in memory together, nor be read in one
// judgement.
const countStretch = 15 * time.Minute

// A countFold is what the gates of one rollout have counted so far, so that each
// judgement reads only what is new. It is nothing but a cache: made anew it reads
// everything again and is the same. It may be used by several judgements at a time.
// The zero value is ready.
type countFold struct {
	mu        sync.Mutex
	of        countFoldOf
	told      arms      // into which it was counted
	edges     []float64 // by which
	ticker    *ticker   // what is counted for good
	until     time.Time // up to when
	unlabeled bool
	requests  newestOf // that were ever seen
	buckets   newestOf
	ups       map[uint64]collector.Series // whole: which of them count may change
}

// countFoldOf is what a fold depends on, besides the window.
type countFoldOf struct {
	service, version string
	canary           bool
	started          time.Time
	interval         time.Duration
}

// newestOf are series by their labels, each with no more than its newest point.
type newestOf map[uint64]collector.Series

func (n newestOf) add(series []collector.Series) {
	for _, s := range series {
		s.Points = s.Points[len(s.Points)-1:]
		if hash := s.Labels.Hash(); len(n[hash].Points) == 0 || n[hash].Points[0].T < s.Points[0].T {
			n[hash] = s // what is read again is older
		}
	}
}

func (n newestOf) series() []collector.Series { return slices.Collect(maps.Values(n)) }

// gather reads what is new, and counts from the start of the rollout to scene.Now.
// An error leaves what was counted before it, and the next call goes on from there.
func (f *countFold) gather(ctx context.Context, scene Scene, byPod bool) (Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if of := countFoldOfScene(scene); f.ticker == nil || f.of != of || scene.Now.Before(f.until) {
		f.forget(scene)
	}
	for {
		to := f.until.Add(countStretch)
		if last := scene.Now.Add(-settledAfter * scene.Interval); !to.Before(last) {
			to = scene.Now
		}
		all, fresh, err := f.read(ctx, scene, to)
		if err != nil {
			return Counts{}, err
		}
		told := tell(scene, all.requests)
		if f.counted() && !(told.same(f.told) && slices.Equal(all.edges(told), f.edges)) {
			f.recount(scene) // it was counted into other arms
			continue
		}
		told.byPod = byPod
		f.told, f.edges = told, all.edges(told)
		if to.Before(scene.Now) {
			f.settle(fresh, to)
			continue
		}
		return f.finish(all, fresh, scene), nil
	}
}

// finish counts what is new up to scene.Now, of which the newest is not settled yet.
func (f *countFold) finish(all, fresh read, scene Scene) Counts {
	f.settle(fresh, scene.Now.Add(-settledAfter*scene.Interval))
	t := f.ticker.fork(f.until)
	rest := fresh.after(f.until)
	rest.into(t, f.told, f.edges, scene.Now)
	rest.ups = withMore(f.ups, rest.ups)
	rest.sources(t, f.told)
	return Counts{Ticks: t.finish(), Edges: f.edges, Scope: f.told.scope, Why: all.why(f.told)}
}

func countFoldOfScene(scene Scene) countFoldOf {
	subject := scene.Subject
	return countFoldOf{subject.Service, subject.Version, subject.judgesCanary(), subject.StartedAt, scene.Interval}
}

func (f *countFold) forget(scene Scene) {
	f.of = countFoldOfScene(scene)
	f.requests, f.buckets, f.unlabeled = newestOf{}, newestOf{}, false
	f.recount(scene)
}

// recount begins to count anew. Which series there are is known still, or what made
// it begin anew would do so again.
func (f *countFold) recount(scene Scene) {
	f.until = scene.Subject.StartedAt.Add(-lookback * scene.Interval)
	f.ticker = newTicker(Span{From: scene.Subject.StartedAt}, collector.NewCounter(scene.Interval), scene.Interval)
	f.ups = map[uint64]collector.Series{}
}

// counted says whether anything was counted for good.
func (f *countFold) counted() bool { return len(f.ticker.ticks) > 0 }

// read returns what is new from f.until up to a time, and with its newest points
// everything that was ever there.
func (f *countFold) read(ctx context.Context, scene Scene, to time.Time) (all, fresh read, err error) {
	m, err := scene.Service.meter()
	if err != nil {
		return read{}, read{}, err
	}
	if fresh, err = readRaw(ctx, scene, m, Span{From: f.until, To: to}); err != nil {
		return read{}, read{}, err
	}
	f.requests.add(fresh.requests)
	f.buckets.add(fresh.buckets)
	f.unlabeled = f.unlabeled || fresh.unlabeled
	return read{meter: m, requests: f.requests.series(), buckets: f.buckets.series(), unlabeled: f.unlabeled}, fresh, nil
}

// settle counts for good what was read up to that time.
func (f *countFold) settle(fresh read, until time.Time) {
	if !until.After(f.until) {
		return
	}
	settled := fresh.upTo(until)
	settled.into(f.ticker, f.told, f.edges, until)
	for _, s := range withMore(f.ups, settled.ups) {
		f.ups[s.Labels.Hash()] = s
	}
	f.until = until
}

// into counts a stretch that ends then into a ticker that counted all before it.
func (r read) into(t *ticker, told arms, edges []float64, until time.Time) {
	t.span.To = until
	t.counter.Observe(r.ups, r.starts, r.requests, r.errors, r.buckets)
	t.meet(r.requests, r.ups)
	r.countInto(t, told, edges)
}

// upTo is the part of what was read that is not after a time, after the other one.
func (r read) upTo(t time.Time) read {
	return r.cut(func(p []collector.Point, i int) []collector.Point { return p[:i] }, t)
}
func (r read) after(t time.Time) read {
	return r.cut(func(p []collector.Point, i int) []collector.Point { return p[i:] }, t)
}

// cut keeps a part of the points of each series, which are cut behind a time.
func (r read) cut(part func(points []collector.Point, at int) []collector.Point, t time.Time) read {
	ms := t.UnixMilli()
	of := func(series []collector.Series) []collector.Series {
		kept := make([]collector.Series, 0, len(series))
		for _, s := range series {
			at, _ := slices.BinarySearchFunc(s.Points, ms+1, func(p collector.Point, t int64) int { return cmp.Compare(p.T, t) })
			if points := part(s.Points, at); len(points) > 0 {
				kept = append(kept, collector.Series{Labels: s.Labels, Points: points})
			}
		}
		return kept
	}
	r.requests, r.errors, r.buckets, r.ups, r.starts = of(r.requests), of(r.errors), of(r.buckets), of(r.ups), of(r.starts)
	return r
}

// withMore are the kept series with the points that follow, in order of labels.
func withMore(kept map[uint64]collector.Series, more []collector.Series) []collector.Series {
	all := maps.Clone(kept)
	for _, s := range more {
		hash := s.Labels.Hash()
		s.Points = slices.Concat(all[hash].Points, s.Points)
		all[hash] = s
	}
	return slices.SortedFunc(maps.Values(all), func(a, b collector.Series) int { return labels.Compare(a.Labels, b.Labels) })
}
