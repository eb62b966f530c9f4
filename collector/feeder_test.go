package collector

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// told is a snapshot that a test changes.
type told struct {
	mu       sync.Mutex
	statuses []Status
	said     []probe.Sample // of rollwatch itself
	full     atomic.Bool    // the disk of the window
}

func (s *told) own(time.Time) []probe.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

func (s *told) say(samples ...probe.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = samples
}

func (s *told) Statuses(time.Time) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statuses
}

func (s *told) set(statuses ...Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = statuses
}

func upStatus(kind, name string, samples ...probe.Sample) Status {
	return Status{Kind: kind, Name: name, Up: true, Started: time.Now(), LastSuccess: time.Now(), Interval: 15 * time.Second,
		Reading: probe.Reading{Samples: samples}}
}

// feeding runs a feeder on a real window for the story, in a bubble.
func feeding(t *testing.T, source *told, story func(t *testing.T, window *Store, log *observer.ObservedLogs)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		core, log := observer.New(zap.InfoLevel)
		window, err := openStore(dir, DefaultConfig(), zap.NewNop(), func(string) (int64, error) {
			if source.full.Load() {
				return 0, nil
			}
			return diskReserve, nil
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- NewFeeder(source, source.own, window, 15*time.Second, zap.New(core)).Run(ctx) }()
		story(t, window, log)
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, window.Close())
	})
}

func values(tb testing.TB, w Window, expr string, at time.Time) []float64 {
	tb.Helper()
	matrix, err := w.Query(tb.Context(), expr, at, at, 0)
	require.NoError(tb, err)
	var out []float64
	for _, s := range matrix {
		out = append(out, s.Floats[0].F)
	}
	return out
}

func TestFeederRecordsEverySeriesAtTheSameTick(t *testing.T) {
	inJob := &probe.Metric{Name: "timescaledb_job_runs_total", Type: probe.Counter, Labels: []string{"job"}, Help: "Runs."}
	source := &told{}
	feeding(t, source, func(t *testing.T, w *Store, _ *observer.ObservedLogs) {
		source.set(
			upStatus("postgres", "main", inJob.Sample(3, "refresh")),
			upStatus("bullmq", "jobs", depth.Sample(7, "mail")),
			Status{Kind: "redis", Name: "down", Started: time.Now()},
		)
		start := time.Now()
		time.Sleep(61 * time.Second)
		series, err := w.Select(t.Context(), start, time.Now(), labels.MustNewMatcher(labels.MatchEqual, "job", Job))
		require.NoError(t, err)
		byName := map[string]Series{}
		for _, s := range series {
			byName[s.Labels.Get("__name__")+" "+s.Labels.Get("target")] = s
			require.Len(t, s.Points, 4, s.Labels)
			for i, p := range s.Points {
				require.Equal(t, series[0].Points[i].T, p.T, "all series share the time of the tick")
				require.Zero(t, p.T%15_000, "which is a multiple of the interval")
			}
		}
		require.Equal(t, 7.0, byName["queue_depth jobs"].Points[0].V)
		require.Equal(t, "refresh", byName["timescaledb_job_runs_total main"].Labels.Get("exported_job"))
		require.Equal(t, 1.0, byName["pg_up main"].Points[0].V)
		require.Equal(t, 1.0, byName["rollwatch_probe_up main"].Points[0].V)
		require.Equal(t, "postgres", byName["rollwatch_probe_up main"].Labels.Get("kind"))
		require.Equal(t, 0.0, byName["rollwatch_probe_up down"].Points[0].V)
	})
}

func TestWhatRollwatchSaysOfItselfIsRecordedBesideWhatItReads(t *testing.T) {
	observed := &probe.Metric{Name: "rollwatch_gate_observed", Type: probe.Gauge, Labels: []string{"service", "gate"}}
	source := &told{}
	feeding(t, source, func(t *testing.T, w *Store, _ *observer.ObservedLogs) {
		source.set(upStatus("redis", "main"))
		source.say(observed.Sample(0.04, "api", "error_ratio"))
		time.Sleep(16 * time.Second)
		series, err := w.Select(t.Context(), time.Now().Add(-time.Hour), time.Now(), named("rollwatch_gate_observed"))
		require.NoError(t, err)
		require.Equal(t, `{__name__="rollwatch_gate_observed", gate="error_ratio", job="rollwatch", service="api"}`, series[0].Labels.String())

		source.say()
		time.Sleep(15 * time.Second)
		require.Empty(t, values(t, w, "rollwatch_gate_observed", time.Now()), "what is said no more has no last value")
		require.NotEmpty(t, values(t, w, "redis_up", time.Now()))
	})
}

func TestASeriesThatEndsIsMarkedStale(t *testing.T) {
	source := &told{}
	feeding(t, source, func(t *testing.T, w *Store, _ *observer.ObservedLogs) {
		source.set(upStatus("bullmq", "jobs", depth.Sample(7, "mail"), depth.Sample(8, "sms")))
		time.Sleep(16 * time.Second)
		require.Equal(t, []float64{7, 8}, values(t, w, "queue_depth", time.Now()))

		source.set(upStatus("bullmq", "jobs", depth.Sample(7, "mail")))
		time.Sleep(15 * time.Second)
		require.Equal(t, []float64{7}, values(t, w, "queue_depth", time.Now()), "the queue that vanished has no last value")

		source.set(Status{Kind: "bullmq", Name: "jobs", Started: time.Now()}) // what was read is too old to be shown
		time.Sleep(15 * time.Second)
		require.Empty(t, values(t, w, "queue_depth", time.Now()))
		require.Equal(t, []float64{0}, values(t, w, "rollwatch_probe_up", time.Now()))

		series, err := w.Select(t.Context(), time.Now().Add(-time.Hour), time.Now(), named("queue_depth"))
		require.NoError(t, err)
		require.Len(t, series[0].Points, 2, "a marker is no sample")
	})
}

func TestWhatEndedDuringARestartIsMarkedStale(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		source := &told{statuses: []Status{upStatus("bullmq", "jobs", depth.Sample(7, "mail"))}}
		session := func(during time.Duration, check func(w *Store)) {
			window, err := Open(dir, DefaultConfig(), zap.NewNop())
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), during)
			defer cancel()
			require.NoError(t, NewFeeder(source, nil, window, 15*time.Second, zap.NewNop()).Run(ctx))
			check(window)
			require.NoError(t, window.Close())
		}
		session(31*time.Second, func(w *Store) { require.Equal(t, []float64{7}, values(t, w, "queue_depth", time.Now())) })
		source.set()
		session(16*time.Second, func(w *Store) { require.Empty(t, values(t, w, "queue_depth", time.Now())) })
	})
}

func TestAWindowThatTakesNothingIsSaidOnce(t *testing.T) {
	source := &told{}
	feeding(t, source, func(t *testing.T, w *Store, log *observer.ObservedLogs) {
		source.set(upStatus("bullmq", "jobs", depth.Sample(7, "mail")))
		source.full.Store(true)
		time.Sleep(46 * time.Second)
		require.Contains(t, w.Degraded(), "64MiB")
		source.full.Store(false)
		time.Sleep(15 * time.Second)
		require.Empty(t, w.Degraded())
		require.Equal(t, []float64{7}, values(t, w, "queue_depth", time.Now()))
		require.Equal(t, []string{"what is read is not recorded, and gates go without it", "what is read is recorded again"}, messages(log))
	})
}

func TestOneRefusedSampleDoesNotKeepOutTheOthers(t *testing.T) {
	source := &told{}
	feeding(t, source, func(t *testing.T, w *Store, _ *observer.ObservedLogs) {
		source.set(upStatus("bullmq", "jobs", depth.Sample(7, "mail"), depth.Sample(8, "sms")))
		time.Sleep(16 * time.Second)
		// A clock that once ran ahead has left a sample in the future.
		app := w.AppenderV2(t.Context())
		ahead := &fed{labels: feedLabels(depth.Sample(0, "mail"), part{}, "jobs")}
		require.NoError(t, ahead.append(app, time.Now().Add(time.Minute), 99))
		require.NoError(t, app.Commit())

		source.set(upStatus("bullmq", "jobs", depth.Sample(7, "mail"), depth.Sample(9, "sms")))
		time.Sleep(15 * time.Second)
		require.Equal(t, []float64{9}, values(t, w, `queue_depth{queue="sms"}`, time.Now()))
		require.Contains(t, w.Degraded(), `queue="mail"`)
	})
}
