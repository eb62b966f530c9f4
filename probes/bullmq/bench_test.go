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

// BenchmarkRead reads queues in which every command finds something: 1,000 on
// each of ten servers, and 10,000 on one. What is compared takes turns, and lasts
// about as long (ten readings of 1,000, one of 10,000), so that whatever else the
// machine does, and the collector of garbage, slows all alike; a ratio is the median
// of the rounds'.
//
// x-bare is against a bare pipeline that does the same reads, x-1000 what 10,000
// queues take against 1,000. There a reading of 1,000 comes after nine on other
// servers, as in a daemon it comes after seconds of other work; x-1000-warm is
// against readings of one server that follow each other, whose keys the processor
// still holds near, which those of 10,000 it cannot.
func BenchmarkRead(b *testing.B) {
	const rounds = 15 // of each iteration: enough for a median
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	few, same := make(scenes, 10), make(scenes, 10)
	for i := range few {
		few[i], same[i] = newScene(b, 1_000), few[0]
	}
	many := scenes{newScene(b, 10_000)}
	var ofFew, ofMany, ofSame cost
	var bare, bareMany cost
	for b.Loop() {
		for range rounds {
			bare.add(few.measure(b, func(s *scene) { s.bareRead(ctx, b) }))
			bareMany.add(many.measure(b, func(s *scene) { s.bareRead(ctx, b) }))
			ofFew.add(few.measure(b, func(s *scene) { s.read(ctx, b) }))
			ofMany.add(many.measure(b, func(s *scene) { s.read(ctx, b) }))
			ofSame.add(same.measure(b, func(s *scene) { s.read(ctx, b) }))
		}
	}
	b.ReportMetric(0, "ns/op") // of all together: of no use
	ofFew.report(b, 1_000, bare)
	ofMany.report(b, 10_000, bareMany)
	b.ReportMetric(ratio(ofMany.times, ofFew.times), "x-1000")
	b.ReportMetric(ratio(ofMany.times, ofSame.times), "x-1000-warm")
	b.ReportMetric(ratio(bareMany.times, bare.times), "x-1000-bare")
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

func (s *scene) bareRead(ctx context.Context, b *testing.B) {
	b.Helper()
	require.NoError(b, bareRead(ctx, s.client, s.queues[:s.whole], s.queues[s.whole:]))
}

func (s *scene) read(ctx context.Context, b *testing.B) {
	b.Helper()
	_, err := s.probe.Read(ctx)
	require.NoError(b, err)
}

// scenes are read one after the other.
type scenes []*scene

// A cost is what readings took, each of one scene.
type cost struct {
	times                  []time.Duration // by round
	server, bytes, objects float64         // of all rounds; server is the processor time of the Redis in seconds
}

// measure does something with each scene, and answers what it took for one.
func (all scenes) measure(b *testing.B, do func(*scene)) cost {
	b.Helper()
	n := float64(len(all))
	var used float64
	for _, s := range all {
		used -= processor(b, s.server)
	}
	bytes, objects := live.Allocated()
	start := time.Now()
	for _, s := range all {
		do(s)
	}
	took := time.Since(start)
	bytesAfter, objectsAfter := live.Allocated()
	for _, s := range all {
		used += processor(b, s.server)
	}
	return cost{
		times:  []time.Duration{took / time.Duration(len(all))},
		server: used / n, bytes: float64(bytesAfter-bytes) / n, objects: float64(objectsAfter-objects) / n,
	}
}

func (c *cost) add(round cost) {
	c.times = append(c.times, round.times...)
	c.server, c.bytes, c.objects = c.server+round.server, c.bytes+round.bytes, c.objects+round.objects
}

func (c *cost) report(b *testing.B, queues int, bare cost) {
	b.Helper()
	report := func(value float64, unit string) { b.ReportMetric(value, fmt.Sprintf("%s-%d", unit, queues)) }
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
	if err := bareShared(ctx, client, whole, "limiter"); err != nil {
		return err
	}
	return bareShared(ctx, client, slices.Concat(whole, part), "stalled-check", "events")
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
