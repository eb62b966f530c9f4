package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// fixed is a snapshot that tells the same at any time.
type fixed []Status

func (f fixed) Statuses(time.Time) []Status { return f }

var oddCounter = &probe.Metric{Name: "pg_stat_database_xact_commit", Type: probe.Counter, Help: "Transactions committed."}

func snapshot() fixed {
	read := time.Unix(1_000, 500_000_000)
	return fixed{
		{
			Kind: "postgres", Name: "main", Up: true, Started: read, LastSuccess: read, Duration: 20 * time.Millisecond, Missed: 2, Dropped: 3,
			Reading: probe.Reading{
				Samples: []probe.Sample{depth.Sample(7, "mail"), depth.Sample(0, "sms"), jobs.Sample(12), oddCounter.Sample(5)},
				Views:   []probe.View{{Name: "slots", State: probe.ViewDenied, Err: errors.New("secret reasons")}, {Name: "locks", State: probe.ViewRead}},
			},
		},
		{Kind: "postgres", Name: "replica", Started: read, Err: errors.New("refused")},
		{Kind: "redis", Name: "new"}, // not read yet
	}
}

// exposed is snapshot as text; the help of pg_up is its own.
const exposed = `
# HELP pg_stat_database_xact_commit Transactions committed.
# TYPE pg_stat_database_xact_commit untyped
pg_stat_database_xact_commit{target="main"} 5
# HELP pg_up %s
# TYPE pg_up gauge
pg_up{target="main"} 1
pg_up{target="replica"} 0
# HELP queue_depth Jobs that wait.
# TYPE queue_depth gauge
queue_depth{queue="mail",target="main"} 7
queue_depth{queue="sms",target="main"} 0
# HELP queue_jobs_total Jobs done.
# TYPE queue_jobs_total counter
queue_jobs_total{target="main"} 12
# HELP rollwatch_probe_duration_seconds How long the newest read of the target took.
# TYPE rollwatch_probe_duration_seconds gauge
rollwatch_probe_duration_seconds{kind="postgres",target="main"} 0.02
rollwatch_probe_duration_seconds{kind="postgres",target="replica"} 0
# HELP rollwatch_probe_last_success_timestamp_seconds When the newest read that succeeded was started, in Unix time.
# TYPE rollwatch_probe_last_success_timestamp_seconds gauge
rollwatch_probe_last_success_timestamp_seconds{kind="postgres",target="main"} 1000.5
# HELP rollwatch_probe_missed_ticks_total Reads that were passed over because the one before was still running.
# TYPE rollwatch_probe_missed_ticks_total counter
rollwatch_probe_missed_ticks_total{kind="postgres",target="main"} 2
rollwatch_probe_missed_ticks_total{kind="postgres",target="replica"} 0
# HELP rollwatch_probe_up Whether the newest read of the target succeeded (1) or failed (0).
# TYPE rollwatch_probe_up gauge
rollwatch_probe_up{kind="postgres",target="main"} 1
rollwatch_probe_up{kind="postgres",target="replica"} 0
# HELP rollwatch_probe_view_state Whether the part of the target is in the state: read, absent, denied or failed. Only the current state is there, as 1.
# TYPE rollwatch_probe_view_state gauge
rollwatch_probe_view_state{kind="postgres",state="denied",target="main",view="slots"} 1
rollwatch_probe_view_state{kind="postgres",state="read",target="main",view="locks"} 1
# HELP rollwatch_series_dropped_total Series of the target that were dropped, over its budget or read twice.
# TYPE rollwatch_series_dropped_total counter
rollwatch_series_dropped_total{kind="postgres",target="main"} 3
rollwatch_series_dropped_total{kind="postgres",target="replica"} 0
`

func TestCollectorExposesTheSnapshot(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(snapshot(), zap.NewNop()))
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(exposed, postgres.Up.Help))))
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestOneBadSeriesDoesNotSpoilThePage(t *testing.T) {
	other := *depth
	other.Help = "Another meaning."
	bad := snapshot()
	bad = append(bad, bad[0])
	bad[3].Kind = "redis" // the same name in another kind, with the same family
	bad[3].Reading.Samples = []probe.Sample{depth.Sample(8, "mail"), other.Sample(8, "fax"), depth.Sample(9, "new")}

	core, log := observer.New(zap.WarnLevel)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(bad, zap.New(core)))
	for range 2 {
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "queue_depth" {
				require.Len(t, f.GetMetric(), 3)
				require.Equal(t, 7.0, f.GetMetric()[0].GetGauge().GetValue(), "the first stays")
			}
		}
	}
	require.Len(t, log.All(), 1, "it is said once, not at every scrape")
	require.Contains(t, log.All()[0].ContextMap()["error"], "queue_depth")
}

func serve(tb testing.TB, source Snapshot) *httptest.Server {
	tb.Helper()
	server := httptest.NewServer(NewExposition(source, prometheus.NewRegistry(), zap.NewNop()))
	tb.Cleanup(server.Close)
	tb.Cleanup(http.DefaultClient.CloseIdleConnections)
	return server
}

func TestHandlerSpeaksEveryFormat(t *testing.T) {
	server := serve(t, snapshot())
	for name, c := range map[string]struct{ accept, content string }{
		"text":        {"", "text/plain; version=0.0.4"},
		"openmetrics": {"application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"},
		"protobuf":    {"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "application/vnd.google.protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			require.NoError(t, err)
			req.Header.Set("Accept", c.accept)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), c.content), resp.Header.Get("Content-Type"))
			switch name {
			case "text":
				problems, err := promlint.New(strings.NewReader(string(body))).Lint()
				require.NoError(t, err)
				require.Empty(t, problems)
			case "openmetrics":
				require.Contains(t, string(body), "\npg_stat_database_xact_commit{target=\"main\"} 5", "the name is the same in every format")
				require.True(t, strings.HasSuffix(string(body), "# EOF\n"))
			case "protobuf":
				var f dto.MetricFamily
				decoder := expfmt.NewDecoder(strings.NewReader(string(body)), expfmt.ResponseFormat(resp.Header))
				require.NoError(t, decoder.Decode(&f))
				require.Equal(t, "pg_stat_database_xact_commit", f.GetName())
			}
		})
	}
}

// TestMetricsAnswerAtOnceWhileTargetsHang is the promise of the page: it is
// asked by many at once while nothing answers the schedule.
func TestMetricsAnswerAtOnceWhileTargetsHang(t *testing.T) {
	release := make(chan struct{})
	var targets []Target
	for i := range 10 {
		tg := target(fmt.Sprint(i), &fakeProbe{read: func(ctx context.Context, n int) (probe.Reading, error) {
			if n > 1 {
				<-release
			}
			r := probe.Reading{}
			for q := range 50 {
				r.Samples = append(r.Samples, depth.Sample(1, fmt.Sprint(q)))
			}
			return r, nil
		}})
		tg.Interval, tg.Timeout = 20*time.Millisecond, 5*time.Millisecond
		targets = append(targets, tg)
	}
	s, err := NewSchedule(targets, zap.NewNop())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	hanging := func() bool {
		for _, st := range s.Statuses(time.Now()) {
			if st.Missed == 0 {
				return false
			}
		}
		return true
	}
	require.Eventually(t, hanging, 5*time.Second, time.Millisecond)

	server := serve(t, s)
	var scrapers sync.WaitGroup
	for range 8 {
		scrapers.Go(func() {
			for range 3 {
				resp, err := http.Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
					t.Error(resp.Status, err)
				}
			}
		})
	}
	scrapers.Wait()
	cancel()
	close(release)
	require.NoError(t, <-ended)
}

// goneClient is a client that hung up.
type goneClient struct{ header http.Header }

func (c goneClient) Header() http.Header       { return c.header }
func (c goneClient) WriteHeader(int)           {}
func (c goneClient) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestClientsThatHangUpDoNotFloodTheLog(t *testing.T) {
	reg := prometheus.NewRegistry()
	for i := range 100 {
		// Large enough that every family is written by itself.
		reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: fmt.Sprintf("x%d", i), Help: strings.Repeat("x", 8192)}))
	}
	core, log := observer.New(zap.InfoLevel)
	handler := NewExposition(fixed{}, reg, zap.New(core))
	for range 3 {
		handler.ServeHTTP(goneClient{http.Header{}}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}
	require.Len(t, log.All(), 1)
	require.Contains(t, log.All()[0].ContextMap()["reason"], "broken pipe")
}
