package sequential

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Divergences of a Bernoulli trial from 1 %, and how many trials prove it at
// 1/1000 with two nats to spare, as tables of the field have them: as the exposure
// of the control grows the conditional test tends to them.
func TestTheEvidenceOfATickIsTheLogLikelihoodRatio(t *testing.T) {
	test := Test{R0: 1, Effects: []float64{2}, Horizon: 1}
	tick := Tick{Events: 8, Exposure: 100, ControlEvents: 4, ControlExposure: 100}
	// Of twelve failures eight fell on half of the requests; 2/3 are expected at twice the rate.
	want := 8*math.Log((2.0/3)/0.5) + 4*math.Log((1.0/3)/0.5)
	require.InDelta(t, want, test.Increments(tick)[0], 1e-12)
	require.InDelta(t, want, test.LogE([]Tick{tick}), 1e-12, "with a horizon of one tick nothing is kept back")

	test.Dispersion = 5
	require.InDelta(t, want/5, test.Increments(tick)[0], 1e-12)
	test.Dispersion = 0.2
	require.InDelta(t, want, test.Increments(tick)[0], 1e-12, "nothing is steadier than chance")
	require.Zero(t, test.Increments(Tick{Events: 3, Exposure: 10})[0], "one arm alone tells nothing")
}

func TestStrataWithTheSameEffectAreAdded(t *testing.T) {
	test := Test{R0: 1.5, Effects: Harm, Horizon: 10}
	a, b := Tick{3, 100, 1, 300}, Tick{9, 20, 30, 60}
	sum := test.Increments(a, b)
	for i, x := range test.Increments(a) {
		require.InDelta(t, x+test.Increments(b)[i], sum[i], 1e-12)
	}
}

func TestAveragingIsNeverLessThanBonferroni(t *testing.T) {
	require.InDelta(t, math.Log((math.E+1)/2), Average(1, 0), 1e-12)
	require.InDelta(t, 1000-math.Log(3), Average(1000, 0, -1000), 1e-9, "no overflow")
	require.GreaterOrEqual(t, Average(7, 0, 0, 0), 7-math.Log(4))
}

// binomial draws by counting: n is small here.
func binomial(random *rand.Rand, n int, p float64) (hits float64) {
	for range n {
		if random.Float64() < p {
			hits++
		}
	}
	return hits
}

// watch simulates two arms and returns at which tick the test reached 1/alpha, or -1.
func watch(random *rand.Rand, test Test, alpha float64, ticks, n, controlN int, rate func(tick int) (p, control float64)) int {
	process := test.Start()
	for i := range ticks {
		p, control := rate(i)
		process.Observe(Tick{binomial(random, n, p), float64(n), binomial(random, controlN, control), float64(controlN)})
		if process.LogE() >= Needed(alpha) {
			return i
		}
	}
	return -1
}

// Looking at each of 480 ticks does not multiply the false alarms: not even at the
// boundary, nor where the rate of both arms moves together.
func TestLookingOftenRaisesNoFalseAlarms(t *testing.T) {
	const watches, alpha = 300, 0.05
	random := rand.New(rand.NewPCG(1, 2))
	for name, rate := range map[string]func(int) (float64, float64){
		"steady":               func(int) (float64, float64) { return 0.01, 0.01 },
		"an incident for both": func(i int) (float64, float64) { p := 0.01 + 0.2*float64(i/40%2); return p, p },
	} {
		alarms := 0
		for range watches {
			if watch(random, Test{R0: 1, Effects: Harm, Horizon: 480}, alpha, 480, 30, 270, rate) >= 0 {
				alarms++
			}
		}
		require.LessOrEqual(t, float64(alarms)/watches, alpha, name)
	}
}

// A tenfold step of a canary with a tenth of 200 requests a second, in scrapes of
// 15 s; and one that begins after half an hour, which the good time before must
// not pay for.
func TestAStepIsFoundWhenItBegins(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	test := Test{R0: 1.5, Effects: Harm, Horizon: 480}
	for _, begins := range []int{0, 120} {
		for range 20 {
			at := watch(random, test, 0.001, 480, 300, 2700, func(i int) (float64, float64) {
				if i < begins {
					return 0.002, 0.002
				}
				return 0.02, 0.002
			})
			require.GreaterOrEqual(t, at, begins)
			require.Less(t, at, begins+8, "within two minutes")
		}
	}
}

// The e-process is a supermartingale: its mean over many watches, at any tick, is
// at most 1 under the null hypothesis.
func TestTheMeanOfEUnderTheNullIsAtMostOne(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const watches = 4000
	sum := 0.0
	for range watches {
		process := Test{R0: 1, Effects: []float64{1.5, 2}, Horizon: 20}.Start()
		for range 20 {
			process.Observe(Tick{binomial(random, 10, 0.1), 10, binomial(random, 40, 0.1), 40})
		}
		sum += math.Exp(process.LogE())
	}
	require.Less(t, sum/watches, 1.1)
}

// byLogarithms is the evidence of a sequence of ticks as it is written down: every
// sum is one of logarithms, and nothing is too large or too small.
func byLogarithms(t Test, ticks []Tick) float64 {
	logs := make([]float64, len(t.Effects))
	for i := range logs {
		logs[i] = math.Inf(-1)
	}
	for n, tick := range ticks {
		weight := t.logWeight(n + 1)
		for i, r := range t.Effects {
			increment := 0.0
			if tick.informative() {
				share := func(r float64) float64 { return r * tick.Exposure / (r*tick.Exposure + tick.ControlExposure) }
				increment = tick.Events*math.Log(share(r)/share(t.R0)) + tick.ControlEvents*math.Log((1-share(r))/(1-share(t.R0)))
			}
			logs[i] = addLogs(logs[i], weight) + increment/max(1, t.Dispersion)
		}
	}
	return addLogs(Average(logs...), t.logUnbegun(len(ticks)))
}

// Evidence that is overwhelming for a while, and gone then, ends neither as infinite
// nor as nothing.
func TestTheEvidenceIsThatOfItsLogarithms(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 4))
		test := Test{R0: 1.5, Effects: Harm, Horizon: 60, Dispersion: 1 + float64(seed%3)}
		process := test.Start()
		var ticks []Tick
		for i := range 80 { // beyond the horizon
			scale := math.Pow(10, 4*random.Float64())
			tick := Tick{math.Floor(scale * random.Float64()), 3 * scale, math.Floor(scale * random.Float64() * float64(seed%5)), 9 * scale}
			if random.Float64() < 0.2 {
				tick = Tick{}
			}
			ticks = append(ticks, tick)
			process.Observe(tick)
			want := byLogarithms(test, ticks)
			require.InDelta(t, want, process.LogE(), 1e-9*max(1, math.Abs(want)), "seed %d tick %d", seed, i)
		}
	}
}

func FuzzTheEvidenceIsANumber(f *testing.F) {
	f.Add(3.0, 100.0, 1.0, 300.0)
	f.Add(0.0, 0.0, 0.0, 0.0)
	f.Add(1e12, 1.0, 1e12, 1e-9)
	f.Fuzz(func(t *testing.T, events, exposure, controlEvents, controlExposure float64) {
		for _, x := range []float64{events, exposure, controlEvents, controlExposure} {
			if math.IsNaN(x) || x < 0 || x > 1e15 || x != 0 && x < 1e-9 {
				return // no count
			}
		}
		for _, effects := range [][]float64{Harm, Slowness} {
			if e := (Test{R0: 1, Effects: effects, Horizon: 10}).LogE([]Tick{{events, exposure, controlEvents, controlExposure}}); math.IsNaN(e) || math.IsInf(e, 1) {
				t.Fatal(e)
			}
		}
	})
}

// mixture is the other test of the same hypothesis: Lindon and Malek's, which
// mixes over all effects by a Dirichlet prior of concentration k (NeurIPS 2022), in
// place of a grid of effects in the bad direction.
func mixture(k float64, counts, shares []float64) (logE float64) {
	lgamma := func(x float64) float64 { y, _ := math.Lgamma(x); return y }
	n := 0.0
	for i, x := range counts {
		prior := k * shares[i]
		logE += lgamma(prior+x) - lgamma(prior) - x*math.Log(shares[i])
		n += x
	}
	return logE + lgamma(k) - lgamma(k+n)
}

// The figures are those that the library savvi 0.3 documents for its examples.
func TestAgainstThePublishedMixture(t *testing.T) {
	require.InDelta(t, 0.045579631759, math.Exp(-mixture(100, []float64{148, 62}, []float64{0.8, 0.2})), 1e-9)
	require.InDelta(t, 0.048455911060, math.Exp(-mixture(100, []float64{40, 129, 233}, []float64{0.1, 0.4, 0.5})), 1e-9)

	// Ours knows in which direction it looks, and pays for its beginnings: on the data
	// with which the published test rejects it is within two nats of it.
	ours := Test{R0: 1, Effects: Harm, Horizon: 1}.LogE([]Tick{{Events: 62, Exposure: 20, ControlEvents: 148, ControlExposure: 80}})
	require.InDelta(t, mixture(100, []float64{148, 62}, []float64{0.8, 0.2}), ours, 2)
	require.Greater(t, ours, Needed(0.05))
}
