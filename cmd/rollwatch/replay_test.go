package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/verdict"
)

const replayConfig = `
interval: 1s
services:
  - {name: api}
judge: {grace: 0s, watch: {blue_green: 1m}}
gates:
  custom:
    - {name: jobs, service: api, signal: jobs_total, above: %s, for: 3s, verdict: rollback}
`

// A rollout that no ledger has, on the past of a Prometheus that rollwatch never met.
func TestARolloutIsReplayedOnTheDataOfAPrometheus(t *testing.T) {
	var scrapes atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "jobs_total %d\n", 100+scrapes.Add(1))
	}))
	t.Cleanup(service.Close)
	server := live.Prometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: api, static_configs: [{targets: ["%s"]}]}
`, strings.TrimPrefix(service.URL, "http://")))
	begin := time.Now().UTC()
	require.Eventually(t, func() bool { return scrapes.Load() >= 10 }, 30*time.Second, 100*time.Millisecond)

	config := func(limit string) string {
		file := filepath.Join(t.TempDir(), "rollwatch.yml")
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, replayConfig, limit), 0o600))
		return "--config.file=" + file
	}
	on := "--prometheus.url=" + server.URL
	started := "--started-at=" + begin.Format(time.RFC3339Nano)
	code, stdout, stderr := rollwatch(t, "replay", "--service=api", "--version=2", "--strategy=blue-green", started, on, config("50"))
	require.Zero(t, code, stderr)
	require.Regexp(t, `- +rollback, final +roll back: `, stdout)
	require.Contains(t, stdout, "Nothing is on record to compare with.")

	file := filepath.Join(t.TempDir(), "rollout.json")
	text, err := json.Marshal(verdict.Rollout{ID: "r-1", Verdict: verdict.Rollback, RegisteredAt: begin, Registration: verdict.Registration{
		Service: "api", Version: "2", Strategy: alerts.BlueGreen, StartedAt: begin,
	}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	code, stdout, stderr = rollwatch(t, "replay", "--file="+file, on, config("50"), "-o", "json")
	require.Zero(t, code, stderr)
	var same replayed
	require.NoError(t, json.Unmarshal([]byte(stdout), &same))
	require.True(t, same.Same)
	code, stdout, stderr = rollwatch(t, "replay", "--file="+file, on, config("1000000"))
	require.Equal(t, exitFailure, code, stderr)
	require.Contains(t, stdout, "rollback then, continue now")

	server.Stop(t)
	code, _, stderr = rollwatch(t, "replay", "--file="+file, on, config("50"))
	require.Equal(t, exitUsage, code, "1 is a verdict that differs, and nothing else")
	require.Contains(t, stderr, "no answer: ")
}

func TestWhatCannotBeReplayedIsNoDifference(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, replayConfig, "1"), 0o600))
	rollout := filepath.Join(t.TempDir(), "rollout.json")
	require.NoError(t, os.WriteFile(rollout, []byte(`{"service":"api"}`), 0o600))
	endless := filepath.Join(t.TempDir(), "endless.json")
	require.NoError(t, os.WriteFile(endless, []byte(`{"service":"api","version":"2","strategy":"rolling","started_at":"2026-01-01T00:00:00Z",
		"baseline":{"id":"b-1","kind":"before","spans":[{"from":"0001-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}]}}`), 0o600))
	for args, want := range map[string]string{
		"--file=" + endless:               "a span of the baseline (0001-01-01T00:00:00Z to 2026-01-01T00:00:00Z) is more than nine days from the rollout",
		"":                                "wants one of ROLLOUT, --file, or --service",
		"r-1 --service=api":               "wants one of ROLLOUT, --file, or --service",
		"r-1":                             "open ledger: ",
		"--service=api":                   "wants --version and --started-at besides",
		"--service=api --started-at=noon": "is not a time",
		"--service=nobody --version=1 --started-at=2026-01-01T00:00:00Z":                                           `no service named "nobody"`,
		"--service=api --version=1 --started-at=2026-01-01T00:00:00Z":                                              "name the data_dir of the daemon",
		"--service=api --version=1 --started-at=2999-01-01T00:00:00Z":                                              "after what is to be judged",
		"--service=api --version=1 --started-at=2026-01-01T00:00:00Z --prometheus.url=localhost":                   "--prometheus.url: the address of a Prometheus",
		"--service=api --version=1 --started-at=2026-01-01T00:00:00Z --prometheus.url=http://a:secret@localhost:9": "write the address in a file",
		"--service=api --version=1 --started-at=2026-01-01T00:00:00Z --prometheus.url-file=/none":                  "--prometheus.url-file: ",
		"--file=" + rollout: "names no service or no started_at",
		"--file=" + file:    "is not a rollout as `rollwatch rollout show` prints it",
		"--file=/none":      "--file: ",
	} {
		code, _, stderr := rollwatch(t, append([]string{"replay", "--config.file=" + file, "--data-dir=" + t.TempDir()}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, stderr, want, args)
	}
}

// momentsOf makes a replay of ticks ten seconds apart: what was decided then, and now.
func momentsOf(then, now string) []verdict.Moment {
	words := map[byte]verdict.Word{'c': verdict.Continue, 'r': verdict.Rollback, 'p': verdict.Promote}
	var moments []verdict.Moment
	for i := range then {
		at := time.Unix(int64(10*i), 0)
		moments = append(moments, verdict.Moment{At: at, Then: words[then[i]], Now: verdict.Document{Verdict: words[now[i]], AsOf: at}})
	}
	return moments
}

func TestADifferenceOfOneIntervalIsWhenItWasLooked(t *testing.T) {
	for name, c := range map[string]struct {
		then, now   string
		same        bool
		differences int
	}{
		"nothing differs":           {"ccrr", "ccrr", true, 0},
		"a tick later":              {"ccrrr", "cccrr", true, 1},
		"two ticks later":           {"ccrrrr", "ccccrr", false, 1},
		"for ever":                  {"ccrrrr", "cccccc", false, 1},
		"sooner, and another end":   {"cccccp", "ccrrrr", false, 2},
		"a blip here and one there": {"crcccrc", "ccccccc", true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplayed(verdict.History{Transitions: []verdict.Transition{{}}}, momentsOf(c.then, c.now), 10*time.Second)
			require.Equal(t, c.same, r.Same)
			require.Len(t, r.Differences, c.differences)
		})
	}
}

// A Prometheus that never knew the service has nothing that could be the same.
func TestAPastWithoutTheServiceIsNotReplayed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	require.NoError(t, os.WriteFile(file, []byte(`
services:
  - name: api
    version_label: version
    tenant_label: tenant
    metrics: {preset: prom-client, scrape: [{url: "http://127.0.0.1:3001/metrics"}]}
`), 0o600))
	code, stdout, stderr := rollwatch(t, "replay", "--config.file="+file, "--service=api", "--version=2", "--started-at=2026-01-01T00:00:00Z",
		"--until=2026-01-01T00:05:00Z", "--prometheus.url="+server.URL)
	require.Equal(t, exitUsage, code, stdout)
	require.Contains(t, stderr, "nothing that the gates of api read is there")
}
