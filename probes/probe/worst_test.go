package probe_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestTheWorstFiveAreNamedAndNothingOfTheWell(t *testing.T) {
	said := 0
	worst := func(items ...int) []any {
		said = 0
		return probe.Worst(items, func(n int) float64 { return float64(n) }, func(n int) any { said++; return n })
	}
	require.Nil(t, worst(0, 0))
	require.Equal(t, []any{9, 3}, worst(3, 0, 9))
	require.Equal(t, []any{7, 6, 5, 4, 3}, worst(1, 2, 3, 4, 5, 6, 7))
	require.Equal(t, 5, said, "nothing is put into words that is not told")
}
