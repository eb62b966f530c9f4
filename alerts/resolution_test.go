package alerts

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
)

func TestWhatTheBucketsCannotResolveIsKnownFromTheFirstScrape(t *testing.T) {
	service := apiService()
	gates := Gates(Config{}, service)
	for name, c := range map[string]struct {
		counts map[string]string // by le
		says   string
		known  bool
	}{
		"fine":       {map[string]string{"0.1": "1000", "0.3": "1000", "+Inf": "1000"}, "", true},
		"too coarse": {map[string]string{"0.1": "1000", "5.0": "1000", "+Inf": "1000"}, "the first bucket edge above 3 x p99 (99ms) is 5s, 50.5 x p99: add an edge near 297ms", true},
		"too short":  {map[string]string{"0.1": "1000", "0.2": "1000", "+Inf": "1000"}, "the buckets end at 200ms, below 3 x p99 (99ms) = 297ms: add an edge near it", true},
		"too few":    {map[string]string{"0.1": "50", "5.0": "50", "+Inf": "50"}, "", false},
	} {
		all := map[string]string{}
		var page []collector.Series
		for le, n := range c.counts {
			series := `http_request_duration_seconds_bucket{job="api",instance="a:1",status_code="200",le="` + le + `"}`
			all[series] = n + "x400"
			page = append(page, collector.Series{
				Labels: labels.FromStrings("__name__", "http_request_duration_seconds_bucket", "job", "api", "status_code", "200", "le", le),
				Points: []collector.Point{{V: map[string]float64{"1000": 1000, "50": 50}[n]}},
			})
		}
		advice, known, err := CheckBuckets(t.Context(), gates, sceneOf(t, service, time.Minute, all))
		require.NoError(t, err)
		require.Equal(t, c.says, advice, name)
		require.Equal(t, c.known, known, name)
		advice, known = CheckPage(gates, service, append(page, collector.Series{Labels: labels.FromStrings("__name__", "up", "job", "api")}))
		require.Equal(t, c.says, advice, name)
		require.Equal(t, c.known, known, name)
	}
	site := &Service{Name: "site"}
	_, known, err := CheckBuckets(t.Context(), Gates(Config{}, site), Scene{Service: site})
	require.NoError(t, err)
	require.True(t, known, "a service without latency has nothing to be resolved")
}
