package simulate

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func repeated(value float64, n int) []float64 { return slices.Repeat([]float64{value}, n) }

// The decisions, and the interval, are those that users of Kayenta reported.
func TestKayentaPassesSevenBadMinutesOfTen(t *testing.T) {
	k := kayenta{confidence: 0.98, tolerance: 0.25}
	control := repeated(1, 10)
	seven := append(repeated(100, 7), repeated(1, 3)...)
	test, ok := mannWhitney(slices.Sorted(slices.Values(seven)), control, 0.98)
	require.True(t, ok)
	require.InDelta(t, 6.8e-5, test.low, 1e-6)
	require.InDelta(t, 99, test.high, 1e-9)
	require.InDelta(t, 99, test.estimate, 1e-3)
	require.False(t, k.isHigh(seven, control))
	require.True(t, k.isHigh(append(repeated(100, 8), repeated(1, 2)...), control))
}

func TestKayentaPassesWhatIsTheSameOrLower(t *testing.T) {
	k := kayenta{confidence: 0.98, tolerance: 0.25}
	high := []float64{20.8, 21.7, 19.7, 15.8, 19.5, 19.3, 22.9, 17.1, 18.6, 23.4, 24, 22.6, 21.9, 21.6, 20, 22.1, 16.4, 21.5, 21.1, 17.7}
	low := []float64{11.1, 9.9, 7, 7.3, 9.7, 9.6, 6.1, 12.3, 10.3, 8.6, 9.9, 10.3, 14.2, 10.9, 10.2, 11.7, 10.9, 12.8, 8.1, 8.4}
	require.True(t, k.isHigh(high, low))
	require.False(t, k.isHigh(low, high))
	require.False(t, k.isHigh(low, low))
	require.False(t, k.isHigh(repeated(0, 15), repeated(0, 15)))
	require.True(t, kayenta{confidence: 0.98, tolerance: 0.25, allowed: 1.5}.isHigh(high, low))
	require.False(t, kayenta{confidence: 0.98, tolerance: 0.25, allowed: 3}.isHigh(high, low))
}
