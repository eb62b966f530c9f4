package probe_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A bound belongs to its bucket, and what is above the last one is counted only.
func TestAHistogramCountsUpToItsBounds(t *testing.T) {
	d := probe.NewHistogram(1, 2, 5)
	for _, v := range []float64{0.5, 1, 1.5, 5, 7} {
		d.Observe(v)
	}
	require.Equal(t, probe.Distribution{Count: 5, Sum: 15, Points: []probe.Point{{At: 1, Value: 2}, {At: 2, Value: 3}, {At: 5, Value: 4}}}, d)

	before := d.Clone()
	d.Observe(0)
	require.Equal(t, 2.0, before.Points[0].Value, "a copy keeps what it was")
}
