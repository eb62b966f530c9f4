package simulate

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// some are cells of every kind, few enough for a test.
func some(s Scenario, r Rollout, rps float64) bool {
	return slices.Contains([]string{"0", "4a", "6", "8e", "14", "14b"}, s.Number) && slices.Contains([]string{"canary 10 %", "blue-green"}, r.Name) && rps == 20
}

// Ticks at which nothing can have changed are not judged. That changes no outcome.
func TestWhatIsNotAskedWouldNotHaveDiffered(t *testing.T) {
	for i := range Scenarios {
		for _, r := range Rollouts {
			for _, rps := range Traffics {
				if !some(Scenarios[i], r, rps) {
					continue
				}
				cell := Cell{Scenario: &Scenarios[i], Rollout: r, RPS: rps}
				var outcomes [2]Outcome
				for j := range outcomes {
					var w world
					w.begin(cell.Scenario, r, rps, Dev.source(cell.key(), 1), 1)
					o, err := newOurs(&w, nil)
					require.NoError(t, err)
					o.everyTick = j == 1
					outcomes[j], err = o.judge(t.Context())
					require.NoError(t, err)
				}
				require.False(t, outcomes[0].differs(outcomes[1], r.Watch), "%s: %+v and %+v", cell.key(), outcomes[0], outcomes[1])
			}
		}
	}
}

// Counts that are fed to the gates decide as the series do from which a window's
// counts are gathered.
func TestTheCountSeamEqualsTheWhole(t *testing.T) {
	different, all, err := EndToEnd(t.Context(), Options{Seeds: Dev, Only: some}, 1)
	require.NoError(t, err)
	require.Positive(t, all)
	require.Empty(t, different)
}
