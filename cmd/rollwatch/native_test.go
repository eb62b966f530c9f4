package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
)

// A service that has nothing but a native histogram, under the names of
// OpenTelemetry, is judged like any other: a version that is ten times as slow is
// rolled back.
func TestAServiceWithNativeHistogramsOnlyIsJudged(t *testing.T) {
	t.Parallel()
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_server_request_duration_seconds", Help: "Duration of HTTP server requests.", NativeHistogramBucketFactor: 1.1,
	}, []string{"http_route", "http_response_status_code"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(durations)
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	var slow atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seconds := 0.005
		if slow.Load() {
			seconds = 0.05
		}
		for range 200 {
			durations.WithLabelValues("/orders", "200").Observe(seconds)
			durations.WithLabelValues("/healthz", "500").Observe(9)
		}
		page.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
services: [{name: shop, metrics: {scrape: [{url: "%s/metrics"}], preset: otel}}]
judge: {grace: 0s, watch: {rolling: 1m, rolling_phases: [30s], after: 1m}}
gates: {latency_p99: {factor: 3, for: 4s}}
`, server.URL))
	eventually(t, "nothing is scraped", 10*time.Second, func() bool { return r.value(t, "rollwatch_window_series") != "0" })
	<-time.After(4 * time.Second) // healthy traffic, the baseline
	code, _, stderr := rollwatch(t, "rollout", "start", "--server", r.url, "--service=shop", "--version=2")
	require.Zero(t, code, stderr)
	slow.Store(true)
	code, stdout, stderr := rollwatch(t, "verdict", "shop", "--server", r.url, "--wait", "--timeout=20s")
	require.Equal(t, exitRollback, code, "%s\n%s", stdout, stderr)
	require.Contains(t, stdout, "latency_p99 firing (enforce): requests slower than 22.1ms")
	require.NotContains(t, stdout, "error_ratio firing", "what fails are health checks")
}
