package collector

import (
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

// A Delta is what one series counted between two scrapes: a raw difference,
// never an extrapolation. Begin is the earlier scrape (or the birth), At the
// later one; the difference belongs to the tick At. What has its Begin before
// a rollout started is no evidence about it.
type Delta struct {
	Begin, At time.Time
	N         float64 // not negative
}

// A Counter turns the raw samples of counters into differences:
//
//   - lower than before is a reset, and the difference is the new value;
//   - a new series on an instance that was scraped in the two intervals before,
//     or whose process started since, is a birth, and the difference is the
//     value; otherwise the first value only sets the mark;
//   - after a missed scrape the difference falls into the tick that sees it.
//
// Samples may be observed in one stretch of time or in many that follow each
// other: the differences are the same. A Counter that is kept costs a mark a
// series; one that is made anew and observes from the same time equals it.
type Counter struct {
	interval int64 // milliseconds
	stretch  [][]Series
	marks    map[uint64]Point     // newest sample of each series before the stretch
	scraped  map[instance][]int64 // when: the last time before the stretch, and in it; ascending
	started  map[instance][]Point // process_start_time_seconds: the last before the stretch, and in it
	restarts map[instance][]int64 // the scrapes that first saw another process, ever; ascending
}

// An instance is one scraped process. Series that name no instance (in rule
// tests) are all of one.
type instance struct{ job, address string }

// NewCounter makes a Counter for samples taken at the interval.
func NewCounter(interval time.Duration) *Counter {
	return &Counter{
		interval: interval.Milliseconds(),
		marks:    map[uint64]Point{},
		scraped:  map[instance][]int64{},
		started:  map[instance][]Point{},
		restarts: map[instance][]int64{},
	}
}

// Fork is a Counter that goes on from c, which stays as it is.
func (c *Counter) Fork() *Counter {
	f := *c
	f.marks, f.scraped, f.started, f.restarts = maps.Clone(c.marks), maps.Clone(c.scraped), maps.Clone(c.started), maps.Clone(c.restarts)
	for i := range f.started { // what is appended to; the others are never written to in place
		f.started[i] = slices.Clip(f.started[i])
	}
	for i := range f.restarts {
		f.restarts[i] = slices.Clip(f.restarts[i])
	}
	return &f
}

// Observe takes the samples of the next stretch of time, after which Deltas
// answers for its series: ups are the series `up` of the instances, starts
// their process_start_time_seconds, counted everything that Deltas will be
// asked for. Where an instance has no `up`, it counts as scraped whenever any
// of its counted series has a sample.
func (c *Counter) Observe(ups, starts []Series, counted ...[]Series) {
	c.advance()
	c.stretch = counted
	known := map[instance]bool{}
	var times []int64 // one buffer for all: scrapedAt keeps a copy of what is new
	for _, s := range ups {
		known[instanceOf(s)] = true
		times = times[:0]
		for _, p := range s.Points {
			if p.V == 1 { // a scrape that failed read nothing
				times = append(times, p.T)
			}
		}
		c.scrapedAt(instanceOf(s), times)
	}
	for _, group := range counted {
		for _, s := range group {
			if known[instanceOf(s)] {
				continue
			}
			times = times[:0]
			for _, p := range s.Points {
				times = append(times, p.T)
			}
			c.scrapedAt(instanceOf(s), times)
		}
	}
	for _, s := range starts {
		c.startedAt(instanceOf(s), s.Points)
	}
}

// startedAt adds what an instance said of the start of its process. It is
// another process when the start has changed, and lies since the last scrape:
// either alone would be fooled by a clock that was set, or runs ahead.
func (c *Counter) startedAt(i instance, points []Point) {
	for _, p := range points {
		if known := c.started[i]; len(known) > 0 {
			before := known[len(known)-1]
			if start := p.startMillis(); start != before.startMillis() && before.T < start && start <= p.T {
				c.restarts[i] = append(c.restarts[i], p.T)
			}
		}
		c.started[i] = append(c.started[i], p)
	}
}

func (p Point) startMillis() int64 { return int64(p.V * 1000) }

// advance keeps of the stretch that ends what the next one needs.
func (c *Counter) advance() {
	for _, group := range c.stretch {
		for _, s := range group {
			for _, p := range slices.Backward(s.Points) {
				if countable(p) {
					c.marks[s.Labels.Hash()] = p
					break
				}
			}
		}
	}
	for i, times := range c.scraped {
		c.scraped[i] = times[len(times)-1:]
	}
	for i, points := range c.started {
		c.started[i] = points[len(points)-1:]
	}
}

// scrapedAt adds times at which an instance was scraped. Nearly always they are
// known: the series of a scrape share its time.
func (c *Counter) scrapedAt(i instance, times []int64) {
	known := c.scraped[i]
	at := 0
	for _, t := range times {
		for at < len(known) && known[at] < t {
			at++
		}
		if at == len(known) || known[at] != t {
			all := slices.Concat(known, times)
			slices.Sort(all)
			c.scraped[i] = slices.Compact(all)
			return
		}
	}
}

// Deltas are the differences of one of the counted series in the stretch, in
// order of time. Values that no counter has (NaN, infinite, negative) are
// passed over like missed scrapes.
func (c *Counter) Deltas(s Series) iter.Seq[Delta] {
	return func(yield func(Delta) bool) {
		var mark Point
		marked := false
		if len(c.marks) > 0 {
			mark, marked = c.marks[s.Labels.Hash()]
		}
		restarts := c.restarts[instanceOf(s)]
		for _, p := range s.Points {
			if !countable(p) || marked && p.T <= mark.T {
				continue
			}
			d, ok := Delta{Begin: time.UnixMilli(mark.T), At: time.UnixMilli(p.T), N: p.V - mark.V}, true
			switch {
			case !marked:
				d.N = p.V
				d.Begin, ok = c.birth(instanceOf(s), p.T)
			case d.N < 0, anyIn(restarts, mark.T, p.T):
				d.N = p.V
			}
			mark, marked = p, true
			if ok && !yield(d) {
				return
			}
		}
	}
}

// birth says whether a series first seen at t was born then, and after when it
// counted.
func (c *Counter) birth(i instance, t int64) (begin time.Time, born bool) {
	// Scrapes come some milliseconds early or late: the second one back must not
	// be missed by them.
	since := t - 2*c.interval - c.interval/2
	scraped := c.scraped[i]
	if at, _ := slices.BinarySearch(scraped, t); at > 0 {
		last := scraped[at-1]
		begin, born = time.UnixMilli(last), last >= since
		since = last
	}
	for _, p := range c.started[i] {
		// A start in the future is of a clock that says nothing.
		if start := p.startMillis(); p.T == t && start > since && start <= t {
			return time.UnixMilli(start), true
		}
	}
	return begin, born
}

func instanceOf(s Series) instance {
	return instance{job: s.Labels.Get(model.JobLabel), address: s.Labels.Get(model.InstanceLabel)}
}

// anyIn says whether one of the ascending times lies in (after, to].
func anyIn(times []int64, after, to int64) bool {
	if len(times) == 0 { // nearly always
		return false
	}
	at, _ := slices.BinarySearch(times, after+1)
	return at < len(times) && times[at] <= to
}

func countable(p Point) bool { return p.V >= 0 && !math.IsInf(p.V, 1) }
