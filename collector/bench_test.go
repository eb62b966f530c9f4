package collector

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// busyWindow is two hours of a service with ten pods of 200 series each, read
// every 15 s: 2,000 series and 960,000 samples.
func busyWindow(b *testing.B) (w *Store, end time.Time) {
	b.Helper()
	w, err := Open(b.TempDir(), DefaultConfig(), zap.NewNop())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, w.Close()) })
	var series []*fed
	for i := range 2000 {
		code := "200"
		if i%20 == 0 {
			code = "500"
		}
		series = append(series, &fed{labels: labels.FromStrings(model.MetricNameLabel, "requests_total",
			"code", code, "instance", fmt.Sprint(i%10), "job", "api", "route", fmt.Sprint(i/10))})
	}
	begin := time.Now().Truncate(15 * time.Second).Add(-2 * time.Hour)
	for tick := range 480 {
		app := w.AppenderV2(b.Context())
		for i, s := range series {
			s.ref, err = app.Append(s.ref, s.labels, 0, begin.Add(time.Duration(tick)*15*time.Second).UnixMilli(),
				float64(tick*(i%7)), nil, nil, storage.AppendV2Options{})
			require.NoError(b, err)
		}
		require.NoError(b, app.Commit())
	}
	return w, begin.Add(2 * time.Hour)
}

func BenchmarkWindow(b *testing.B) {
	w, end := busyWindow(b)
	const ratio = `sum(rate(requests_total{job="api",code=~"5.."}[5m])) / sum(rate(requests_total{job="api"}[5m]))`
	ofAPI := labels.MustNewMatcher(labels.MatchEqual, "job", "api")

	b.Run("select five minutes", func(b *testing.B) {
		for b.Loop() {
			series, err := w.Select(b.Context(), end.Add(-5*time.Minute), end, named("requests_total"), ofAPI)
			require.NoError(b, err)
			require.Len(b, series, 2000)
		}
	})
	b.Run("select and count two hours", func(b *testing.B) {
		for b.Loop() {
			series, err := w.Select(b.Context(), end.Add(-2*time.Hour), end, named("requests_total"), ofAPI)
			require.NoError(b, err)
			c := NewCounter(15 * time.Second)
			c.Observe(nil, nil, series)
			for _, s := range series {
				for range c.Deltas(s) {
				}
			}
		}
	})
	b.Run("ratio now", func(b *testing.B) {
		for b.Loop() {
			_, err := w.Query(b.Context(), ratio, end, end, 0)
			require.NoError(b, err)
		}
	})
	b.Run("ratio over two hours", func(b *testing.B) {
		for b.Loop() {
			_, err := w.Query(b.Context(), ratio, end.Add(-2*time.Hour), end, time.Minute)
			require.NoError(b, err)
		}
	})
}
