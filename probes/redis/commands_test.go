package redis_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// distribution is that of the one series of a family with these labels.
func distribution(t *testing.T, r probe.Reading, name string, labels ...string) probe.Distribution {
	t.Helper()
	for _, s := range r.Samples {
		if s.Metric.Name == name && (len(labels) == 0 || s.Labels[0] == labels[0]) {
			require.NotNil(t, s.Distribution)
			return *s.Distribution
		}
	}
	require.Failf(t, "no series", "%s %v", name, labels)
	return probe.Distribution{}
}

// What a server did for its clients is told by command, to the call.
func TestCommandsAreCounted(t *testing.T) {
	server := live.Redis(t, "--slowlog-log-slower-than", "20000", "--io-threads", "2", "--client-output-buffer-limit", "normal 10mb 5mb 60")
	p := open(t, target(server.URL))
	r := redistest.ReadOnly(t, p)
	require.NotContains(t, redistest.Names(r), "redis_slowlog_last_id", "an empty log has no newest entry")
	for range 7 {
		server.Do(t, "set", "k", "v")
	}
	server.Do(t, "eval", "local s = redis.call('time') local function us(t) return t[1] * 1000000 + t[2] end while us(redis.call('time')) - us(s) < 30000 do end return 1", 0)

	r = redistest.ReadOnly(t, p)
	require.Equal(t, 7.0, redistest.Value(t, r, "redis_commands_total", "set"))
	require.Equal(t, 0.0, redistest.Value(t, r, "redis_commands_failed_calls_total", "set"))
	require.Greater(t, redistest.Value(t, r, "redis_commands_duration_seconds_total", "eval"), 0.029)
	calls := distribution(t, r, "redis_commands_latencies_usec", "eval")
	require.EqualValues(t, 1, calls.Count)
	require.Greater(t, calls.Sum, 29_000.0)
	require.Equal(t, 1.0, calls.Points[len(calls.Points)-1].Value)
	require.Greater(t, calls.Points[len(calls.Points)-1].At, 29_000.0)
	quantiles := distribution(t, r, "redis_latency_percentiles_usec", "eval")
	require.Equal(t, []float64{0.5, 0.99, 0.999}, []float64{quantiles.Points[0].At, quantiles.Points[1].At, math.Round(quantiles.Points[2].At*1000) / 1000})
	require.InDelta(t, 30_000, quantiles.Points[0].Value, 5_000)

	require.Equal(t, 1.0, redistest.Value(t, r, "redis_slowlog_length"))
	require.Equal(t, 0.0, redistest.Value(t, r, "redis_slowlog_last_id"))
	require.Greater(t, redistest.Value(t, r, "redis_last_slow_execution_duration_seconds"), 0.029)
	require.InDelta(t, time.Now().Unix(), redistest.Value(t, r, "redis_start_time_seconds"), 30)
	require.Equal(t, 2.0, redistest.Value(t, r, "redis_config_io_threads"))
	require.Equal(t, 10.0*1024*1024, redistest.Value(t, r, "redis_config_client_output_buffer_limit_bytes", "normal", "hard"))
	require.Equal(t, 60.0, redistest.Value(t, r, "redis_config_client_output_buffer_limit_overcome_seconds", "normal"))

	pings := distribution(t, r, "redis_ping_seconds")
	require.EqualValues(t, 2, pings.Count, "one a reading")
	require.Less(t, pings.Sum, 1.0)
}

func TestAThousandReadingsOfAServerLeaveNothingBehind(t *testing.T) {
	server := live.Redis(t)
	server.Do(t, "set", "k", "v")
	p := open(t, target(server.URL))
	grown := live.Growth(t, func(int) { redistest.ReadOnly(t, p) })
	require.Less(t, grown, int64(256<<10), "bytes in a thousand readings")
	require.EqualValues(t, 1101, distribution(t, redistest.ReadOnly(t, p), "redis_ping_seconds").Count, "all of them were made")
}
