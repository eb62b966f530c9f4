package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/verdict"
)

// A shop is a service under steady traffic, which fails the share of its
// answers that a test tells it to.
type shop struct {
	*httptest.Server
	duration *prometheus.HistogramVec
	jobs     prometheus.Counter
	failing  atomic.Int64 // in percent
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Duration of requests.", Buckets: []float64{0.01, 0.1, 1},
		ConstLabels: prometheus.Labels{"tenant": "acme"},
	}, []string{"status_code"})}
	registry := prometheus.NewRegistry()
	s.jobs = prometheus.NewCounter(prometheus.CounterOpts{Name: "jobs_completed_total", Help: "Jobs that were done."})
	idle := prometheus.NewGauge(prometheus.GaugeOpts{Name: "prisma_pool_connections_idle", Help: "Connections that are free."})
	idle.Set(5)
	registry.MustRegister(s.duration, s.jobs, idle,
		prometheus.NewCounter(prometheus.CounterOpts{Name: "jobs_failed_total", Help: "Jobs that failed."}),
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "prisma_client_queries_wait", Help: "Who waits for a connection."}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) })
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.serveTraffic(t)
	return s
}

// serveTraffic answers two hundred requests a second.
func (s *shop) serveTraffic(t *testing.T) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := int64(0); ; n++ {
			status := http.StatusOK
			if n%100 < s.failing.Load() {
				status = http.StatusInternalServerError
			}
			s.duration.WithLabelValues(strconv.Itoa(status)).Observe(0.005)
			s.jobs.Inc()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
}

// A deployer receives webhooks and believes only those that are signed.
type deployer struct {
	*httptest.Server
	received chan verdict.Event
}

func openDeployer(t *testing.T, secret string) *deployer {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	d := &deployer{received: make(chan verdict.Event, 16)}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var event verdict.Event
		if err != nil || hook.Verify(body, r.Header) != nil || json.Unmarshal(body, &event) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		d.received <- event
	}))
	t.Cleanup(d.Close)
	return d
}

// From the first scrape to the webhook: a version that fails 5 % of its
// requests is rolled back, for the right reason, and the deployer hears of it.
func TestABadVersionIsRolledBack(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	shop, deployer := openShop(t), openDeployer(t, secret)
	secretFile := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte(secret), 0o600))
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
services:
  - name: shop
    health: {url: "%[1]s/health"}
    metrics: {scrape: [{url: "%[1]s/metrics"}], preset: prom-client}
judge: {grace: 0s, watch: {rolling: 1m, rolling_phases: [30s], after: 1m}}
gates: {error_ratio: {limit: 0.01, for: 4s}}
webhooks: [{name: deployer, url: %[2]q, secret_file: %[3]q}]
`, shop.URL, deployer.URL, secretFile))
	r.ready(t)
	code, stdout, stderr := rollwatch(t, "check", "--config.file", r.file)
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	require.Regexp(t, `(?m)^metrics shop\[0\] +up .* series \d+$`, stdout)
	<-time.After(4 * time.Second) // healthy traffic, the baseline

	code, id, stderr := rollwatch(t, "rollout", "start", "--server", r.url, "--service=shop", "--version=2", "--previous-version=1", "--previous-image=shop:1")
	require.Zero(t, code, stderr)
	shop.failing.Store(5)
	code, stdout, stderr = rollwatch(t, "verdict", "shop", "--server", r.url, "--wait", "--timeout=20s")
	require.Equal(t, exitRollback, code, "%s\n%s", stdout, stderr)
	require.Contains(t, stdout, "reasons   error_ratio firing (enforce)")
	require.Contains(t, stdout, "way back  deploy the image shop:1")

	status, text := r.get(t, "/api/v1/services/shop/verdict")
	require.Equal(t, http.StatusOK, status)
	var document verdict.Document
	require.NoError(t, json.Unmarshal([]byte(text), &document))
	reason := document.Reasons[0]
	require.Equal(t, "error_ratio", reason.Gate)
	require.InDelta(t, 0.05, *reason.Observed, 0.02)
	require.InDelta(t, 0.01, *reason.Limit, 0)
	require.Greater(t, reason.N, 100.0)
	require.Equal(t, "4s", reason.Window)
	status, _ = r.get(t, "/api/v1/services/shop/gate/rollback")
	require.Equal(t, http.StatusOK, status)
	status, _ = r.get(t, "/api/v1/services/shop/gate/advance")
	require.Equal(t, http.StatusConflict, status)

	for {
		select {
		case event := <-deployer.received:
			if event.Type != verdict.VerdictFinal {
				continue
			}
			text, err := json.Marshal(event)
			require.NoError(t, err)
			require.Contains(t, string(text), `"verdict":"rollback"`)
			require.Contains(t, id, document.Rollout)
			return
		case <-time.After(10 * time.Second):
			t.Fatal("no webhook came")
		}
	}
}
