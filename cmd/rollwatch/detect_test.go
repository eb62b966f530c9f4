package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/verdict"
)

// A fleet is a service whose processes each have a version: what answers is of
// the version that was deployed last.
type fleet struct {
	*httptest.Server
	process atomic.Pointer[process]
}

type process struct {
	pages   http.Handler
	answers *prometheus.CounterVec
}

func openFleet(t *testing.T, version string) *fleet {
	t.Helper()
	f := &fleet{}
	f.deploy(version)
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		p := f.process.Load()
		p.answers.WithLabelValues("200").Add(100)
		p.pages.ServeHTTP(w, r)
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// deploy replaces the process.
func (f *fleet) deploy(version string) {
	p := &process{answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "Requests.", ConstLabels: prometheus.Labels{"version": version},
	}, []string{"code"})}
	registry := prometheus.NewRegistry()
	registry.MustRegister(p.answers)
	p.pages = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	f.process.Store(p)
}

// A version that nobody told of is found in the pages that are scraped, judged,
// adopted by the tool that comes late, and its way back is found as well.
func TestRolloutsAreFoundInWhatIsScraped(t *testing.T) {
	t.Parallel()
	f := openFleet(t, "1")
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
services:
  - name: shop
    version_label: version
    detect: {strategy: blue-green}
    metrics: {scrape: [{url: "%s/metrics"}], requests: http_requests_total, errors: 'http_requests_total{code=~"5.."}'}
judge: {grace: 0s, watch: {blue_green: 1m}}
`, f.URL))
	rollouts := func() (found []verdict.Rollout) {
		status, text := r.get(t, "/api/v1/rollouts?service=shop")
		require.Equal(t, http.StatusOK, status, text)
		page := struct{ Rollouts []verdict.Rollout }{}
		require.NoError(t, json.Unmarshal([]byte(text), &page))
		return page.Rollouts
	}
	scraped := func() bool { return r.value(t, "rollwatch_window_series") != "0" }
	eventually(t, "nothing is scraped", 10*time.Second, scraped)
	<-time.After(4 * time.Second) // of version 1 alone
	require.Empty(t, rollouts())

	f.deploy("2")
	eventually(t, "version 2 is not found", 20*time.Second, func() bool { return len(rollouts()) == 1 })
	found := rollouts()[0]
	require.True(t, found.Detected)
	require.Equal(t, [3]string{"2", "1", "blue-green"}, [3]string{found.Version, found.PreviousVersion, string(found.Strategy)})
	require.Positive(t, found.Baseline.Requests, "it was measured before version 2 came")
	eventually(t, "not judged", 10*time.Second, func() bool {
		status, _ := r.get(t, "/api/v1/services/shop/verdict")
		return status == http.StatusOK
	})
	code, stdout, stderr := rollwatch(t, "verdict", "shop", "--server", r.url)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "shop 2, blue-green, detected")

	status, text := r.send(t, http.MethodPost, "/api/v1/rollouts", verdict.Registration{Service: "shop", Version: "2", Strategy: "rolling", Image: "shop:2"})
	require.Equal(t, http.StatusOK, status, text)
	adopted := rollouts()
	require.Len(t, adopted, 1)
	require.Equal(t, [2]string{found.ID, "shop:2"}, [2]string{adopted[0].ID, adopted[0].Image})
	require.False(t, adopted[0].Detected)

	f.deploy("1")
	eventually(t, "the way back is not found", 30*time.Second, func() bool { return len(rollouts()) == 2 })
	back := rollouts()[0]
	require.Equal(t, verdict.KindOfRollback, back.Kind)
	require.Equal(t, [2]string{"1", "2"}, [2]string{back.Version, back.PreviousVersion})
}

// Buckets that cannot show a p99 three times as high are named when rollwatch
// starts, and by `rollwatch check`: at the rollout it would be late.
func TestBucketsThatTellTooLittleAreNamedAtTheStart(t *testing.T) {
	t.Parallel()
	durations := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Durations.", Buckets: []float64{0.1, 5}, ConstLabels: prometheus.Labels{"status_code": "200"},
	})
	for range 1000 {
		durations.Observe(0.05)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(durations)
	page := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(page.Close)
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
services: [{name: shop, metrics: {scrape: [{url: "%s/metrics"}]}}]
`, page.URL))
	const advice = "the first bucket edge above 3 x p99 (99ms) is 5s, 50.5 x p99: add an edge near 297ms"
	said := func() bool { return r.logs.FilterMessage("latency_p99 cannot tell what it should").Len() > 0 }
	eventually(t, "not said", 10*time.Second, said)
	require.Equal(t, advice, r.logs.FilterMessage("latency_p99 cannot tell what it should").All()[0].ContextMap()["resolution"])
	code, stdout, stderr := rollwatch(t, "check", "--config.file", r.file)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "latency_p99: "+advice)
	<-time.After(2 * time.Second)
	require.Equal(t, 1, r.logs.FilterMessage("latency_p99 cannot tell what it should").Len(), "once is enough")
}
