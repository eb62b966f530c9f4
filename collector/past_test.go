package collector

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// asking counts how often a window was asked.
type asking struct {
	Window

	times int
}

func (a *asking) Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]Series, error) {
	a.times++
	return a.Window.Select(ctx, from, to, matchers...)
}

// A window that a daemon holds is read beside it, and stays as it is.
func TestThePastIsReadWhileItsOwnerWritesOn(t *testing.T) {
	dir := t.TempDir()
	store, err := Open(dir, DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	put := func(from, to int) {
		for i := from; i < to; i++ {
			require.NoError(t, write(store, begin.Add(time.Duration(i)*time.Second), float64(i), "up"))
		}
	}
	put(0, 100)
	past, err := OpenPast(dir, time.Now(), zap.NewNop())
	require.NoError(t, err)
	put(100, 110)
	for range 2 { // it can be asked again and again
		series, err := past.Select(t.Context(), begin.Add(9*time.Second), begin.Add(20*time.Second), named("up"))
		require.NoError(t, err)
		require.Len(t, series[0].Points, 11)
		require.Equal(t, 10.0, series[0].Points[0].V)
		matrix, err := past.Query(t.Context(), "rate(up[10s])", begin.Add(30*time.Second), begin.Add(40*time.Second), 5*time.Second)
		require.NoError(t, err)
		require.Len(t, matrix[0].Floats, 3)
		require.InDelta(t, 1, matrix[0].Floats[0].F, 1e-9)
	}
	require.NoError(t, past.Close())
	series, err := store.Select(t.Context(), begin.Add(-time.Second), time.Now(), named("up"))
	require.NoError(t, err)
	require.Len(t, series[0].Points, 110, "the owner lost nothing")
	require.NoError(t, store.Close())

	_, err = OpenPast(t.TempDir(), time.Now(), zap.NewNop())
	require.ErrorContains(t, err, "name the data_dir of the daemon")
}
