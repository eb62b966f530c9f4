package probe_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestTheWorstFiveAreNamedAndNothingOfTheWell(t *testing.T) {
	ask := func(n int) (float64, any) { return float64(n), n }
	require.Nil(t, probe.Worst([]int{0, 0}, ask))
	require.Equal(t, []any{9, 3}, probe.Worst([]int{3, 0, 9}, ask))
	require.Equal(t, []any{7, 6, 5, 4, 3}, probe.Worst([]int{1, 2, 3, 4, 5, 6, 7}, ask))
}
