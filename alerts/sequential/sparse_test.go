package sequential

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// a sparse story: increments by tick, most of them none.
func sparseStory(random *rand.Rand, test Test, length int) [][]float64 {
	story := make([][]float64, length)
	for i := range story {
		if random.Float64() < 0.3 {
			story[i] = test.AgainstRatio(20, math.Floor(4*random.Float64()), 0.03)
		}
	}
	return story
}

func (t Test) observeAll(story [][]float64, skip int) Sparse {
	s := t.StartSparse()
	for i, increments := range story {
		if increments != nil && (skip < 0 || i != skip && i != skip+1) {
			s.ObserveAt(t, i+1, increments)
		}
	}
	s.pass(t, int32(len(story)))
	return s
}

func TestASparseProcessIsAProcess(t *testing.T) {
	test := Test{R0: 1.5, Effects: Breakage[:], Horizon: 120}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var ticks []Tick
		s := test.StartSparse()
		for i := range 140 { // beyond the horizon
			var tick Tick
			if random.Float64() < 0.2 {
				tick = Tick{Events: math.Floor(3 * random.Float64()), Exposure: 10, ControlEvents: math.Floor(3 * random.Float64()), ControlExposure: 30}
			}
			ticks = append(ticks, tick)
			if tick.informative() {
				s.ObserveAt(test, i+1, test.Increments(tick))
			}
		}
		s.pass(test, 140)
		all, _ := s.LogE(test)
		require.InDelta(t, test.LogE(ticks), all, 1e-9, "seed %d", seed)
	}
}

func TestNoMinuteAloneIsTheEvidence(t *testing.T) {
	one := Test{R0: 1.5, Effects: []float64{5, 5, 5, 5, 5, 5}, Horizon: 60} // as one effect: the least is exact
	many := Test{R0: 1.5, Effects: Breakage[:], Horizon: 60}
	for seed := range uint64(30) {
		for _, test := range []Test{one, many} {
			story := sparseStory(rand.New(rand.NewPCG(seed, 2)), test, 60)
			exact := math.Inf(1)
			for skip := range len(story) - 1 {
				s := test.observeAll(story, skip)
				all, _ := s.LogE(test)
				exact = min(exact, all)
			}
			s := test.observeAll(story, -1)
			all, least := s.LogE(test)
			require.LessOrEqual(t, least, all+1e-9)
			require.LessOrEqual(t, least, exact+1e-9, "seed %d", seed)
			if test.Effects[0] == 5 {
				require.InDelta(t, exact, least, 1e-6, "seed %d", seed)
			}
		}
	}
}

func TestAShareThatIsKnownIsExcusedOneAndAHalfTimes(t *testing.T) {
	test := Test{R0: 1.5, Effects: Breakage[:], Horizon: 60}
	random := rand.New(rand.NewPCG(3, 3))
	const p, runs = 0.02, 500
	fired := 0
	for range runs {
		s := test.StartSparse()
		for tick := range 60 {
			bad := 0.0
			for range 20 {
				if random.Float64() < 1.5*p {
					bad++
				}
			}
			s.ObserveAt(test, tick+1, test.AgainstRatio(20, bad, p))
			if all, _ := s.LogE(test); all >= Needed(0.05) {
				fired++
				break
			}
		}
	}
	require.LessOrEqual(t, fired, int(0.05*runs), "by Ville's inequality, looked at after each tick")
	require.Equal(t, make([]float64, 6), test.AgainstRatio(10, 10, 0.7), "nothing is 1.5 times as much as that")
}
