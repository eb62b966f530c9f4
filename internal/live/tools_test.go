package live_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

func TestAPrometheusFiresItsRulesAtAnAlertmanager(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "always.rules.yml")
	require.NoError(t, os.WriteFile(rules, []byte(`
groups:
  - name: always
    rules: [{alert: Always, expr: vector(1), labels: {severity: info}}]
`), 0o600))
	require.Contains(t, live.Promtool(t, "check", "rules", rules), "SUCCESS")

	alertmanager := live.Alertmanager(t, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
	prometheus := live.Prometheus(t, fmt.Sprintf(`
global: {evaluation_interval: 1s, scrape_interval: 1s}
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs: [{job_name: self, static_configs: [{targets: [%q]}]}]
`, rules, alertmanager.Addr, alertmanager.Addr))

	require.Eventually(t, func() bool {
		return strings.Contains(get(t, alertmanager.URL+"/api/v2/alerts"), `"Always"`)
	}, 20*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool {
		return strings.Contains(get(t, prometheus.URL+"/api/v1/query?query=up"), `"self"`)
	}, 20*time.Second, 100*time.Millisecond)
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	var body json.RawMessage
	require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
	return string(body)
}
