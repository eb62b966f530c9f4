package alerts

import (
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
)

// BenchmarkEvaluate judges two hours of a service with 5,000 series.
func BenchmarkEvaluate(b *testing.B) {
	window := collector.NewMemory()
	const ticks, pods, routes = 480, 10, 40
	for pod := range pods {
		for route := range routes {
			for i := range 12 {
				name, le := "http_request_duration_seconds_bucket", strconv.FormatFloat(0.01*float64(int(1)<<i), 'g', -1, 64)
				if i == 11 {
					le = "+Inf"
				}
				l := labels.NewBuilder(labels.FromStrings(model.MetricNameLabel, name, "job", "api", "instance", fmt.Sprintf("%d:1", pod),
					"route", fmt.Sprintf("/%d", route), "status_code", "200", "le", le))
				fill(b, window, l.Labels(), ticks, float64(i))
				if i == 11 {
					fill(b, window, l.Del("le").Set(model.MetricNameLabel, "http_request_duration_seconds_count").Labels(), ticks, 11)
				}
			}
		}
	}
	scene := Scene{
		Window: window, Service: apiService(), Interval: interval, Grace: time.Minute,
		Subject: Subject{Service: "api", StartedAt: time.Unix(0, 0)}, Now: time.Unix(ticks*15, 0),
	}
	gates := Gates(Config{}, scene.Service)
	for b.Loop() {
		_, err := Evaluate(b.Context(), gates, scene)
		require.NoError(b, err)
	}
}

// BenchmarkJudgement judges fifty services with 2,000 series each in the window on
// disk, in the middle of their watch, as often as they are scraped: %core is how much
// of one processor that takes at 15 s, kept folds and all. x-anew is the ratio to
// judging without them.
func BenchmarkJudgement(b *testing.B) {
	const services, ticks = 50, 120
	store, err := collector.Open(b.TempDir(), collector.DefaultConfig(), zap.NewNop())
	require.NoError(b, err)
	defer func() { require.NoError(b, store.Close()) }()
	begin := time.Unix(1_800_000_000, 0)
	scenes := make([]Scene, services)
	var all []labels.Labels
	for i := range scenes {
		service := *apiService()
		service.Name = fmt.Sprintf("api%d", i)
		all = append(all, twoThousand(service.Name)...)
		scenes[i] = Scene{
			Window: store, Service: &service, Interval: interval, Grace: time.Minute, Kept: &Kept{},
			Subject: Subject{Service: service.Name, StartedAt: begin.Add(interval)},
		}
	}
	gates := 0
	require.Len(b, all, 100_000)
	at := begin
	scrape := func() {
		appender := store.AppenderV2(b.Context())
		for i, l := range all {
			_, err := appender.Append(0, l, 0, at.UnixMilli(), float64(i%7)*at.Sub(begin).Seconds(), nil, nil, storage.AOptions{})
			require.NoError(b, err)
		}
		require.NoError(b, appender.Commit())
		at = at.Add(interval)
	}
	judge := func(kept bool) time.Duration {
		gates = 0
		before := processorTime()
		for _, scene := range scenes {
			if scene.Now = at; !kept {
				scene.Kept = nil
			}
			inForce := Gates(Config{}, scene.Service)
			gates += len(inForce)
			_, err := Evaluate(b.Context(), inForce, scene)
			require.NoError(b, err)
		}
		return processorTime() - before
	}
	for range ticks {
		scrape()
	}
	judge(true)
	var kept, anew []time.Duration
	for b.Loop() {
		scrape()
		kept = append(kept, judge(true))
		anew = append(anew, judge(false))
	}
	b.ReportMetric(0, "ns/op") // of both, and of scraping: of no use
	b.ReportMetric(float64(gates), "gates")
	b.ReportMetric(100*middle(kept).Seconds()/interval.Seconds(), "%core")
	b.ReportMetric(middle(kept).Seconds()/middle(anew).Seconds(), "x-anew")
}

// twoThousand are the series of one service: five instances with 33 routes.
func twoThousand(job string) []labels.Labels {
	var all []labels.Labels
	for n := range 2000 {
		instance, route, part := n%5, n/5%33, n/165
		of := []string{"job", job, "instance", fmt.Sprintf("%d:1", instance), "route", fmt.Sprintf("/%d", route), "status_code", "200"}
		switch {
		case n < 5:
			of = []string{"job", job, "instance", fmt.Sprintf("%d:1", instance), model.MetricNameLabel, "up"}
		case part == 0:
			of = append(of, model.MetricNameLabel, "http_request_duration_seconds_count")
		case part == 12:
			of = append(of, model.MetricNameLabel, "http_request_duration_seconds_sum")
		case part == 11:
			of = append(of, model.MetricNameLabel, "http_request_duration_seconds_bucket", "le", "+Inf")
		default:
			of = append(of, model.MetricNameLabel, "http_request_duration_seconds_bucket", "le", strconv.Itoa(part))
		}
		all = append(all, labels.FromStrings(of...))
	}
	return all
}

// processorTime is how much of the processors this process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func fill(b *testing.B, window *collector.Memory, l labels.Labels, ticks int, rise float64) {
	b.Helper()
	for tick := range ticks {
		require.NoError(b, window.Append(time.Unix(int64(tick)*15, 0), l, rise*float64(tick)))
	}
}
