// Package sequential holds the anytime-valid tests that compare two versions of
// a service: one may look after every scrape, and stop whenever one likes,
// without more false alarms than alpha in all.
//
// Each test is an e-process: a number that begins at 1, that is expected not to
// grow while the null hypothesis holds, and that by Ville's inequality reaches
// 1/alpha with a probability of at most alpha then. It is kept as a logarithm, in
// nats. What is compared is conditioned on: of the failures that both arms had in
// one tick, how many fell on the new version. Whatever changes for both arms at
// once (load, a dependency that is ill, the split of the traffic) cancels.
package sequential

import "math"

// Harm and Slowness are the effects that the tests look for: so many times as
// many failures, or so much of the completions.
var (
	Harm     = []float64{1.5, 2, 3, 5, 10, 30}
	Slowness = []float64{0.9, 0.75, 0.5, 0.25, 0.05}
)

// Needed is what LogE must reach at alpha.
func Needed(alpha float64) float64 { return -math.Log(alpha) }

// A Tick is what two arms counted in one tick: events (failures, completions),
// and to how much they were exposed (requests, seconds of workers).
type Tick struct {
	Events, Exposure               float64 // of the new version
	ControlEvents, ControlExposure float64 // of the version it is compared with
}

// informative says whether the tick tells anything: both arms were exposed, and
// something happened.
func (t Tick) informative() bool {
	return t.Exposure > 0 && t.ControlExposure > 0 && t.Events+t.ControlEvents > 0
}

// A Test says what is tested.
type Test struct {
	// R0 is the relative risk that is still excused: the null hypothesis is that
	// the new version has at most (of Slowness: at least) R0 times the control's
	// rate. At 1 the test is exact, above it to first order.
	R0 float64

	// Effects are the relative rates that are looked for, each with the same weight.
	// All lie beyond R0: evidence for one between 1 and R0 would be expected to grow
	// under what is excused.
	Effects []float64

	// Horizon is for how many ticks the alpha must last. An effect may begin at
	// any of them: good ticks before it are no debt, and cost log Horizon at most.
	Horizon int

	// Dispersion is the variance of the events over their mean, as measured between
	// arms that are alike; evidence is divided by it. Under 1 it counts as 1.
	Dispersion float64
}

// A Process is a Test under way. The zero value is of no use: see Start.
//
// The evidence for each effect is kept as it is, not as a logarithm, as long as it
// is a number that can be: a tick costs one exponential for each effect then.
type Process struct {
	test    Test
	values  []float64 // of each effect, the sum over all beginnings
	logs    []float64 // of each effect whose value is too large or too small a number, its logarithm; else 0
	beyond  int       // how many are
	ticks   int
	total   float64 // harmonic(test.Horizon)
	scratch *scratch
}

const (
	// A value from huge on is kept by its logarithm, and one below tiny once nothing
	// begins any more: before that what is left is nothing beside what begins next.
	huge, tiny = 1e150, 1e-300
	// The same for logarithms, and what a single tick adds at most to one that is none.
	steep, deep = 300, -600
)

// Start begins the test.
func (t Test) Start() *Process { return t.StartMany(1)[0] }

// StartMany begins the test several times, on the sides of one story: what depends on
// the exposure alone is worked out once for all of them. No two of them may be used
// at the same time.
func (t Test) StartMany(n int) []*Process {
	processes, shared, total := make([]*Process, n), newScratch(t), harmonic(t.Horizon)
	for i := range processes {
		processes[i] = &Process{test: t, values: make([]float64, len(t.Effects)), logs: make([]float64, len(t.Effects)), total: total, scratch: shared}
	}
	return processes
}

// A scratch is what observing one tick takes, and what is the same for the next one.
type scratch struct {
	ratios   []float64 // of each effect, the logarithm of how many times R0 it is
	gains    []float64 // of each effect, in one tick
	tilts    []float64 // of each effect, what each event costs it, at the exposures
	exposure float64
	control  float64
	ticks    int     // that have passed,
	unbegun  float64 // and the weight of what begins after them
}

func newScratch(t Test) *scratch {
	n := len(t.Effects)
	all := make([]float64, 3*n)
	s := &scratch{ratios: all[:n:n], gains: all[n : 2*n : 2*n], tilts: all[2*n:]}
	for i, r := range t.Effects {
		s.ratios[i] = math.Log(r / t.R0)
	}
	return s
}

// add adds to the gains what the strata add to the evidence: an event of either arm
// falls on the new version with the share r*x/(r*x+c) when its rate is r times the
// control's, by whose logarithms
//
//	log(share/null) = log(r/R0) + tilt, log((1-share)/(1-null)) = tilt,
//	tilt = log((R0*x+c)/(r*x+c)).
func (s *scratch) add(t Test, strata []Tick) (informative bool) {
	clear(s.gains)
	for _, tick := range strata {
		if !tick.informative() {
			continue
		}
		informative = true
		if tick.Exposure != s.exposure || tick.ControlExposure != s.control {
			s.exposure, s.control = tick.Exposure, tick.ControlExposure
			for i, r := range t.Effects {
				s.tilts[i] = math.Log((t.R0*s.exposure + s.control) / (r*s.exposure + s.control))
			}
		}
		each, all := tick.Events/max(1, t.Dispersion), (tick.Events+tick.ControlEvents)/max(1, t.Dispersion)
		for i := range s.gains {
			s.gains[i] += each*s.ratios[i] + all*s.tilts[i]
		}
	}
	return informative
}

// Increments are how much the tick adds to the evidence for each effect, in nats;
// those of strata that have the same effect are added up.
func (t Test) Increments(strata ...Tick) []float64 {
	s := newScratch(t)
	s.add(t, strata)
	return s.gains
}

// Observe takes one tick, by strata if it is told apart by them (routes).
func (p *Process) Observe(strata ...Tick) {
	p.ticks++
	weight := 0.0
	if p.ticks <= p.test.Horizon {
		weight = 1 / (float64(p.ticks) * p.total)
	}
	if !p.scratch.add(p.test, strata) && p.beyond == 0 {
		for i := range p.values {
			p.values[i] += weight
		}
		return
	}
	for i, gain := range p.scratch.gains {
		value := p.values[i] + weight
		next := value * math.Exp(gain)
		if p.logs[i] == 0 && gain < steep && value < huge && (next > tiny || p.ticks < p.test.Horizon) {
			p.values[i] = max(next, tiny)
		} else {
			p.leap(i, weight, gain)
		}
	}
}

// leap takes one tick for one effect by logarithms.
func (p *Process) leap(i int, weight, gain float64) {
	l := p.logs[i]
	if l == 0 {
		l = math.Log(p.values[i])
	} else {
		p.beyond--
	}
	l = addLogs(l, math.Log(weight)) + gain
	if l > steep || l < deep && p.ticks >= p.test.Horizon {
		p.values[i], p.logs[i] = 0, l
		p.beyond++
	} else {
		p.values[i], p.logs[i] = max(math.Exp(l), tiny), 0
	}
}

// LogE is the evidence against the null hypothesis so far, in nats.
func (p *Process) LogE() float64 {
	n, sum := float64(len(p.values)), 0.0
	if n == 0 {
		return 0
	}
	for _, v := range p.values {
		sum += v / n
	}
	if p.scratch.ticks != p.ticks || p.ticks == 0 {
		p.scratch.ticks, p.scratch.unbegun = p.ticks, math.Exp(p.test.logUnbegun(p.ticks))
	}
	logE := math.Log(sum + p.scratch.unbegun)
	for _, l := range p.logs {
		if l != 0 {
			logE = addLogs(logE, l-math.Log(n))
		}
	}
	return logE
}

// logWeight is the weight of effects that begin in a tick, counted from 1.
func (t Test) logWeight(tick int) float64 {
	if tick < 1 || tick > t.Horizon {
		return math.Inf(-1)
	}
	return -math.Log(float64(tick) * harmonic(t.Horizon))
}

// logUnbegun is the weight of all effects that begin after a tick.
func (t Test) logUnbegun(tick int) float64 {
	if tick >= t.Horizon {
		return math.Inf(-1)
	}
	return math.Log1p(-harmonic(tick) / harmonic(t.Horizon))
}

// harmonic is 1 + 1/2 + ... + 1/n: beyond the first of them to the last figure by
// Euler and Maclaurin.
func harmonic(n int) float64 {
	const summed, euler = 32, 0.57721566490153286
	if n > summed {
		x := float64(n)
		return math.Log(x) + euler + 1/(2*x) - 1/(12*x*x) + 1/(120*x*x*x*x)
	}
	sum := 0.0
	for i := n; i > 0; i-- {
		sum += 1 / float64(i)
	}
	return sum
}

// LogE is the evidence of a sequence of ticks, each one stratum.
func (t Test) LogE(ticks []Tick) float64 {
	p := t.Start()
	for _, tick := range ticks {
		p.Observe(tick)
	}
	return p.LogE()
}

// Average merges the evidence of several tests of one hypothesis, however they
// depend on each other; it is admissible, and never less than Bonferroni's.
func Average(logs ...float64) float64 {
	most := math.Inf(-1)
	for _, l := range logs {
		most = max(most, l)
	}
	if math.IsInf(most, 0) {
		return most
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum/float64(len(logs)))
}

// addLogs is log(exp(a) + exp(b)).
func addLogs(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
