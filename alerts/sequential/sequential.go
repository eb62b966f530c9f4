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
type Process struct {
	test  Test
	logs  []float64 // of each effect, the sum over all beginnings
	gains []float64 // of each effect, in one tick
	ticks int
}

// Start begins the test.
func (t Test) Start() *Process {
	p := &Process{test: t, logs: make([]float64, len(t.Effects)), gains: make([]float64, len(t.Effects))}
	for i := range p.logs {
		p.logs[i] = math.Inf(-1)
	}
	return p
}

// share is the part of the events that falls on the new version when its rate is
// r times the control's.
func (t Tick) share(r float64) float64 {
	return r * t.Exposure / (r*t.Exposure + t.ControlExposure)
}

// Increments are how much the tick adds to the evidence for each effect, in nats;
// those of strata that have the same effect are added up.
func (t Test) Increments(strata ...Tick) []float64 {
	increments := make([]float64, len(t.Effects))
	t.add(increments, strata)
	return increments
}

// add is Increments into a slice that is there already.
func (t Test) add(increments []float64, strata []Tick) {
	for _, tick := range strata {
		if !tick.informative() {
			continue
		}
		null := tick.share(t.R0)
		for i, r := range t.Effects {
			share := tick.share(r)
			increments[i] += (tick.Events*math.Log(share/null) + tick.ControlEvents*math.Log((1-share)/(1-null))) / max(1, t.Dispersion)
		}
	}
}

// Observe takes one tick, by strata if it is told apart by them (routes).
func (p *Process) Observe(strata ...Tick) {
	p.ticks++
	weight := p.test.logWeight(p.ticks)
	clear(p.gains)
	p.test.add(p.gains, strata)
	for i, increment := range p.gains {
		p.logs[i] = addLogs(p.logs[i], weight) + increment
	}
}

// LogE is the evidence against the null hypothesis so far, in nats.
func (p *Process) LogE() float64 {
	if len(p.logs) == 0 {
		return 0
	}
	sum := math.Inf(-1)
	for _, l := range p.logs {
		sum = addLogs(sum, l)
	}
	sum -= math.Log(float64(len(p.logs)))
	return addLogs(sum, p.test.logUnbegun(p.ticks))
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
	sum := math.Inf(-1)
	for _, l := range logs {
		sum = addLogs(sum, l)
	}
	return sum - math.Log(float64(len(logs)))
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
