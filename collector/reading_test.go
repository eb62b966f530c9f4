package collector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	wait     = &probe.Metric{Name: "job_wait_seconds", Type: probe.Histogram, Unit: "seconds", Labels: []string{"queue"}, Help: "How long jobs waited."}
	quantile = &probe.Metric{Name: "command_usec", Type: probe.Summary, Labels: []string{"cmd"}, Help: "How long commands took."}
)

func distributions() []probe.Sample {
	return []probe.Sample{
		wait.Distributed(probe.Distribution{Count: 3, Sum: 4.5, Points: []probe.Point{{At: 1, Value: 1}, {At: 2.5, Value: 2}}}, "mail"),
		quantile.Distributed(probe.Distribution{Count: 9, Sum: 90, Points: []probe.Point{{At: 0.5, Value: 8}, {At: 0.99, Value: 20}}}, "get"),
	}
}

func TestDistributionsAreExposedAsTheirType(t *testing.T) {
	status := upStatus("redis", "main", distributions()...)
	require.NoError(t, testutil.CollectAndCompare(NewCollector(fixed{status}, zap.NewNop()), strings.NewReader(`
# HELP command_usec How long commands took.
# TYPE command_usec summary
command_usec{cmd="get",target="main",quantile="0.5"} 8
command_usec{cmd="get",target="main",quantile="0.99"} 20
command_usec_sum{cmd="get",target="main"} 90
command_usec_count{cmd="get",target="main"} 9
# HELP job_wait_seconds How long jobs waited.
# TYPE job_wait_seconds histogram
job_wait_seconds_bucket{queue="mail",target="main",le="1"} 1
job_wait_seconds_bucket{queue="mail",target="main",le="2.5"} 2
job_wait_seconds_bucket{queue="mail",target="main",le="+Inf"} 3
job_wait_seconds_sum{queue="mail",target="main"} 4.5
job_wait_seconds_count{queue="mail",target="main"} 3
`), "job_wait_seconds", "command_usec"))
}

// A gate that reads the window finds a histogram as it would in a Prometheus
// that scraped it, and its end when it ends.
func TestDistributionsAreFedAsTheirSeries(t *testing.T) {
	source := &told{}
	feeding(t, source, func(t *testing.T, w *Store, _ *observer.ObservedLogs) {
		source.set(upStatus("redis", "main", distributions()...))
		time.Sleep(15 * time.Second)
		synctest.Wait()
		now := time.Now()
		require.Equal(t, []float64{2}, values(t, w, `job_wait_seconds_bucket{queue="mail",le="2.5"}`, now))
		require.Equal(t, []float64{3}, values(t, w, `job_wait_seconds_bucket{queue="mail",le="+Inf"}`, now))
		require.Equal(t, []float64{1}, values(t, w, `job_wait_seconds_bucket{le="1.0"}`, now), "as Prometheus writes a bound")
		require.Equal(t, []float64{4.5}, values(t, w, `job_wait_seconds_sum`, now))
		require.Equal(t, []float64{9}, values(t, w, `command_usec_count`, now))
		require.Equal(t, []float64{20}, values(t, w, `command_usec{quantile="0.99"}`, now))

		source.set(upStatus("redis", "main"))
		time.Sleep(15 * time.Second)
		synctest.Wait()
		require.Empty(t, values(t, w, `job_wait_seconds_bucket`, time.Now()))
	})
}

func TestADistributionCostsTheBudgetAllItsSeries(t *testing.T) {
	kept, twice, over := trim(append(distributions(), depth.Sample(1, "mail")), 6)
	require.Len(t, kept, 2, "the histogram has 5 series, which leaves room for one more")
	require.Zero(t, twice)
	require.Equal(t, 4, over)
	require.Same(t, depth, kept[1].Metric)
}

// What is not granted lasts: it is named once, and once more when it is granted.
func TestWhatIsDeniedIsNamedOnce(t *testing.T) {
	p := &fakeProbe{read: func(_ context.Context, n int) (probe.Reading, error) {
		state := probe.ViewDenied
		if n > 5 {
			state = probe.ViewRead
		}
		return probe.Reading{Views: []probe.View{{Name: "slots", State: state, Err: errors.New("not granted")}, {Name: "locks", State: probe.ViewRead}}}, nil
	}}
	scheduled(t, []Target{target("a", p)}, func(t *testing.T, _ *Schedule, log *observer.ObservedLogs) {
		time.Sleep(10 * 15 * time.Second)
		require.Equal(t, []string{
			"a part of the target is denied to us: `rollwatch config grants` prints what is needed", "a part of the target is not denied to us any more",
		}, messages(log))
		require.Equal(t, "slots", log.All()[0].ContextMap()["view"])
	})
}

// What should be changed of a target that is well lasts too: it is told once.
func TestAWarningIsToldOnce(t *testing.T) {
	p := &fakeProbe{read: func(_ context.Context, n int) (probe.Reading, error) {
		if n > 5 {
			return probe.Reading{}, nil
		}
		return probe.Reading{Warning: "its Redis evicts"}, nil
	}}
	scheduled(t, []Target{target("a", p)}, func(t *testing.T, _ *Schedule, log *observer.ObservedLogs) {
		time.Sleep(10 * 15 * time.Second)
		require.Equal(t, []string{"the target is up and should be changed: its Redis evicts", "the target is warned of no more"}, messages(log))
	})
}

// A probe that leaves something out itself says how much: it is dropped as loudly.
func TestWhatAProbeLeavesOutIsDroppedToo(t *testing.T) {
	p := &fakeProbe{read: func(context.Context, int) (probe.Reading, error) { return probe.Reading{Dropped: 7}, nil }}
	scheduled(t, []Target{target("a", p)}, func(t *testing.T, s *Schedule, log *observer.ObservedLogs) {
		time.Sleep(25 * time.Second)
		require.EqualValues(t, 14, status(t, s, "a").Dropped)
		require.Equal(t, []string{"series of the target are dropped"}, messages(log))
	})
}

func TestWhatIsKeptOfAReadingIsNotTheProbesOwn(t *testing.T) {
	samples := []probe.Sample{depth.Sample(1, "mail"), depth.Sample(2, "sync")}
	kept, _, _ := trim(samples, 10)
	samples[0], samples[1] = depth.Sample(3, "act"), depth.Sample(4, "log") // the next reading
	require.Equal(t, []probe.Sample{depth.Sample(1, "mail"), depth.Sample(2, "sync")}, kept)
}
