package alerts

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

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

func fill(b *testing.B, window *collector.Memory, l labels.Labels, ticks int, rise float64) {
	b.Helper()
	for tick := range ticks {
		require.NoError(b, window.Append(time.Unix(int64(tick)*15, 0), l, rise*float64(tick)))
	}
}
