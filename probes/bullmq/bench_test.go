package bullmq_test

import (
	"cmp"
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
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// BenchmarkRead reads queues in which every command finds something: 1,000 on one
// server and 10,000 on another. What is compared takes turns, and lasts about as
// long (ten readings of 1,000, one of 10,000), so that whatever else the machine
// does, and the collector of garbage, slows all alike; a ratio is the median of the
// rounds'. x-bare is against a bare pipeline that does the same reads, x-1000 what
// 10,000 queues take against 1,000.
func BenchmarkRead(b *testing.B) {
	const (
		rounds = 25 // of each iteration: enough for a median
		inARow = 10 // readings of the few
	)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	few, many := newScene(b, 1_000), newScene(b, 10_000)
	var ofFew, ofMany, bareFew, bareMany cost
	for b.Loop() {
		for range rounds {
			bareFew.measure(b, few, inARow, func() error { return few.bareRead(ctx) })
			bareMany.measure(b, many, 1, func() error { return many.bareRead(ctx) })
			ofFew.measure(b, few, inARow, func() error { return few.read(ctx) })
			ofMany.measure(b, many, 1, func() error { return many.read(ctx) })
		}
	}
	b.ReportMetric(0, "ns/op") // of all together: of no use
	ofFew.report(b, few, bareFew)
	ofMany.report(b, many, bareMany)
	b.ReportMetric(ratio(ofMany.times, ofFew.times), "x-1000")
	b.ReportMetric(ratio(bareMany.times, bareFew.times), "x-1000-bare")
	b.ReportMetric(ofMany.server/ofFew.server, "x-1000-redis-cpu")
}

// A scene is a server with queues, and a probe that reads them.
type scene struct {
	server *live.RedisServer
	probe  probe.Probe
	client goredis.UniversalClient
	queues []string // the beginning of their keys
	whole  int      // how many of them one reading asks everything
}

func newScene(b *testing.B, n int) *scene {
	b.Helper()
	s := &scene{whole: n, server: live.Redis(b)}
	seed(b, s.server, n)
	links := redistest.Links(b, s.server.URL)
	s.probe = redistest.Open(b, &bullmq.Config{Name: "jobs", Kind: bullmq.Kind, Redis: "main"}, links)
	redistest.Discover(b, s.probe)
	require.Equal(b, float64(n), redistest.Value(b, redistest.ReadOnly(b, s.probe), "bullmq_queues"))
	var err error
	s.client, err = links.Redis("main")
	require.NoError(b, err)
	for i := range n {
		s.queues = append(s.queues, fmt.Sprintf("bull:queue-%d:", i))
	}
	if n > 2_000 {
		s.whole = n / 4 // the others have their turn in the next readings
	}
	return s
}

func (s *scene) bareRead(ctx context.Context) error {
	return bareRead(ctx, s.client, s.queues[:s.whole], s.queues[s.whole:])
}

func (s *scene) read(ctx context.Context) error {
	_, err := s.probe.Read(ctx)
	return err
}

// A cost is what one reading takes.
type cost struct {
	times                  []time.Duration // by round
	server, bytes, objects float64         // of all rounds; server is the processor time of the Redis in seconds
}

// measure takes what one of n readings in a row takes.
func (c *cost) measure(b *testing.B, s *scene, n int, read func() error) {
	b.Helper()
	used := processor(b, s.server)
	bytes, objects := live.Allocated()
	start := time.Now()
	for range n {
		require.NoError(b, read())
	}
	c.times = append(c.times, time.Since(start)/time.Duration(n))
	bytesAfter, objectsAfter := live.Allocated()
	c.bytes += float64(bytesAfter-bytes) / float64(n)
	c.objects += float64(objectsAfter-objects) / float64(n)
	c.server += (processor(b, s.server) - used) / float64(n)
}

func (c *cost) report(b *testing.B, s *scene, bare cost) {
	b.Helper()
	report := func(value float64, unit string) { b.ReportMetric(value, fmt.Sprintf("%s-%d", unit, len(s.queues))) }
	n := float64(len(c.times))
	report(median(c.times).Seconds()*1000, "ms")
	report(median(bare.times).Seconds()*1000, "ms-bare")
	report(ratio(c.times, bare.times), "x-bare")
	report(c.bytes/n/1024, "KiB")
	report(c.objects/n, "allocs")
	report(c.server/n*1000, "redis-cpu-ms")
}

// ratio is the median of the ratios of two times of one round.
func ratio(times, to []time.Duration) float64 {
	ratios := make([]float64, len(times))
	for i := range times {
		ratios[i] = float64(times[i]) / float64(to[i])
	}
	return median(ratios)
}

func median[T cmp.Ordered](values []T) T {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
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
// done with the answers. whole are the queues that are asked everything, part
// those that are asked what is always asked.
func bareRead(ctx context.Context, client goredis.UniversalClient, whole, part []string) error {
	counts := func(pipe goredis.Pipeliner, base string) {
		for _, list := range []string{"wait", "paused", "active"} {
			pipe.LLen(ctx, base+list)
		}
		for _, set := range []string{"prioritized", "delayed", "waiting-children", "completed", "failed"} {
			pipe.ZCard(ctx, base+set)
		}
		pipe.HGet(ctx, base+"metrics:completed", "count")
		pipe.HGet(ctx, base+"metrics:failed", "count")
	}
	for _, round := range []struct {
		perQueue int
		of       []string
		ask      func(pipe goredis.Pipeliner, base string)
	}{
		{10, part, counts},
		{1, part, func(pipe goredis.Pipeliner, base string) { pipe.LIndex(ctx, base+"wait", -1) }},
		{11, whole, func(pipe goredis.Pipeliner, base string) {
			counts(pipe, base)
			pipe.HMGet(ctx, base+"meta", "paused", "opts.maxLenEvents", "version", "max")
		}},
		{2, whole, func(pipe goredis.Pipeliner, base string) {
			pipe.LIndex(ctx, base+"wait", -1)
			pipe.ZCount(ctx, base+"delayed", "-inf", "4096000")
		}},
	} {
		if err := redis.Pipelined(ctx, client, round.perQueue, round.of, round.ask); err != nil {
			return err
		}
	}
	if err := bareShared(ctx, client, whole, "limiter", "events"); err != nil {
		return err
	}
	return bareShared(ctx, client, slices.Concat(whole, part), "stalled-check")
}

// bareShared reads keys of a hundred queues by one command.
func bareShared(ctx context.Context, client goredis.UniversalClient, queues []string, ends ...string) error {
	for batch := range slices.Chunk(queues, 100) {
		pipe := client.Pipeline()
		for _, end := range ends {
			var keys, from []string
			for _, base := range batch {
				keys, from = append(keys, base+end), append(from, "0-0")
			}
			if end == "events" {
				pipe.XRead(ctx, &goredis.XReadArgs{Streams: append(keys, from...), Count: 50, Block: -1})
			} else {
				pipe.MGet(ctx, keys...)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
			return err
		}
	}
	return nil
}
