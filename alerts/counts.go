package alerts

import (
	"math"
	"slices"
	"sort"
	"time"
)

// A Tally is what one arm of a rollout counted in one tick.
type Tally struct {
	Seen     bool      // a scrape of the arm falls into the tick
	Requests float64   //
	Errors   float64   //
	Timed    float64   // requests whose duration is known
	Slower   []float64 // of which slower than each of Counts.Edges
	Work     []Work    // of workers, by Counts.Queues
}

// Work is what the workers of an arm did in one queue in one tick.
type Work struct {
	Completed, Failed float64 // jobs
	Seconds           float64 // that the workers were there, times how many jobs each takes at once where that is known
}

// jobs are all that came to an end.
func (w Work) jobs() float64 { return w.Completed + w.Failed }

// add puts another tally of the same tick beside t.
func (t Tally) add(u Tally, sign float64) Tally {
	t.Seen = t.Seen || u.Seen
	t.Requests += sign * u.Requests
	t.Errors += sign * u.Errors
	t.Timed += sign * u.Timed
	if len(u.Slower) > 0 {
		slower := make([]float64, len(u.Slower))
		copy(slower, t.Slower)
		for i, n := range u.Slower {
			slower[i] += sign * n
		}
		t.Slower = slower
	}
	if len(u.Work) > 0 {
		work := make([]Work, len(u.Work))
		copy(work, t.Work)
		for i, w := range u.Work {
			work[i].Completed += sign * w.Completed
			work[i].Failed += sign * w.Failed
			work[i].Seconds += sign * w.Seconds
		}
		t.Work = work
	}
	return t
}

// at is what was done in one queue.
func (t Tally) at(queue int) Work {
	if queue >= len(t.Work) {
		return Work{}
	}
	return t.Work[queue]
}

// work is what was done in all queues together.
func (t Tally) work() Work {
	var all Work
	for _, w := range t.Work {
		all.Completed += w.Completed
		all.Failed += w.Failed
		all.Seconds += w.Seconds
	}
	return all
}

// A Source says whether the scrapes of what is judged went well in one tick.
type Source int8

// The sources of a tick. SourceUnknown: nothing scraped what is judged.
const (
	SourceUnknown Source = iota
	SourceUp             // at least one scrape went well
	SourceRefused        // every scrape of the slot failed
)

// A Tick is one slot of the interval in which something was read.
type Tick struct {
	At      time.Time // of the newest scrape in it
	Begin   time.Time // of the oldest scrape of the Subject in it; zero: At
	Source  Source
	Subject Tally            // what is judged: the new version, where that can be told
	Control Tally            // what it is compared with
	Pods    map[string]Tally // the Subject by instance, where that was asked for
}

// Counts are the raw differences of everything that count gates need, tick by
// tick in order of time. They come from the window of a Scene, or from a
// simulation (EvaluateFrom).
type Counts struct {
	Ticks  []Tick
	Edges  []float64         // upper bucket edges in seconds, ascending, without +Inf
	Queues []string          // the queues of Tally.Work
	Pace   Pace              // of workers, before the rollout
	Scope  map[string]string // the labels that tell the subject from the rest
	Why    string            // why there are no series, where more than that is known

	WhyFailures string // why nothing tells whose the failed jobs are
}

// between returns the ticks with from < At <= to.
func (c Counts) between(from, to time.Time) []Tick {
	after := func(t time.Time) int {
		return sort.Search(len(c.Ticks), func(i int) bool { return c.Ticks[i].At.After(t) })
	}
	low := after(from)
	return c.Ticks[low:max(low, after(to))]
}

// newest finds the newest tick up to now that is as asked.
func (c Counts) newest(now time.Time, is func(*Tick) bool) (*Tick, bool) {
	for i := range slices.Backward(c.Ticks) {
		if t := &c.Ticks[i]; !t.At.After(now) && is(t) {
			return t, true
		}
	}
	return &Tick{}, false
}

func seen(t *Tick) bool    { return t.Subject.Seen }
func sourced(t *Tick) bool { return t.Source != SourceUnknown }

// everSeen says whether the subject was read at all up to now.
func (c Counts) everSeen(now time.Time) bool {
	_, ok := c.newest(now, seen)
	return ok
}

// missing says which of the missing states the counts are in at now, "" when
// none, and since when: zero for as long as the counts reach back.
func (c Counts) missing(now time.Time, interval time.Duration) (State, time.Time) {
	limit := staleAfter(interval)
	last, wasSeen := c.newest(now, seen)
	source, wasSourced := c.newest(now, sourced)
	switch {
	case wasSourced && source.Source == SourceRefused && now.Sub(source.At) <= limit && !source.At.Before(last.At):
		return SourceDown, c.refusedSince(source.At)
	case wasSeen && now.Sub(last.At) <= limit:
		return "", time.Time{}
	case !wasSeen && (!wasSourced || now.Sub(source.At) <= limit):
		return NoSeries, time.Time{}
	case wasSourced && now.Sub(source.At) <= limit:
		return NoSeries, last.At.Add(limit)
	default:
		newest := last.At
		if source.At.After(newest) {
			newest = source.At
		}
		return Stale, newest.Add(limit)
	}
}

// refusedSince is the first of the ticks up to at in which every scrape failed.
func (c Counts) refusedSince(at time.Time) time.Time {
	for i := range slices.Backward(c.Ticks) {
		switch t := &c.Ticks[i]; {
		case t.At.After(at) || t.Source == SourceUnknown:
		case t.Source == SourceRefused:
			at = t.At
		default:
			return at
		}
	}
	return at
}

// coverage is the share of the ticks due in (from, to] in which the times show
// an observation. It counts the ticks that each gap swallowed, so that jitter
// of a scrape costs nothing.
func coverage(times []time.Time, from, to time.Time, interval time.Duration) float64 {
	due := math.Round(float64(to.Sub(from)) / float64(interval))
	if due < 1 {
		if len(times) > 0 {
			return 1
		}
		return 0
	}
	missed, before, observed := 0.0, from, false
	lost := func(gap time.Duration) float64 {
		return max(0, math.Round(float64(gap)/float64(interval))-1)
	}
	for _, t := range times {
		if t.After(from) && !t.After(to) {
			missed, before, observed = missed+lost(t.Sub(before)), t, true
		}
	}
	if !observed {
		return 0
	}
	return max(0, 1-(missed+lost(to.Sub(before)))/due)
}
