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

// Ticks at which nothing can have changed are not judged. That changes no outcome but
// the time at which a rollout is promoted that was held at the end of its watch.
func TestWhatIsNotAskedWouldNotHaveDiffered(t *testing.T) {
	numbers := []string{"0", "1", "3", "4a", "4b", "7b", "8e", "12a", "14"}
	rollouts := []string{"canary 10 %", "blue-green"}
	same, rolledBack, blamed := 0, 0, 0
	for i := range Scenarios {
		for _, r := range Rollouts {
			for _, rps := range []float64{2, 20} {
				if !slices.Contains(numbers, Scenarios[i].Number) || !slices.Contains(rollouts, r.Name) {
					continue
				}
				cell := Cell{Scenario: &Scenarios[i], Rollout: r, RPS: rps}
				asked, every := judgedBothWays(t, &cell, 1)
				if every.Promoted > r.Watch {
					require.False(t, asked.differs(every, r.Watch), "%s: %+v and %+v", cell.key(), asked, every)
					continue
				}
				require.Equal(t, every, asked, cell.key())
				same++
				if every.RolledBack > 0 {
					rolledBack++
				}
				if every.Blamed != "" {
					blamed++
				}
			}
		}
	}
	require.Greater(t, same, len(numbers)*2)
	require.Positive(t, rolledBack)
	require.Positive(t, blamed)
}

// What is held because of an instance may be the version's fault after all; and what is
// held for want of evidence may fire yet. Both are seen at once.
func TestARolloutThatIsHeldIsRolledBackNoLater(t *testing.T) {
	late := 0
	for _, c := range []struct {
		number, rollout string
		rps             float64
	}{{"4c", "blue-green", 0.5}, {"11a", "canary 5 %", 20}} {
		s := slices.IndexFunc(Scenarios, func(s Scenario) bool { return s.Number == c.number })
		r := slices.IndexFunc(Rollouts, func(r Rollout) bool { return r.Name == c.rollout })
		for run := range 6 {
			asked, every := judgedBothWays(t, &Cell{Scenario: &Scenarios[s], Rollout: Rollouts[r], RPS: c.rps}, run)
			if every.Promoted == 0 && every.RolledBack > Rollouts[r].Watch { // it was held at the end of its watch
				require.Equal(t, every, asked, "%s run %d", c.number, run)
				late++
			}
		}
	}
	require.Positive(t, late)
}

// judgedBothWays judges one run where it is worth asking, and at every tick.
func judgedBothWays(t *testing.T, cell *Cell, run int) (asked, every Outcome) {
	t.Helper()
	for _, out := range []*Outcome{&asked, &every} {
		var w world
		w.begin(cell.Scenario, cell.Rollout, cell.RPS, Dev.source(cell.key(), run), run)
		o, err := newOurs(&w, nil)
		require.NoError(t, err)
		o.everyTick = out == &every
		*out, err = o.judge(t.Context())
		require.NoError(t, err)
	}
	return asked, every
}

// Counts that are fed to the gates decide as the series do from which a window's
// counts are gathered.
func TestTheCountSeamEqualsTheWhole(t *testing.T) {
	different, all, err := EndToEnd(t.Context(), Options{Seeds: Dev, Only: some}, 1)
	require.NoError(t, err)
	require.Positive(t, all)
	require.Empty(t, different)
}
