package bullmq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// BenchmarkRead reads queues in which every command finds something. In turn
// with each reading a bare pipeline does the same reads, so that whatever else
// the machine does slows both: x-bare is the ratio of the two medians.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkRead(b, n) })
	}
}

func benchmarkRead(b *testing.B, n int) {
	b.Helper()
	server := live.Redis(b)
	seed(b, server, n)
	links := redistest.Links(b, server.URL)
	p := redistest.Open(b, &bullmq.Config{Name: "jobs", Kind: bullmq.Kind, Redis: "main"}, links)
	redistest.Discover(b, p)
	require.Equal(b, float64(n), redistest.Value(b, redistest.ReadOnly(b, p), "bullmq_queues"))
	client, err := links.Redis("main")
	require.NoError(b, err)
	queues := make([]string, n)
	for i := range queues {
		queues[i] = fmt.Sprintf("bull:queue-%d:", i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	var ours, bare []time.Duration
	var cpu float64
	var bytes, objects uint64
	for b.Loop() {
		start := time.Now()
		require.NoError(b, bareRead(ctx, client, queues))
		bare = append(bare, time.Since(start))

		used := processor(b, server)
		bytesBefore, objectsBefore := live.Allocated()
		start = time.Now()
		_, err := p.Read(ctx)
		ours = append(ours, time.Since(start))
		require.NoError(b, err)
		bytesAfter, objectsAfter := live.Allocated()
		bytes, objects = bytes+bytesAfter-bytesBefore, objects+objectsAfter-objectsBefore
		cpu += processor(b, server) - used
	}
	b.ReportMetric(0, "ns/op") // of both together: of no use
	b.ReportMetric(median(ours).Seconds()*1000, "ms/read")
	b.ReportMetric(median(bare).Seconds()*1000, "ms/bare")
	b.ReportMetric(float64(median(ours))/float64(median(bare)), "x-bare")
	b.ReportMetric(float64(bytes)/float64(len(ours))/1024, "KiB/read")
	b.ReportMetric(float64(objects)/float64(len(ours)), "allocs/read")
	b.ReportMetric(cpu*1000/float64(len(ours)), "redis-cpu-ms/read")
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// processor is the processor time that the server has used, in seconds.
func processor(b *testing.B, server *live.RedisServer) float64 {
	b.Helper()
	info := redis.ParseInfo(server.Do(b, "info", "cpu").(string))
	user, _ := info.Number("used_cpu_user")
	system, _ := info.Number("used_cpu_sys")
	return user + system
}

// bareRead is the least that the same reads can cost with go-redis: the same
// commands on keys that are known, in pipelines of the same length, and nothing
// done with the answers.
func bareRead(ctx context.Context, client goredis.UniversalClient, queues []string) error {
	rounds := []struct {
		perQueue int
		ask      func(pipe goredis.Pipeliner, base string)
	}{
		{11, func(pipe goredis.Pipeliner, base string) {
			for _, list := range []string{"wait", "paused", "active"} {
				pipe.LLen(ctx, base+list)
			}
			for _, set := range []string{"prioritized", "delayed", "waiting-children", "completed", "failed"} {
				pipe.ZCard(ctx, base+set)
			}
			pipe.HMGet(ctx, base+"meta", "paused", "opts.maxLenEvents", "version")
			pipe.HGet(ctx, base+"metrics:completed", "count")
			pipe.HGet(ctx, base+"metrics:failed", "count")
		}},
		{2, func(pipe goredis.Pipeliner, base string) {
			pipe.LIndex(ctx, base+"wait", -1)
			pipe.ZCount(ctx, base+"delayed", "-inf", "4096000")
		}},
	}
	for _, round := range rounds {
		err := redis.Pipelined(ctx, client, round.perQueue, queues, round.ask)
		if err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(queues, 100) {
		var limiters, checks, streams, from []string
		for _, base := range batch {
			limiters, checks = append(limiters, base+"limiter"), append(checks, base+"stalled-check")
			streams, from = append(streams, base+"events"), append(from, "0-0")
		}
		pipe := client.Pipeline()
		pipe.MGet(ctx, limiters...)
		pipe.MGet(ctx, checks...)
		pipe.XRead(ctx, &goredis.XReadArgs{Streams: append(streams, from...), Count: 50, Block: -1})
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
			return err
		}
	}
	return nil
}
