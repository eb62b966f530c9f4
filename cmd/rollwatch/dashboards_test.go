package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/dashboards"
	"github.com/rollwatch/rollwatch/internal/live"
)

// Every query of every dashboard finds data on a real Prometheus that scraped
// the daemon while a rollout was being watched.
func TestEveryPanelShowsData(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	shop, deployer, redis, pg := openShop(t), openDeployer(t, secret), live.Redis(t), live.Postgres(t)
	enqueueOne(t, redis.Addr)
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
postgres: [{name: main, url: %[5]q}]
redis: [{name: main, url: %[1]q}]
queues: [{name: mail, kind: asynq, redis: main}]
services:
  - name: shop
    tenant_label: tenant
    health: {url: "%[2]s/health"}
    metrics: {scrape: [{url: "%[2]s/metrics"}], preset: prom-client}
    queues: [mail]
    databases: [main]
    features: [{name: open, http: {url: "%[2]s/health"}, interval: 1s}]
  - name: twin
    tracks: {canary: {track: canary}, stable: {track: stable}}
    completions: jobs_completed_total
    failures: jobs_failed_total
    metrics: {preset: prom-client, scrape: [{url: "%[2]s/metrics", labels: {track: canary}}, {url: "%[2]s/metrics?stable", labels: {track: stable}}]}
judge: {grace: 0s, watch: {rolling: 1m, rolling_phases: [30s], after: 1m}}
gates: {error_ratio: {for: 4s}, latency_p99: {for: 4s}}
webhooks: [{name: deployer, url: %[3]q, secret: %[4]q}]
`, redis.URL, shop.URL, deployer.URL, secret, pg.URL))
	r.ready(t)
	prometheus := live.Prometheus(t, fmt.Sprintf(
		"{global: {scrape_interval: 1s}, scrape_configs: [{job_name: rollwatch, static_configs: [{targets: [%q]}]}]}", hostOf(t, r.url)))

	<-time.After(3 * time.Second) // traffic before the rollout: its baseline
	code, _, stderr := rollwatch(t, "rollout", "start", "--server", r.url, "--service=shop", "--version=2")
	require.Zero(t, code, stderr)
	code, _, stderr = rollwatch(t, "rollout", "start", "--server", r.url, "--service=twin", "--version=2", "--strategy=canary")
	require.Zero(t, code, stderr)

	queries, err := dashboards.Queries()
	require.NoError(t, err)
	for _, query := range queries {
		eventually(t, "no data for "+query, time.Minute, func() bool { return finds(t, prometheus.URL, query) })
	}
}

// enqueueOne gives the queue a job, so that it exists.
func enqueueOne(t *testing.T, redis string) {
	t.Helper()
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: redis})
	_, err := client.Enqueue(asynq.NewTask("mail:send", nil))
	require.NoError(t, err)
	require.NoError(t, client.Close())
}

// hostOf is host:port of an address.
func hostOf(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	_, _, err = net.SplitHostPort(parsed.Host)
	require.NoError(t, err)
	return parsed.Host
}

// finds says whether a Prometheus answers a query with any series.
func finds(t *testing.T, server, query string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+"/api/v1/query?query="+url.QueryEscape(query), http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", query, text)
	var answer struct {
		Data struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal(text, &answer))
	return len(answer.Data.Result) > 0
}
