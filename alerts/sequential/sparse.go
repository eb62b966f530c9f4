package sequential

import (
	"math"
	"slices"
)

// Breakage are the effects that are looked for in one of many tenants: what
// breaks for one of them tends to break altogether.
var Breakage = [6]float64{2, 3, 5, 10, 30, 300}

// A Sparse is a Process for one of very many units, of which most ticks tell
// nothing: such ticks cost neither time nor memory. It is a value of fixed size.
//
// It keeps, beside the evidence, the least that remains when any two ticks in a
// row are left out. As the evidence of one effect never falls when it was higher
// a tick before, the least over all such stretches obeys a recursion as well, and
// no tick need be remembered for it. The average of the least of each effect is
// at most the least of the averages, so it errs towards the new version.
//
// The zero value is of no use: see Test.StartSparse.
type Sparse struct {
	ticks  int32
	logs   [len(Breakage)]float64 // as in a Process
	before [len(Breakage)]float64 // the same, one tick before
	least  [len(Breakage)]float64 // with the two ticks left out that say most
}

// StartSparse begins the test for one unit. The test must look for as many effects
// as Breakage has.
func (t Test) StartSparse() Sparse {
	var s Sparse
	for i := range s.logs {
		s.logs[i], s.before[i], s.least[i] = math.Inf(-1), math.Inf(-1), math.Inf(-1)
	}
	return s
}

// AgainstRatio are how much n trials, of which some were bad, add to the evidence
// for each effect, in nats, when nothing beside them is known, but that at most
// the share p is bad. Effects are relative odds there: a share has an end.
func (t Test) AgainstRatio(n, bad, p float64) []float64 {
	increments := make([]float64, len(t.Effects))
	null := t.R0 * p
	if n <= 0 || null <= 0 || null >= surely {
		return increments
	}
	for i, r := range t.Effects {
		odds := null / (1 - null) * r / t.R0
		share := min(odds/(1+odds), surely)
		increments[i] = (bad*math.Log(share/null) + (n-bad)*math.Log((1-share)/(1-null))) / max(1, t.Dispersion)
	}
	return increments
}

// surely is the highest share that is weighed.
const surely = 1 - 1e-6

// ObserveAt takes the increments of one tick, counted from 1; it must be later
// than the last. Ticks in between told nothing.
func (s *Sparse) ObserveAt(t Test, tick int, increments []float64) {
	s.pass(t, int32(tick)-1)
	s.step(t, increments)
}

// pass lets the ticks up to one pass in which nothing was seen.
func (s *Sparse) pass(t Test, until int32) {
	const few = 4
	for range 2 { // the stretch that is left out may reach into them
		if s.ticks < until {
			s.step(t, nil)
		}
	}
	if s.ticks < until-few {
		s.jump(t, until-1)
	}
	for s.ticks < until {
		s.step(t, nil)
	}
}

// jump passes many ticks at once. From the third without evidence on, leaving out
// two of them changes nothing.
func (s *Sparse) jump(t Test, until int32) {
	from, to := min(int(s.ticks), t.Horizon), min(int(until), t.Horizon)
	s.ticks = until
	if to > from {
		weight := math.Log((harmonic(to) - harmonic(from)) / harmonic(t.Horizon))
		for i := range s.logs {
			s.logs[i], s.least[i] = addLogs(s.logs[i], weight), addLogs(s.least[i], weight)
		}
	}
	s.before = s.logs
}

// step takes the next tick; nil increments are of one that tells nothing.
func (s *Sparse) step(t Test, increments []float64) {
	last := t.logWeight(int(s.ticks))
	s.ticks++
	weight := t.logWeight(int(s.ticks))
	for i := range s.logs {
		x := 0.0
		if increments != nil {
			x = increments[i]
		}
		without := addLogs(addLogs(s.before[i], last), weight) // this tick and the one before
		s.least[i] = min(addLogs(s.least[i], weight)+x, without)
		s.before[i], s.logs[i] = s.logs[i], addLogs(s.logs[i], weight)+x
	}
}

// Quiet says whether the evidence is surely under one nat: nothing speaks against the
// null hypothesis, which costs less to see than how much does.
func (s *Sparse) Quiet() bool { return slices.Max(s.logs[:]) < 0.5 }

// LogE is the evidence against the null hypothesis up to the last tick that told
// anything, in nats, and the least of it with two ticks in a row left out.
func (s *Sparse) LogE(t Test) (all, least float64) {
	unbegun := t.logUnbegun(int(s.ticks))
	return addLogs(Average(s.logs[:]...), unbegun), addLogs(Average(s.least[:]...), unbegun)
}
