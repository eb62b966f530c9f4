package collector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	depth = &probe.Metric{Name: "queue_depth", Type: probe.Gauge, Labels: []string{"queue"}, Help: "Jobs that wait."}
	jobs  = &probe.Metric{Name: "queue_jobs_total", Type: probe.Counter, Help: "Jobs done."}
)

// fakeProbe answers as read says, and watches that it is used as promised.
type fakeProbe struct {
	read     func(ctx context.Context, n int) (probe.Reading, error)
	mu       sync.Mutex
	reads    int
	reading  bool
	closed   bool
	violated string
}

func (p *fakeProbe) Read(ctx context.Context) (probe.Reading, error) {
	p.mu.Lock()
	if p.reading || p.closed {
		p.violated = "read twice at once, or after it was closed"
	}
	p.reads++
	p.reading = true
	n := p.reads
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.reading = false
		p.mu.Unlock()
	}()
	return p.read(ctx, n)
}

func (p *fakeProbe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading {
		p.violated = "closed while it was read"
	}
	p.closed = true
	return nil
}

func (p *fakeProbe) check(tb testing.TB, closed bool) {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(tb, p.violated)
	require.Equal(tb, closed, p.closed)
}

func answers(ctx context.Context, n int) (probe.Reading, error) {
	return probe.Reading{Samples: []probe.Sample{depth.Sample(float64(n), "mail")}}, nil
}

func target(name string, p probe.Probe) Target {
	return Target{Kind: "fake", Name: name, Interval: 15 * time.Second, Timeout: 3 * time.Second, Budget: 1000, Probe: p}
}

// scheduled runs targets in a bubble of their own until story returns.
func scheduled(t *testing.T, targets []Target, story func(t *testing.T, s *Schedule, log *observer.ObservedLogs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, log := observer.New(zap.InfoLevel)
		s, err := NewSchedule(targets, zap.New(core))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		story(t, s, log)
		cancel()
		require.NoError(t, <-ended)
	})
}

func status(tb testing.TB, s *Schedule, name string) Status {
	tb.Helper()
	for _, st := range s.Statuses(time.Now()) {
		if st.Name == name {
			return st
		}
	}
	tb.Fatalf("no target %s", name)
	return Status{}
}

func TestScheduleReadsEveryTargetAtItsInterval(t *testing.T) {
	a, b := &fakeProbe{read: answers}, &fakeProbe{read: answers}
	scheduled(t, []Target{target("b", b), target("a", a)}, func(t *testing.T, s *Schedule, _ *observer.ObservedLogs) {
		require.False(t, status(t, s, "a").Up, "nothing is known before the first read")
		time.Sleep(1500 * time.Millisecond) // the jitter is at most a tenth of the interval
		all := s.Statuses(time.Now())
		require.Equal(t, []string{"a", "b"}, []string{all[0].Name, all[1].Name})
		require.NotEqual(t, all[0].Started, all[1].Started, "they are not read at the same moment")
		for _, st := range all {
			require.True(t, st.Up)
			require.Equal(t, 1.0, st.Reading.Samples[0].Value)
		}
		time.Sleep(60 * time.Second)
		require.Equal(t, 5.0, status(t, s, "a").Reading.Samples[0].Value)
		require.Zero(t, status(t, s, "a").Missed)
	})
	a.check(t, true)
	b.check(t, true)
}

func TestAHangingProbeCostsOnlyItself(t *testing.T) {
	var release chan struct{} // made within the bubble: one from outside would not let its time go on
	hanging := &fakeProbe{read: func(ctx context.Context, n int) (probe.Reading, error) {
		if n == 2 {
			<-release // deaf to its context
		}
		return answers(ctx, n)
	}}
	well := &fakeProbe{read: answers}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		core, log := observer.New(zap.InfoLevel)
		s, err := NewSchedule([]Target{target("hanging", hanging), target("well", well)}, zap.New(core))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()

		time.Sleep(15*time.Second + 1500*time.Millisecond + 3*time.Second + overdue)
		st := status(t, s, "hanging")
		require.False(t, st.Up, "it is down once its deadline has passed")
		require.ErrorContains(t, st.Err, "no answer within 3s")
		require.NotEmpty(t, st.Reading.Samples, "what was read before is still fresh")

		time.Sleep(30 * time.Second)
		st = status(t, s, "hanging")
		require.Equal(t, uint64(2), st.Missed, "ticks pass while the abandoned read is waited for")
		require.Empty(t, st.Reading.Samples, "data older than three intervals is dropped")
		require.Equal(t, 4.0, status(t, s, "well").Reading.Samples[0].Value)
		require.Zero(t, status(t, s, "well").Missed)

		close(release)
		synctest.Wait()
		require.False(t, status(t, s, "hanging").Up, "an answer that comes too late is no news")
		time.Sleep(15 * time.Second)
		require.True(t, status(t, s, "hanging").Up)
		require.Equal(t, []string{"target is down", "target is up again"}, messages(log))
		cancel()
		require.NoError(t, <-ended)
	})
	hanging.check(t, true)
	well.check(t, true)
}

func messages(log *observer.ObservedLogs) []string {
	var out []string
	for _, e := range log.All() {
		out = append(out, e.Message)
	}
	return out
}

func TestTheLogHasALineForEachChangeNotForEachTick(t *testing.T) {
	p := &fakeProbe{read: func(ctx context.Context, n int) (probe.Reading, error) {
		if n <= 4 || n == 8 {
			return probe.Reading{}, errors.New("connection refused")
		}
		return answers(ctx, n)
	}}
	scheduled(t, []Target{target("a", p)}, func(t *testing.T, s *Schedule, log *observer.ObservedLogs) {
		time.Sleep(10 * 15 * time.Second)
		require.Equal(t, []string{"target is down", "target is up for the first time", "target is down", "target is up again"}, messages(log))
		require.Equal(t, "a", log.All()[0].ContextMap()["target"])
		require.Equal(t, "connection refused", log.All()[0].ContextMap()["error"])
	})
}

func TestAPanicIsAnErrorOfItsTarget(t *testing.T) {
	wild := &fakeProbe{read: func(context.Context, int) (probe.Reading, error) { panic("nil map") }}
	well := &fakeProbe{read: answers}
	scheduled(t, []Target{target("wild", wild), target("well", well)}, func(t *testing.T, s *Schedule, log *observer.ObservedLogs) {
		time.Sleep(time.Minute)
		require.ErrorContains(t, status(t, s, "wild").Err, "the probe panicked: nil map")
		require.True(t, status(t, s, "well").Up)
		require.Len(t, log.All(), 1)
		require.Contains(t, log.All()[0].ContextMap()["stack"], "schedule_test.go")
	})
	wild.check(t, true)
}

func TestATargetThatFloodsIsCutToItsBudget(t *testing.T) {
	p := &fakeProbe{read: func(context.Context, int) (probe.Reading, error) {
		var r probe.Reading
		for i := range 1005 {
			r.Samples = append(r.Samples, depth.Sample(1, fmt.Sprint(i)))
		}
		r.Samples = append(r.Samples, depth.Sample(2, "0"), depth.Sample(1, "caf\xe9"))
		return r, nil
	}}
	scheduled(t, []Target{target("a", p)}, func(t *testing.T, s *Schedule, log *observer.ObservedLogs) {
		time.Sleep(40 * time.Second)
		st := status(t, s, "a")
		require.True(t, st.Up)
		require.Len(t, st.Reading.Samples, 1000)
		require.Equal(t, 1.0, st.Reading.Samples[0].Value, "of two of the same series the first stays")
		require.Equal(t, uint64(3*7), st.Dropped)
		require.Equal(t, []string{"series of the target are dropped"}, messages(log))
		require.Equal(t, int64(6), log.All()[0].ContextMap()["over_budget"])
		require.Equal(t, int64(1), log.All()[0].ContextMap()["read_twice"])
	})
}

func TestTrimMendsWhatIsNoText(t *testing.T) {
	kept, _, _ := trim([]probe.Sample{depth.Sample(1, "caf\xe9")}, 10)
	require.Equal(t, "caf\uFFFD", kept[0].Labels[0])
}

// discoveringProbe finds its queues in the background.
type discoveringProbe struct {
	fakeProbe
	discover func(ctx context.Context) error
}

func (p *discoveringProbe) Discover(ctx context.Context) error { return p.discover(ctx) }
func (p *discoveringProbe) DiscoverInterval() time.Duration    { return time.Minute }

func TestDiscoverRunsAtOnceAndBesideTheReads(t *testing.T) {
	var found atomic.Int64
	p := &discoveringProbe{}
	p.read = answers
	p.discover = func(ctx context.Context) error {
		switch found.Add(1) {
		case 2:
			<-ctx.Done() // slow: reads go on beside it
			return ctx.Err()
		case 3:
			panic("no such key")
		}
		return nil
	}
	scheduled(t, []Target{target("a", p)}, func(t *testing.T, s *Schedule, _ *observer.ObservedLogs) {
		synctest.Wait()
		require.Equal(t, int64(1), found.Load(), "before any time has passed")
		time.Sleep(119 * time.Second)
		st := status(t, s, "a")
		require.Equal(t, 8.0, st.Reading.Samples[0].Value)
		require.Zero(t, st.Missed)
		require.Equal(t, "discovery", st.Reading.Views[0].Name)
		require.ErrorIs(t, st.Reading.Views[0].Err, context.DeadlineExceeded)
		time.Sleep(2 * time.Second)
		require.ErrorContains(t, status(t, s, "a").Reading.Views[0].Err, "panicked: no such key")
		require.True(t, status(t, s, "a").Up)
		time.Sleep(60 * time.Second)
		require.Empty(t, status(t, s, "a").Reading.Views)
	})
}

func TestReplaceKeepsWhatIsKnownAndClosesTheOld(t *testing.T) {
	old, gone, fresh := &fakeProbe{read: answers}, &fakeProbe{read: answers}, &fakeProbe{read: answers}
	passing := &fakeProbe{read: answers}
	scheduled(t, []Target{target("a", old), target("gone", gone)}, func(t *testing.T, s *Schedule, _ *observer.ObservedLogs) {
		time.Sleep(5 * 15 * time.Second)
		require.NoError(t, s.Replace([]Target{target("a", passing)}))
		require.NoError(t, s.Replace([]Target{target("a", fresh)}), "before the other was ever run")
		require.Len(t, s.Statuses(time.Now()), 1)
		require.Equal(t, 5.0, status(t, s, "a").Reading.Samples[0].Value)
		synctest.Wait()
		old.check(t, true)
		gone.check(t, true)
		time.Sleep(2 * time.Second)
		require.Equal(t, 1.0, status(t, s, "a").Reading.Samples[0].Value)

		require.ErrorContains(t, s.Replace([]Target{target("x", nil), target("x", nil)}), "fake:x: there are two")
		require.Len(t, s.Statuses(time.Now()), 1, "a refusal changes nothing")
	})
	fresh.check(t, true)
	passing.check(t, true)
}

func TestStopLeavesBehindWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := &fakeProbe{read: func(context.Context, int) (probe.Reading, error) {
			<-release
			return probe.Reading{}, nil
		}}
		s, err := NewSchedule([]Target{target("deaf", deaf)}, zap.NewNop())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorContains(t, s.Run(ctx), "stop reading fake:deaf: still running")
		require.LessOrEqual(t, time.Since(start), 2*time.Second+parting)
		deaf.check(t, false)
		close(release)
	})
}

func TestReadOnceReadsAllAtOnceAndWaitsForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := &fakeProbe{read: func(context.Context, int) (probe.Reading, error) {
			<-release
			return probe.Reading{}, nil
		}}
		var discovered bool
		finder := &discoveringProbe{discover: func(context.Context) error { discovered = true; return nil }}
		finder.read = func(ctx context.Context, n int) (probe.Reading, error) {
			if !discovered {
				return probe.Reading{}, errors.New("read before it was discovered")
			}
			return answers(ctx, n)
		}
		down := &fakeProbe{read: func(context.Context, int) (probe.Reading, error) { return probe.Reading{}, errors.New("refused") }}
		start := time.Now()
		got := ReadOnce(t.Context(), []Target{target("finder", finder), target("deaf", deaf), target("down", down)}, zap.NewNop())
		require.Equal(t, 3*time.Second+overdue, time.Since(start))
		require.Equal(t, []string{"deaf", "down", "finder"}, []string{got[0].Name, got[1].Name, got[2].Name})
		require.ErrorContains(t, got[0].Err, "no answer within 3s")
		require.ErrorContains(t, got[1].Err, "refused")
		require.True(t, got[2].Up)
		finder.check(t, true)
		down.check(t, true)
		deaf.check(t, false)
		close(release)
	})
}

func TestEveryReadIsASpan(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(recorder)))
	defer otel.SetTracerProvider(noop.NewTracerProvider())
	p := &fakeProbe{read: func(ctx context.Context, n int) (probe.Reading, error) {
		switch n {
		case 2:
			<-ctx.Done()
			return probe.Reading{}, ctx.Err()
		case 3:
			panic("oh")
		case 4:
			return probe.Reading{}, errors.New("refused")
		}
		return answers(ctx, n)
	}}
	scheduled(t, []Target{target("a", p)}, func(*testing.T, *Schedule, *observer.ObservedLogs) { time.Sleep(50 * time.Second) })
	var outcomes []string
	for _, span := range recorder.Ended() {
		require.Equal(t, "probe.read", span.Name())
		require.Contains(t, span.Attributes(), attribute.String("kind", "fake"))
		require.Contains(t, span.Attributes(), attribute.String("target", "a"))
		for _, a := range span.Attributes() {
			if a.Key == "outcome" {
				outcomes = append(outcomes, a.Value.AsString())
			}
		}
	}
	require.Equal(t, []string{"ok", "timeout", "panic", "error"}, outcomes)
}
