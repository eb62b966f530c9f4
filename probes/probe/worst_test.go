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
	require.Equal(t, []any{7, 6, 5, 4, 3}, worst(7, 6, 5, 4, 3, 2, 1))
	require.Equal(t, 5, said, "nothing is put into words that is not told")
}

func TestOfEquallyBadThingsTheFirstAreNamed(t *testing.T) {
	much := func(name string) float64 { return float64(name[0] - 'a') }
	say := func(name string) any { return name }
	require.Equal(t, []any{"c1", "c2", "c3", "c4", "b1"}, probe.Worst([]string{"b1", "c1", "b2", "c2", "a", "c3", "c4", "b3"}, much, say))
	require.Equal(t, []any{"b1", "b2", "b3", "b4", "b5"}, probe.Worst([]string{"b1", "b2", "b3", "b4", "b5", "b6"}, much, say))
}
