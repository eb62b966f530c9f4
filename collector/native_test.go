package collector

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// native makes a histogram as client_golang exposes it where no classic buckets
// are asked for.
func native(name string, more ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: "Durations.", NativeHistogramBucketFactor: 1.1}, more)
}

func selected(t *testing.T, w Window, name string, more ...*labels.Matcher) []Series {
	t.Helper()
	series, err := w.Select(t.Context(), time.Now().Add(-time.Hour), time.Now(), append(more, labels.MustNewMatcher(labels.MatchEqual, "__name__", name))...)
	require.NoError(t, err)
	return series
}

func TestNativeHistogramsAreCountedByBucketsThatAreExact(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		reg := prometheus.NewRegistry()
		durations := native("http_request_duration_seconds", "status_code")
		reg.MustRegister(durations)
		random := rand.New(rand.NewPCG(1, 2))
		var observed []float64
		observe := func() {
			for range 1000 {
				x := 0.02 * math.Exp(random.NormFloat64())
				observed = append(observed, x)
				durations.WithLabelValues("200").Observe(x)
			}
		}
		observe()
		defer n.start("api:80", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"api": {{URL: "http://api"}}}))
		<-time.After(16 * time.Second)
		observe()
		durations.WithLabelValues("500").Observe(120) // beyond every edge
		<-time.After(15 * time.Second)

		counts := selected(t, w, "http_request_duration_seconds_count")
		require.Len(t, counts, 2)
		require.Equal(t, "200", counts[0].Labels.Get("status_code"))
		require.Len(t, counts[0].Points, 2)
		require.InDelta(t, 1000, counts[0].Points[0].V, 0)
		require.InDelta(t, 2000, counts[0].Points[1].V, 0)
		buckets := selected(t, w, "http_request_duration_seconds_bucket", labels.MustNewMatcher(labels.MatchEqual, "status_code", "200"))
		require.Len(t, buckets, 40)
		for _, bucket := range buckets {
			edge, err := strconv.ParseFloat(bucket.Labels.Get("le"), 64)
			require.NoError(t, err)
			require.Equal(t, "api", bucket.Labels.Get("job"))
			for i, point := range bucket.Points {
				want := 0.0
				for _, x := range observed[:1000*(i+1)] {
					if x <= edge {
						want++
					}
				}
				require.InDelta(t, want, point.V, 0, "at most %g after scrape %d", edge, i)
			}
		}
		failed := selected(t, w, "http_request_duration_seconds_bucket", labels.MustNewMatcher(labels.MatchEqual, "status_code", "500"))
		require.InDelta(t, 1, failed[0].Points[0].V, 0, "+Inf, the first in the order of labels")
		require.Equal(t, "+Inf", failed[0].Labels.Get("le"))
		require.InDelta(t, 0, failed[1].Points[0].V, 0)
		only := selected(t, w, "http_request_duration_seconds_bucket", labels.MustNewMatcher(labels.MatchEqual, "le", "1.0"))
		require.Len(t, only, 2)
		require.Empty(t, selected(t, w, "http_request_duration_seconds"), "it is found by its parts only")
	})
}

func TestWhatIsClassicAsWellIsCountedOnce(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		reg := prometheus.NewRegistry()
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "latency_seconds", Buckets: []float64{0.1, 1}, NativeHistogramBucketFactor: 1.1})
		reg.MustRegister(h)
		h.Observe(0.5)
		defer n.start("api:80", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"api": {{URL: "http://api"}}}))
		<-time.After(16 * time.Second)
		require.Len(t, selected(t, w, "latency_seconds_count"), 1)
		require.Len(t, selected(t, w, "latency_seconds_bucket"), 3)
	})
}

// appendNative puts histograms into a window, 15 seconds apart.
func appendNative(t *testing.T, w *Store, name string, begin time.Time, samples ...*histogram.Histogram) {
	t.Helper()
	app := w.AppenderV2(t.Context())
	for i, h := range samples {
		_, err := app.Append(0, labels.FromStrings("__name__", name, "job", "api"), 0, begin.Add(time.Duration(i)*15*time.Second).UnixMilli(), 0, h, nil, storage.AppendV2Options{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
}

func TestHistogramsOfOtherResolutionsAreMergedToEdgesThatAllHave(t *testing.T) {
	w, err := Open(t.TempDir(), DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	fine := &histogram.Histogram{Schema: 1, Count: 6, Sum: 6, ZeroCount: 1, PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []int64{1, 1, 0}} // 1 up to 1, 2 up to 1.41, 2 up to 2
	coarse := &histogram.Histogram{Schema: 0, Count: 8, Sum: 8, ZeroCount: 1, PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{1, 5}}
	appendNative(t, w, "x_milliseconds", time.Now().Add(-time.Minute), fine, coarse)
	at := map[string][]Point{}
	for _, s := range selected(t, w, "x_milliseconds_bucket") {
		at[s.Labels.Get("le")] = s.Points
	}
	values := func(le string) (v []float64) {
		for _, p := range at[le] {
			v = append(v, p.V)
		}
		return v
	}
	require.Len(t, at, 21, "an eighth to 65536, and +Inf")
	require.Equal(t, []float64{1, 1}, values("0.5"))
	require.Equal(t, []float64{2, 2}, values("1.0"))
	require.Equal(t, []float64{6, 8}, values("2.0"))
	require.Equal(t, []float64{6, 8}, values("65536.0"))
	require.Equal(t, []float64{6, 8}, values("+Inf"))

	custom := &histogram.Histogram{Schema: histogram.CustomBucketsSchema, Count: 5, Sum: 1, CustomValues: []float64{0.1, 3}, PositiveSpans: []histogram.Span{{Length: 3}}, PositiveBuckets: []int64{2, 0, -1}}
	appendNative(t, w, "y_seconds", time.Now().Add(-time.Minute), custom)
	var got []string
	for _, s := range selected(t, w, "y_seconds_bucket") {
		got = append(got, s.Labels.Get("le")+"="+strconv.FormatFloat(s.Points[0].V, 'g', -1, 64))
	}
	require.Equal(t, []string{"+Inf=5", "0.1=2", "3.0=4"}, got)
}
