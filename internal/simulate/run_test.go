package simulate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/verdict"
)

// A page is the same however many processors made it: it can be compared with the
// one before.
func TestTheSameSeedsGiveTheSamePage(t *testing.T) {
	pages := make([]map[string]string, 2)
	for i, workers := range []int{1, 3} {
		r, err := Run(t.Context(), Options{Seeds: Dev, Nulls: 3, Others: 3, Probed: 2, Workers: workers, Only: some})
		require.NoError(t, err)
		pages[i] = r.Pages(nil, 0)
	}
	require.Equal(t, pages[0], pages[1])
	require.Contains(t, pages[0]["verdict-quality.md"], "errors 50 times the usual 0.2 %")
	require.Contains(t, pages[0]["verdict-quality-20.svg"], "Kayenta, by confidence")
	require.Greater(t, strings.Count(pages[0]["verdict-quality.tsv"], "\n"), 8*10)
}

func TestDevelopmentSeedsAreNotThePublishedOnes(t *testing.T) {
	require.NotEqual(t, Dev.source("0", 0).Uint64(), Published.source("0", 0).Uint64())
	require.NotEqual(t, Dev.source("0", 0).Uint64(), Dev.source("0", 1).Uint64())
	require.NotEqual(t, Dev.source("0", 0).Uint64(), Dev.source("1", 0).Uint64())
}

// What must hold of the judge at any time: a fault that is plain is found, a healthy
// rollout is promoted.
func TestWhatTheJudgeMakesOfPlainCases(t *testing.T) {
	r, err := Run(t.Context(), Options{Seeds: Dev, Nulls: 6, Others: 6, Probed: 2, Only: some})
	require.NoError(t, err)
	for _, c := range r.Cells {
		switch m := c.Ours; {
		case c.Scenario.Number == "0":
			require.Equal(t, m.Runs, m.Promoted, c.key())
			require.Zero(t, m.RolledBack, c.key())
		case c.Scenario.Label == Rollback:
			require.Equal(t, m.Runs, m.RolledBack, c.key())
		default:
			require.Zero(t, m.RolledBack, c.key())
		}
	}
}

func TestTheRandomNumbersHaveTheirMeanAndVariance(t *testing.T) {
	random := Dev.source("poisson", 0)
	for _, mean := range []float64{0.01, 0.7, 4, 11, 60, 2900} {
		p := poissonOf(mean)
		const n = 40000
		sum, squares := 0.0, 0.0
		for range n {
			x := p.draw(random)
			sum, squares = sum+x, squares+x*x
		}
		average := sum / n
		require.InEpsilon(t, mean, average, 0.12/min(1, mean*10)/max(1, mean/4), "%g", mean)
		require.InEpsilon(t, mean, squares/n-average*average, 0.15, "%g", mean)
	}
}

func TestTheSharesOfTheBucketsAreThoseOfTheDistribution(t *testing.T) {
	for _, c := range []condition{usual, {slower: 3.5}, {slower: 1, tail: 0.02}} {
		sum := 0.0
		for _, share := range c.shares() {
			sum += share
		}
		require.InDelta(t, 1, sum, 1e-9)
	}
	require.InDelta(t, 0.99, within(usualP99, 1), 1e-9)
	require.Zero(t, usual.slowShare())
	require.InDelta(t, 0.02, condition{slower: 1, tail: 0.02}.slowShare(), 0.001)
}

// What an arm did is split over its instances without a request lost.
func TestInstancesAddUpToTheirArm(t *testing.T) {
	var w world
	w.begin(&Scenarios[3], Rollouts[3], 20, Dev.source("pods", 0), 0)
	for n := 1; n <= 40; n++ {
		m := w.reach(n)
		var requests, errors float64
		for _, pod := range w.byPod(n) {
			requests, errors = requests+pod.Requests, errors+pod.Errors
			require.LessOrEqual(t, pod.Errors, pod.Requests)
			require.GreaterOrEqual(t, pod.Errors, 0.0)
		}
		require.Equal(t, m.new.Requests, requests)
		require.Equal(t, m.new.Errors, errors)
	}
}

func TestTheIntervalOfWilson(t *testing.T) {
	low, high := wilson(0, 4000)
	require.Zero(t, low)
	require.InDelta(t, 0.00096, high, 0.00001, "none of 4,000 is less than one in a thousand")
	low, high = wilson(50, 100)
	require.InDelta(t, 0.4038, low, 0.0001)
	require.InDelta(t, 0.5962, high, 0.0001)
}

func TestAMeasureCountsWhatWasRight(t *testing.T) {
	var m Measure
	s := &Scenario{Label: Rollback, Onset: time.Minute}
	m.add(s, Outcome{RolledBack: 3 * time.Minute, Fired: true})
	m.add(s, Outcome{AtEnd: verdict.HoldOn, Held: true, Fired: true, Blamed: "pod"})
	m.add(s, Outcome{AtEnd: verdict.Promote, Promoted: 15 * time.Minute})
	require.Equal(t, Measure{
		Runs: 3, RolledBack: 1, Promoted: 1, HeldAtEnd: 1, Held: 1, Blamed: 1, Misblamed: 1,
		Delays: []time.Duration{2 * time.Minute}, Promotions: []time.Duration{15 * time.Minute},
	}, m)
}
