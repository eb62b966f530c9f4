package main

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// needing are the families that this test's servers cannot show, and what would
// have to be there.
var needing = map[string]string{
	"redis_rdb_current_bgsave_duration_sec":       "a snapshot that is being written at the moment of the reading",
	"redis_aof_current_rewrite_duration_sec":      "an append-only file that is being rewritten at that moment",
	"redis_second_repl_offset":                    "a replica that was promoted",
	"rollwatch_http_tls_expiry_timestamp_seconds": "a certificate that this machine trusts",
}

// Every family that docs/metrics.md lists is read from real servers, and the
// page that holds them all is one that a pedantic registry takes.
func TestEveryFamilyIsReadFromRealServers(t *testing.T) {
	stack := openStack(t)
	documented := map[string]*probe.Metric{}
	for _, kind := range kindsWithUp() {
		for _, m := range kind.Metrics {
			documented[m.Name] = m
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector.NewCollector(stack.schedule, zap.NewNop()))
	seen := map[string]bool{}
	look := func() bool {
		stack.touch(t)
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			seen[family.GetName()] = true
		}
		return len(missing(documented, seen)) == 0
	}
	for end := time.Now().Add(time.Minute); !look() && time.Now().Before(end); {
		<-time.After(200 * time.Millisecond)
	}
	require.Empty(t, missing(documented, seen), "documented, and not read")
	for name, why := range needing {
		require.Contains(t, documented, name, why)
	}
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	for _, problem := range problems {
		m := documented[problem.Metric]
		require.NotNil(t, m, "%s: %s", problem.Metric, problem.Text)
		require.NotEmpty(t, m.Note, "%s: %s, and no word why", problem.Metric, problem.Text)
	}
	t.Run("the dashboards that people have find what they ask for", func(t *testing.T) { askAsDashboards(t, stack) })
}

func missing(documented map[string]*probe.Metric, seen map[string]bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if _, excused := needing[name]; !seen[name] && !excused {
			names = append(names, name)
		}
	}
	return names
}

// askAsDashboards asks a Prometheus that scrapes the stack what the dashboards
// for PostgreSQL and Redis that are used most ask of it.
func askAsDashboards(t *testing.T, stack *stack) {
	t.Helper()
	page := httptest.NewServer(collector.NewExposition(stack.schedule, prometheus.NewRegistry(), zap.NewNop()))
	t.Cleanup(page.Close)
	server := live.Prometheus(t, fmt.Sprintf(
		"{global: {scrape_interval: 1s}, scrape_configs: [{job_name: rollwatch, static_configs: [{targets: [%q]}]}]}", hostOf(t, page.URL)))
	text, err := os.ReadFile("testdata/community-queries.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if query := strings.TrimSpace(line); query != "" && !strings.HasPrefix(query, "#") {
			eventually(t, "no data for "+query, 20*time.Second, func() bool { return finds(t, server.URL, query) })
		}
	}
}
