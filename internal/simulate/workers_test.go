package simulate

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Workers that tell their version are compared by the real gates, with how unevenly
// their jobs come measured before the rollout, by counts as from their series.
func TestWorkersThatTellTheirVersionAreCompared(t *testing.T) {
	only := func(s Scenario, r Rollout, rps float64) bool {
		return slices.Contains([]string{"0w", "13b", "13c"}, s.Number) && r.Name == "canary 50 %" && rps == 20
	}
	options := Options{Seeds: Dev, Nulls: 4, Probed: 2, Only: only}
	r, err := Run(t.Context(), options)
	require.NoError(t, err)
	require.Len(t, r.Cells, 3)
	for _, c := range r.Cells {
		if c.Scenario.null() {
			require.Equal(t, c.Ours.Runs, c.Ours.Promoted, c.key())
		} else {
			require.Equal(t, c.Ours.Runs, c.Ours.RolledBack, c.key())
		}
	}
	different, all, err := EndToEnd(t.Context(), options, 1)
	require.NoError(t, err)
	require.Equal(t, 3, all)
	require.Empty(t, different)
}

func TestJobsComeInBatches(t *testing.T) {
	var w world
	w.begin(scenarioOf(t, "0w"), Rollouts[3], 20, Dev.source("batches", 0), 0)
	const mean, n = 300, 20000
	for _, mean := range []float64{mean, mean / 10} {
		sum, squares := 0.0, 0.0
		for range n {
			jobs := w.ended(mean)
			sum, squares = sum+jobs, squares+jobs*jobs
		}
		average := sum / n
		require.InEpsilon(t, mean, average, 0.02)
		require.InEpsilon(t, 2*jobsInBatch-1, (squares/n-average*average)/average, 0.1)
	}
	require.InDelta(t, 2*jobsInBatch-1, w.pace().Completions.Value, 1, "as the gates measure it before the rollout")
}

// Jobs of five minutes: the old workers of a rolling update are gone before a new one
// has had time for its first. That is no reason to hold the rollout for ever.
func TestWorkersThatAreNeverComparedHoldNobody(t *testing.T) {
	only := func(s Scenario, r Rollout, rps float64) bool {
		return s.Number == "0w" && r.Name == "rolling" && rps == 2
	}
	r, err := Run(t.Context(), Options{Seeds: Dev, Nulls: 4, Only: only})
	require.NoError(t, err)
	require.Equal(t, 4, r.Cells[0].Ours.Promoted)
}
