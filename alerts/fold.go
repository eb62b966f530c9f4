package alerts

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// Take shows the gate, which compares, one tick more than the last time.
func (k *Kept) Take(g Gate, counts Counts, tick Tick, scene Scene) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.folds[g.Name]
	if kept == nil || kept.edges != len(counts.Edges) {
		c := g.Compare(counts)
		kept = k.fold(g.Name, c, scene)
		kept.taking, kept.edges = c, len(counts.Edges)
	}
	c := &kept.taking
	settled := c.settled(counts, scene)
	if !c.settles() && !tick.At.After(settled) {
		return
	}
	sides, whole := make([][]sequential.Tick, len(c.Sides)), make([]sequential.Tick, len(c.Sides))
	if p, ok := c.pair(&tick, settled, sides, whole); ok {
		kept.take(p)
	}
}

// Proven says whether the evidence that Take has shown of a gate that compares is
// what it fires on. Without that the gate does not fire.
func (k *Kept) Proven(g Gate) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.folds[g.Name]
	return kept != nil && kept.proven()
}

// weigh is the evidence of the pairs.
func (k *Kept) weigh(g Gate, c Comparison, pairs []pair, scene Scene) evidence {
	if k == nil {
		return newFold(c, scene).weigh(pairs)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fold(g.Name, c, scene).weigh(pairs)
}

// fold is the fold of that name: a new one where nothing is kept, or where other
// things are compared now.
func (k *Kept) fold(name string, c Comparison, scene Scene) *fold {
	kept, fresh := k.folds[name], emptyFold(c, scene)
	if kept != nil && kept.comparesAs(fresh) {
		return kept
	}
	fresh.restart()
	if k.folds == nil {
		k.folds = map[string]*fold{}
	}
	k.folds[name] = fresh
	return fresh
}

// A fold is the evidence of the pairs it was shown. It is equal to that of a new
// one that is shown the same pairs.
type fold struct {
	sides      int
	matter     []bool // sides by which a version may be rolled back; the others make it pend
	work       bool
	settles    bool
	leastShare float64         // see Comparison.Material
	taking     Comparison      // of the ticks that Take shows,
	edges      int             // which had so many bucket edges
	excused    sequential.Test // against the risk that is excused
	any        sequential.Test // against no harm at all
	pairs      []pair
	sum        evidence // of all pairs, without what the processes say
	main       []*sequential.Process
	hints      []*sequential.Process
	hinted     int // pairs that the hints have seen
	logE       float64
	since      time.Time // when logE first reached what is needed
	// But for one minute: the evidence of each test.
	excusedLess, anyLess omission
	least                float64 // of the first test,
	leastOf              int     // when there were so many pairs
}

// An omission is what a test finds without one minute or the other.
type omission struct {
	sides   []bool // that are tested
	without map[time.Time]*remainder
	gains   [][]float64 // by side, of the minute that begins with each pair and is over
}

// A remainder is the evidence but that of one minute.
type remainder struct {
	processes []*sequential.Process
	seen      int // pairs
}

func newFold(c Comparison, scene Scene) *fold {
	f := emptyFold(c, scene)
	f.restart()
	return f
}

// emptyFold says what a fold compares, before it begins.
func emptyFold(c Comparison, scene Scene) *fold {
	return &fold{
		sides: len(c.Sides), matter: c.matter(scene), work: c.Terms.work, settles: c.settles(), leastShare: c.Material,
		excused: c.testOf(c.Terms.R0, scene), any: c.testOf(1, scene),
	}
}

// comparesAs says whether both compare the same things.
func (f *fold) comparesAs(other *fold) bool {
	same := func(a, b sequential.Test) bool {
		return a.R0 == b.R0 && a.Horizon == b.Horizon && a.Dispersion == b.Dispersion && slices.Equal(a.Effects, b.Effects)
	}
	return slices.Equal(f.matter, other.matter) && f.work == other.work && f.leastShare == other.leastShare && same(f.excused, other.excused) && same(f.any, other.any)
}

// restart forgets every pair.
func (f *fold) restart() {
	all := slices.Repeat([]bool{true}, f.sides)
	*f = fold{
		sides: f.sides, matter: f.matter, work: f.work, settles: f.settles, leastShare: f.leastShare, taking: f.taking, edges: f.edges, excused: f.excused, any: f.any,
		sum:  evidence{sum: make([]sequential.Tick, max(1, f.sides)), settling: f.settles},
		main: begin(f.excused, f.matter), hints: begin(f.any, all),
		excusedLess: omission{f.matter, map[time.Time]*remainder{}, make([][]float64, f.sides)},
		anyLess:     omission{all, map[time.Time]*remainder{}, make([][]float64, f.sides)},
	}
}

// begin begins the test of those sides; of the others there is none.
func begin(test sequential.Test, sides []bool) []*sequential.Process {
	processes := test.StartMany(len(sides))
	for i, tested := range sides {
		if !tested {
			processes[i] = nil
		}
	}
	return processes
}

// observe shows them a pair.
func observe(processes []*sequential.Process, p pair) {
	for i, process := range processes {
		if process != nil {
			process.Observe(p.sides[i]...)
		}
	}
}

// take adds one pair.
func (f *fold) take(p pair) {
	f.pairs = append(f.pairs, p)
	if f.sides == 0 {
		return
	}
	f.sum.add(p)
	observe(f.main, p)
	if f.logE = average(f.main); f.since.IsZero() && f.logE >= sequential.Needed(compareAlpha) {
		f.since = p.at
	}
}

// weigh is the evidence of these pairs. Of those that the fold knows only the rest
// is worked out; that a late scrape changed one of them is found out.
func (f *fold) weigh(pairs []pair) evidence {
	if !f.beginsWith(pairs) {
		f.restart()
	}
	known := len(f.pairs)
	for _, p := range pairs[known:] {
		if known > 0 {
			p = p.alone()
		}
		f.take(p)
	}
	e := f.sum
	e.sum = slices.Clone(e.sum) // it goes on
	if f.sides == 0 || len(pairs) == 0 {
		e.settling = false
		return e
	}
	e.logE, e.least, e.since = f.logE, f.logE, f.since
	if f.logE >= sequential.Needed(compareAlpha) { // a hint would say no more
		e.worst, e.material, e.least = strongest(f.main), f.material(), f.leastExcused()
	} else {
		e.hint = f.hint()
		e.worst = strongest(f.hints)
	}
	if e.hint >= sequential.Needed(suspectAlpha) {
		e.hint = f.leastWithout(f.any, &f.anyLess, e.worst)
	}
	if total := e.sum[e.worst]; !f.work {
		e.n, e.controlN = total.Exposure, total.ControlExposure
	}
	return e
}

// proven says whether the evidence suffices: of all pairs, of a side that matters, and
// without the worst minute.
func (f *fold) proven() bool {
	needed := sequential.Needed(compareAlpha)
	return f.logE >= needed && f.material() && f.leastExcused() >= needed
}

// leastExcused is the evidence of what is not excused with the minute left out that
// says most.
func (f *fold) leastExcused() float64 {
	if f.leastOf != len(f.pairs) {
		f.least, f.leastOf = f.leastWithout(f.excused, &f.excusedLess, strongest(f.main)), len(f.pairs)
	}
	return f.least
}

// beginsWith says whether the pairs begin with those that the fold knows.
func (f *fold) beginsWith(pairs []pair) bool {
	return len(f.pairs) <= len(pairs) && slices.EqualFunc(f.pairs, pairs[:len(f.pairs)], func(a, b pair) bool {
		return a.at.Equal(b.at) && a.jobs == b.jobs && a.controls == b.controls &&
			slices.EqualFunc(a.sides, b.sides, slices.Equal[[]sequential.Tick])
	})
}

// hint is the evidence of any harm at all. It is asked for more seldom than pairs
// are taken.
func (f *fold) hint() float64 {
	for ; f.hinted < len(f.pairs); f.hinted++ {
		observe(f.hints, f.pairs[f.hinted])
	}
	return average(f.hints)
}

// material says whether a side that proves harm by itself shows as much of it as
// matters, and that not by luck.
func (f *fold) material() bool {
	for i, process := range f.main {
		if process == nil || process.LogE() < sequential.Needed(compareAlpha) {
			continue
		}
		if total := f.sum.sum[i]; f.leastShare == 0 || guard(Ratio{total.Exposure, total.Events}, f.leastShare) >= suspicion {
			return true
		}
	}
	return false
}

// average is the evidence of all sides that are tested; none where no side is.
func average(processes []*sequential.Process) float64 {
	logs := make([]float64, 0, 16) // more than buckets have edges, mostly
	for _, p := range processes {
		if p != nil {
			logs = append(logs, p.LogE())
		}
	}
	if len(logs) == 0 {
		return 0
	}
	return sequential.Average(logs...)
}

// strongest is the side that says most.
func strongest(processes []*sequential.Process) int {
	side, most := 0, math.Inf(-1)
	for i, p := range processes {
		if p != nil && p.LogE() > most {
			side, most = i, p.LogE()
		}
	}
	return side
}

// leastWithout is the evidence with that minute left out which says most: what
// rests on a single blip is no evidence against a version.
func (f *fold) leastWithout(test sequential.Test, o *omission, side int) float64 {
	gains := f.minutes(test, o, side)
	begins := make([]int, len(f.pairs))
	for i := range begins {
		begins[i] = i
	}
	slices.SortFunc(begins, func(a, b int) int { return cmp.Or(cmp.Compare(gains[b], gains[a]), cmp.Compare(a, b)) })
	least := math.Inf(1)
	for _, i := range begins[:min(len(begins), blipsTried)] {
		least = min(least, f.leaving(test, o, f.pairs[i].at))
	}
	return least
}

// minutes are what the evidence of one side gains in the minute that begins with
// each pair.
func (f *fold) minutes(test sequential.Test, o *omission, side int) []float64 {
	gains := slices.Clone(o.gains[side])
	last := f.pairs[len(f.pairs)-1].at
	first, gain := len(gains), make([]float64, len(test.Effects))
	increments := make([][]float64, len(f.pairs)-first)
	for i := range increments {
		increments[i] = test.Increments(f.pairs[first+i].sides[side]...)
	}
	for i := first; i < len(f.pairs); i++ {
		clear(gain)
		over := f.pairs[i].at.Add(oneBlip)
		for k := i; k < len(f.pairs) && f.pairs[k].at.Before(over); k++ {
			for j, x := range increments[k-first] {
				gain[j] += x
			}
		}
		gains = append(gains, slices.Max(gain))
		if !last.Before(over) { // it can gain no more
			o.gains[side] = gains[: i+1 : i+1]
		}
	}
	return gains
}

// leaving is the evidence but that of the minute from a time on, as if there had
// been no such minute.
func (f *fold) leaving(test sequential.Test, o *omission, minute time.Time) float64 {
	rest := o.without[minute]
	if rest == nil {
		rest = &remainder{processes: begin(test, o.sides)}
		o.without[minute] = rest
	}
	for ; rest.seen < len(f.pairs); rest.seen++ {
		p := f.pairs[rest.seen]
		if p.at.Before(minute) || !p.at.Before(minute.Add(oneBlip)) {
			observe(rest.processes, p)
		}
	}
	return average(rest.processes)
}
