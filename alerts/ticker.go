package alerts

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/collector"
)

// A ticker sorts what many series counted into ticks. Every instance is scraped
// at an offset of its own, so that no two of them share a time: what falls into
// one slot of the interval is one tick.
type ticker struct {
	span    Span
	counter *collector.Counter
	grid    grid
	first   int64 // slot of ticks[0]
	ticks   []Tick
	newest  []int64 // scrape in each tick, in Unix milliseconds; 0: none
}

func newTicker(span Span, counter *collector.Counter, interval time.Duration) *ticker {
	return &ticker{span: span, counter: counter, grid: newGrid(interval)}
}

// meet makes a tick of every slot in which one of the series has a sample.
func (t *ticker) meet(series ...[]collector.Series) {
	lines := map[string][]int64{}
	for _, group := range series {
		for _, s := range group {
			instance := s.Labels.Get(model.InstanceLabel)
			lines[instance] = merge(lines[instance], s.Points)
		}
	}
	t.grid.learn(lines)
	for instance, line := range lines {
		slotAt := t.grid.of(instance)
		for _, ms := range line {
			if t.covers(ms) {
				i := t.reach(slotAt(ms))
				t.newest[i] = max(t.newest[i], ms)
			}
		}
	}
}

// reach is the place of a slot among the ticks, for which room is made.
func (t *ticker) reach(slot int64) int {
	if len(t.ticks) == 0 {
		t.first = slot
	}
	if before := t.first - slot; before > 0 {
		t.ticks, t.newest = append(make([]Tick, before), t.ticks...), append(make([]int64, before), t.newest...)
		t.first = slot
	}
	i := int(slot - t.first)
	if more := i + 1 - len(t.ticks); more > 0 {
		t.ticks, t.newest = append(t.ticks, make([]Tick, more)...), append(t.newest, make([]int64, more)...)
	}
	return i
}

// fork is a ticker that goes on from t, which stays as it is. Only what falls after
// the time may be counted into the fork.
func (t *ticker) fork(after time.Time) *ticker {
	f := *t
	f.counter, f.grid = t.counter.Fork(), t.grid.clone()
	f.ticks, f.newest = slices.Clone(t.ticks), slices.Clone(t.newest)
	const straddle = 2 // slots in which a scrape after the time may fall
	from := after.UnixMilli()/t.grid.interval - t.first - straddle
	for i := int(max(0, from)); i < len(f.ticks); i++ {
		f.ticks[i].Subject.Slower = slices.Clone(f.ticks[i].Subject.Slower)
		f.ticks[i].Control.Slower = slices.Clone(f.ticks[i].Control.Slower)
	}
	return &f
}

// covers says whether a time in Unix milliseconds is in the span.
func (t *ticker) covers(ms int64) bool {
	at := time.UnixMilli(ms)
	return at.After(t.span.From) && !at.After(t.span.To)
}

// merge adds the times of points to a sorted line of times. Nearly always they
// are all there: the series of a scrape share their times.
func merge(line []int64, points []collector.Point) []int64 {
	i, known := 0, true
	for _, p := range points {
		for i < len(line) && line[i] < p.T {
			i++
		}
		if i == len(line) || line[i] != p.T {
			known = false
			break
		}
	}
	if known {
		return line
	}
	for _, p := range points {
		line = append(line, p.T)
	}
	slices.Sort(line)
	return slices.Compact(line)
}

// A grid divides Unix time into slots one interval long.
type grid struct {
	interval int64            // milliseconds
	phases   map[string]int64 // how far into its slot each instance is scraped
}

func newGrid(interval time.Duration) grid {
	return grid{interval: max(1, interval.Milliseconds()), phases: map[string]int64{}}
}

// learn takes the phase of each instance from its first scrape.
func (g grid) learn(lines map[string][]int64) {
	for instance, line := range lines {
		if _, known := g.phases[instance]; !known && len(line) > 0 {
			g.phases[instance] = line[0] % g.interval
		}
	}
}

func (g grid) clone() grid { return grid{interval: g.interval, phases: maps.Clone(g.phases)} }

// of says into which slot a scrape of the instance falls. Scrapes are counted
// from where they are due: one that is due at the edge of a slot would, some
// milliseconds early or late, leave one slot empty and be twice in the next.
func (g grid) of(instance string) func(ms int64) int64 {
	early := g.interval/2 - g.phases[instance]
	return func(ms int64) int64 { return (ms + early) / g.interval }
}

// see notes the ticks at which a series was read.
func (t *ticker) see(s collector.Series, told arms) {
	at := told.place(s.Labels)
	t.each(s, func(tick *Tick, p collector.Point) {
		tick.change(at, func(tally *Tally) { tally.Seen = true })
		if read := time.UnixMilli(p.T); at.subject && (tick.Begin.IsZero() || read.Before(tick.Begin)) {
			tick.Begin = read
		}
	})
}

// source notes whether a scrape went well. Before its next scrape an instance is
// what it was in the slot before: the newest slot is not over yet.
func (t *ticker) source(up collector.Series) {
	t.each(up, func(tick *Tick, p collector.Point) {
		if p.V != 0 {
			tick.Source = SourceUp
		} else if tick.Source == SourceUnknown {
			tick.Source = SourceRefused
		}
	})
	n, last := len(t.ticks), len(up.Points)-1
	if n == 0 || last < 0 || up.Points[last].V == 0 || !t.covers(up.Points[last].T) {
		return
	}
	if t.grid.of(up.Labels.Get(model.InstanceLabel))(up.Points[last].T) == t.first+int64(n)-2 {
		t.ticks[n-1].Source = SourceUp
	}
}

// each walks the ticks of the samples of a series in the span.
func (t *ticker) each(s collector.Series, visit func(*Tick, collector.Point)) {
	find := t.finder(s)
	for _, p := range s.Points {
		if !t.covers(p.T) {
			continue
		}
		if tick := find(p.T); tick != nil {
			visit(tick, p)
		}
	}
}

// finder finds the ticks of a series by time, nil where there is none.
func (t *ticker) finder(s collector.Series) func(ms int64) *Tick {
	slotAt := t.grid.of(s.Labels.Get(model.InstanceLabel))
	return func(ms int64) *Tick {
		i := slotAt(ms) - t.first
		if i < 0 || i >= int64(len(t.ticks)) || t.newest[i] == 0 {
			return nil
		}
		return &t.ticks[i]
	}
}

// add counts the differences of a series that lie wholly within the span.
func (t *ticker) add(s collector.Series, told arms, count func(*Tally, float64)) {
	at := told.place(s.Labels)
	if !at.subject && !at.control {
		return
	}
	find := t.finder(s)
	for d := range t.counter.Deltas(s) {
		if d.N == 0 || d.Begin.Before(t.span.From) || d.At.After(t.span.To) {
			continue
		}
		if tick := find(d.At.UnixMilli()); tick != nil {
			tick.change(at, func(tally *Tally) { count(tally, d.N) })
		}
	}
}

// finish returns the ticks. A histogram whose buckets were reset one scrape
// apart may show less than none for a moment.
func (t *ticker) finish() []Tick {
	var ticks []Tick
	last := int64(0)
	for i, tick := range t.ticks {
		if t.newest[i] == 0 {
			continue
		}
		last = max(last, t.newest[i]) // ticks are searched by time
		tick.At = time.UnixMilli(last)
		tick.Subject.Slower, tick.Control.Slower = floored(tick.Subject.Slower), floored(tick.Control.Slower)
		for name, pod := range tick.Pods {
			pod.Slower = floored(pod.Slower)
			tick.Pods[name] = pod
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

// floored are the values, none of them under 0.
func floored(values []float64) []float64 {
	if !slices.ContainsFunc(values, func(v float64) bool { return v < 0 }) {
		return values
	}
	values = slices.Clone(values)
	for i := range values {
		values[i] = max(0, values[i])
	}
	return values
}
