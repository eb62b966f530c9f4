package bullmq_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

func TestMain(m *testing.M) { live.Main(m) }

// open opens a probe of the queues on a server.
func open(t *testing.T, url string, config bullmq.Config) probe.Probe {
	t.Helper()
	config.Name, config.Kind, config.Redis = "jobs", bullmq.Kind, "main"
	return redistest.Open(t, &config, redistest.Links(t, url))
}

// counts are the jobs of a queue by state, as we count them.
func counts(r probe.Reading, queue string) map[string]int {
	return redistest.By(r, "bullmq_job_count", queue)
}

// requireSame fails when we count otherwise than BullMQ does. The one state
// that BullMQ 6 has not, but a queue that came from BullMQ 5 can be in, is 0.
func requireSame(t *testing.T, p probe.Probe, queue *live.Queue, name string) {
	t.Helper()
	theirs := queue.Counts(t)
	ours := counts(redistest.Read(t, p), name)
	if _, ok := theirs["paused"]; !ok {
		require.Zero(t, ours["paused"])
		delete(ours, "paused")
	}
	require.Equal(t, theirs, ours)
}

func TestEveryStateIsCountedAsBullMQCountsIt(t *testing.T) {
	server := live.Redis(t, "--maxmemory-policy", "noeviction")
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			queue := live.Node(t, major).Queue(t, server.URL, prefix, "mail")
			p := open(t, server.URL, bullmq.Config{Prefix: prefix})

			queue.AddMany(t, 3, nil)
			queue.AddMany(t, 4, live.Options{"priority": 7})
			queue.AddMany(t, 5, live.Options{"delay": time.Hour.Milliseconds()})
			requireSame(t, p, queue, "mail")
			require.Equal(t, map[string]int{
				"waiting": 3, "paused": 0, "active": 0, "prioritized": 4, "delayed": 5,
				"waiting-children": 0, "completed": 0, "failed": 0,
			}, counts(redistest.Read(t, p), "mail"))

			queue.Pause(t)
			requireSame(t, p, queue, "mail")
			r := redistest.Read(t, p)
			require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_paused", "mail"))
			require.Equal(t, 3, counts(r, "mail")["waiting"]+counts(r, "mail")["paused"])
			require.Positive(t, redistest.Value(t, r, "bullmq_queue_oldest_waiting_seconds", "mail"), "a paused line waits too")
			queue.Resume(t)
			require.Zero(t, redistest.Value(t, redistest.Read(t, p), "bullmq_queue_paused", "mail"))

			require.Zero(t, redistest.Value(t, redistest.Read(t, p), "bullmq_job_completed_total", "mail", "events"), "BullMQ does not count yet")
			worker := queue.Worker(t, live.Complete, live.Options{"metrics": live.Options{"maxDataPoints": 10}})
			queue.Await(t, "completed", 7)
			worker.Stop(t)
			requireSame(t, p, queue, "mail")

			queue.AddFlow(t, 2)
			failing := queue.Worker(t, live.Fail, live.Options{"metrics": live.Options{"maxDataPoints": 10}})
			queue.Await(t, "failed", 2)
			failing.Stop(t)
			requireSame(t, p, queue, "mail")

			queue.AddMany(t, 2, nil)
			blocked := queue.Worker(t, live.Block, live.Options{"name": "host-1"})
			queue.Await(t, "active", 1)
			requireSame(t, p, queue, "mail")
			r = redistest.Read(t, p)
			require.Equal(t, 7.0, redistest.Value(t, r, "bullmq_job_completed_total", "mail", "metrics"))
			require.Equal(t, 2.0, redistest.Value(t, r, "bullmq_job_failed_total", "mail", "metrics"))
			require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_workers", "mail"))
			require.Zero(t, redistest.Value(t, r, "bullmq_queue_abandoned_jobs", "mail"))
			require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_redis_noeviction"))
			for view, state := range redistest.States(r) {
				require.Equal(t, probe.ViewRead, state, view)
			}
			blocked.Stop(t)
		})
	}
}

func TestAJobOfAKilledWorkerIsAbandonedUntilAWorkerIsThere(t *testing.T) {
	server := live.Redis(t)
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			queue := live.Node(t, major).Queue(t, server.URL, prefix, "mail")
			p := open(t, server.URL, bullmq.Config{Prefix: prefix})
			queue.Add(t, nil)
			left := func() float64 {
				return redistest.Value(t, redistest.Read(t, p), "bullmq_queue_abandoned_jobs", "mail")
			}

			worker := queue.Worker(t, live.Block, live.Options{"lockDuration": 400, "stalledInterval": 400})
			queue.Await(t, "active", 1)
			require.Zero(t, left())
			worker.Kill(t)
			require.Eventually(t, func() bool { return left() == 1 }, 10*time.Second, 50*time.Millisecond)
			r := redistest.Read(t, p)
			require.Equal(t, 1, counts(r, "mail")["active"], "every count looks healthy")
			require.Zero(t, redistest.Value(t, r, "bullmq_queue_workers", "mail"))
			require.Equal(t, []any{map[string]any{"queue": "mail", "why": "1 active jobs on which nobody works"}}, r.Details["stuck"])

			// A worker is there, and be it one that does not look for stalled jobs.
			queue.Worker(t, live.Block, live.Options{"skipStalledCheck": true})
			for range 3 {
				require.Zero(t, left())
			}
		})
	}
}

func TestAnActiveJobWhoseWorkerHidesItsNameIsNotAbandoned(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, 1)
	p := open(t, server.URL, bullmq.Config{})
	left := func() float64 {
		return redistest.Value(t, redistest.Read(t, p), "bullmq_queue_abandoned_jobs", "queue-0")
	}
	server.Do(t, "set", "bull:queue-0:stalled-check", 1)
	for range 3 {
		require.Zero(t, left(), "somebody renews the check")
	}
	server.Do(t, "del", "bull:queue-0:stalled-check")
	require.Zero(t, left(), "it may be the moment between two renewals")
	require.Equal(t, 1.0, left())
	server.Do(t, "set", "bull:queue-0:stalled-check", 1)
	require.Zero(t, left())

	// One that does not look for stalled jobs holds the lock of its own.
	server.Do(t, "set", "bull:queue-0:4:lock", "token")
	server.Do(t, "del", "bull:queue-0:stalled-check")
	for range 3 {
		require.Zero(t, left())
	}
}

func TestTheMarkerOfOldVersionsIsNoJob(t *testing.T) {
	server := live.Redis(t)
	queue := live.Node(t, 5).Queue(t, server.URL, "", "mail")
	p := open(t, server.URL, bullmq.Config{})
	queue.AddMany(t, 2, nil)
	server.Do(t, "rpush", "bull:mail:wait", "0:1700000000000")
	require.Equal(t, 2, counts(redistest.Read(t, p), "mail")["waiting"])
	require.Equal(t, 2, queue.Counts(t)["waiting"], "BullMQ takes it away where it counts")
	require.Equal(t, 2, counts(redistest.Read(t, p), "mail")["waiting"])
}

func TestQueuesAreFoundUnderAnyPrefixAndOnlyUnderTheirOwn(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 6)
	prefixes := []string{"bull", "bull:team", "{bull}", "{app:1}:jobs", "we[i]rd*?"}
	for i, prefix := range prefixes {
		node.Queue(t, server.URL, prefix, fmt.Sprintf("queue-%d", i)).AddMany(t, i+1, nil)
	}
	// What looks like a queue and is none: a job with the id meta, a foreign key.
	node.Queue(t, server.URL, "bull", "queue-0").Add(t, live.Options{"jobId": "meta-data"})
	server.Do(t, "hset", "bull:foreign:meta", "some", "thing")
	server.Do(t, "lpush", "bull:foreign:wait", "some", "things")
	server.Do(t, "set", "bull:text:meta", "thing")

	for i, prefix := range prefixes {
		r := redistest.Read(t, open(t, server.URL, bullmq.Config{Prefix: prefix}))
		name := fmt.Sprintf("queue-%d", i)
		require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queues"), prefix)
		want := i + 1
		if i == 0 {
			want++
		}
		require.Equal(t, want, counts(r, name)["waiting"], prefix)
	}
}

func TestWorkersAreCountedFromTheNamesOfTheirConnections(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 6)
	queue := node.Queue(t, server.URL, "{app}:x", "grüße & more")
	p := open(t, server.URL, bullmq.Config{Prefix: "{app}:x", WorkerTracks: map[string]string{"canary": "^v2-", "stable": "^v1-"}})
	queue.Add(t, live.Options{"delay": time.Hour.Milliseconds()})
	for _, name := range []any{"v1-a", "v2-a", "other"} {
		queue.Worker(t, live.Complete, live.Options{"name": name})
	}
	queue.Worker(t, live.Complete, nil)

	// Without any scan: the workers tell the queue.
	r := redistest.ReadOnly(t, p)
	require.Equal(t, 4.0, redistest.Value(t, r, "bullmq_queue_workers", "grüße & more"))
	require.Equal(t, map[string]int{"canary": 1, "stable": 1}, redistest.By(r, "bullmq_queue_track_workers", "grüße & more"))
	rest := redistest.ReadOnly(t, open(t, server.URL, bullmq.Config{Prefix: "{app}:x", WorkerTracks: map[string]string{"canary": "^v2-"}}))
	require.Equal(t, map[string]int{"canary": 1, "stable": 3}, redistest.By(rest, "bullmq_queue_track_workers", "grüße & more"))
	require.Equal(t, probe.ViewAbsent, redistest.States(r)["SCAN"], "not scanned yet")
}

func TestTheOldestJobIsDatedFromTheMomentItWasDue(t *testing.T) {
	server := live.Redis(t)
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			node := live.Node(t, major)
			read := func() probe.Reading { return redistest.Read(t, open(t, server.URL, bullmq.Config{Prefix: prefix})) }
			age := func(name string) float64 {
				return redistest.Value(t, read(), "bullmq_queue_oldest_waiting_seconds", name)
			}
			hourAgo := time.Now().Add(-time.Hour).UnixMilli()

			line := node.Queue(t, server.URL, prefix, "line")
			line.Add(t, live.Options{"delay": time.Hour.Milliseconds()})
			require.Zero(t, age("line"), "nothing is in line")
			line.Add(t, live.Options{"timestamp": hourAgo})
			line.AddMany(t, 3, nil)
			require.InDelta(t, 3600, age("line"), 10, "the first that was added, not the last")

			// Delayed by 50 minutes an hour ago: due for ten minutes.
			late := node.Queue(t, server.URL, prefix, "late")
			late.Add(t, live.Options{"timestamp": hourAgo, "delay": 50 * time.Minute.Milliseconds()})
			require.Equal(t, 1.0, redistest.Value(t, read(), "bullmq_queue_overdue_jobs", "late"), "no worker moves it")
			worker := late.Worker(t, live.Block, nil)
			late.Await(t, "active", 1)
			worker.Stop(t)
			require.Zero(t, redistest.Value(t, read(), "bullmq_queue_overdue_jobs", "late"))

			due := node.Queue(t, server.URL, prefix, "due")
			due.Add(t, live.Options{"timestamp": hourAgo, "delay": 50 * time.Minute.Milliseconds()})
			due.Call(t, nil, "promoteJobs")
			due.Await(t, "waiting", 1)
			require.InDelta(t, 600, age("due"), 10)
		})
	}
}

func TestAQueueThatIsObliteratedLeavesNothing(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 5)
	p := open(t, server.URL, bullmq.Config{})
	gone, stays := node.Queue(t, server.URL, "", "gone"), node.Queue(t, server.URL, "", "stays")
	gone.AddMany(t, 3, nil)
	stays.AddMany(t, 2, nil)
	require.Equal(t, 2.0, redistest.Value(t, redistest.Read(t, p), "bullmq_queues"))

	gone.Obliterate(t)
	for range 3 {
		r := redistest.ReadOnly(t, p)
		require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queues"))
		for _, s := range r.Samples {
			require.NotContains(t, s.Labels, "gone")
		}
		redistest.Discover(t, p)
	}
	gone.Add(t, nil)
	require.Equal(t, 1, counts(redistest.Read(t, p), "gone")["waiting"], "it may come back")
}

func TestTooManyRetainedFailuresMakeTheQueuesIllAndNameTheWorst(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 6)
	for name, n := range map[string]int{"mail": 2, "sync": 4} {
		queue := node.Queue(t, server.URL, "", name)
		queue.AddMany(t, n, nil)
		worker := queue.Worker(t, live.Fail, nil)
		queue.Await(t, "failed", n)
		worker.Stop(t)
	}
	ill := func(limit int) string {
		r := redistest.Read(t, open(t, server.URL, bullmq.Config{MaxFailed: new(limit)}))
		require.EqualValues(t, 6, r.Details["failed"])
		return r.Ill
	}
	require.Equal(t, `6 failed jobs are kept, 4 of them in queue "sync"; the limit is 6`, ill(6))
	require.Empty(t, ill(7))
	require.Empty(t, ill(0), "no limit")
	require.Empty(t, redistest.Read(t, open(t, server.URL, bullmq.Config{})).Ill, "100 by default")
}

func TestOnlyTheQueuesThatAreNamedAreRead(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 6)
	node.Queue(t, server.URL, "", "mail").Add(t, nil)
	node.Queue(t, server.URL, "", "other").Worker(t, live.Complete, nil)
	r := redistest.ReadOnly(t, open(t, server.URL, bullmq.Config{Only: []string{"mail", "missing"}}))
	require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queues"))
	require.Equal(t, 1, counts(r, "mail")["waiting"])
	require.Equal(t, []string{"missing"}, r.Details["absent"])
	require.Equal(t, probe.ViewRead, redistest.States(r)["SCAN"])
}

func TestAnEvictingRedisIsAFinding(t *testing.T) {
	server := live.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
	r := redistest.Read(t, open(t, server.URL, bullmq.Config{}))
	require.Zero(t, redistest.Value(t, r, "bullmq_redis_noeviction"))
	require.Equal(t, "allkeys-lru", r.Details["evictionPolicy"])
	require.Equal(t, "the eviction policy of its Redis is allkeys-lru: jobs may be dropped when memory runs out; BullMQ needs noeviction", r.Warning)
	require.Empty(t, r.Ill, "nothing is lost yet")

	server.Do(t, "config", "set", "maxmemory-policy", "noeviction")
	r = redistest.Read(t, open(t, server.URL, bullmq.Config{}))
	require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_redis_noeviction"))
	require.Empty(t, r.Warning)
}

func TestWhatAnACLRefusesCostsOnlyItsOwnPart(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 6)
	queue := node.Queue(t, server.URL, "", "mail")
	queue.AddMany(t, 3, nil)
	queue.Worker(t, live.Block, nil)
	queue.Await(t, "active", 1)
	// The first reading finds the queue by its worker and the end of its events; the
	// second has everything.
	twice := func(url string) probe.Reading {
		p := open(t, url, bullmq.Config{})
		redistest.Read(t, p)
		return redistest.Read(t, p)
	}
	whole := redistest.Names(twice(server.URL))

	// The name of our connection is not in the list, and its refusal no fault.
	granted := redistest.As(t, server, "%R~bull:*", bullmq.Commands...)
	r := twice(granted)
	require.Equal(t, whole, redistest.Names(r))
	for view, state := range redistest.States(r) {
		require.Equal(t, probe.ViewRead, state, view)
	}

	for command, cost := range map[string]struct {
		view     string
		families []string
	}{
		"scan":         {"SCAN", nil},
		"client|list":  {"CLIENT LIST", []string{"bullmq_queue_workers"}},
		"info":         {"INFO", []string{"bullmq_redis_noeviction"}},
		"hmget":        {"meta", []string{"bullmq_queue_paused", "bullmq_queue_oldest_waiting_seconds"}},
		"lindex":       {"oldest", []string{"bullmq_queue_oldest_waiting_seconds"}},
		"hget":         {"metrics", nil},
		"xread":        {"events", nil},
		"xinfo|stream": {"events", []string{"bullmq_job_stalled_total", "bullmq_queue_event_gaps_total", "bullmq_job_completed_total", "bullmq_job_failed_total"}},
		"mget":         {"limiter", []string{"bullmq_queue_rate_limited"}},
		"zcount":       {"repeat", []string{"bullmq_queue_schedulers", "bullmq_queue_overdue_schedulers"}},
	} {
		t.Run("without "+command, func(t *testing.T) {
			var rest []string
			for _, c := range bullmq.Commands {
				if c != command {
					rest = append(rest, c)
				}
			}
			r := twice(redistest.As(t, server, "%R~bull:*", rest...))
			require.Equal(t, probe.ViewDenied, redistest.States(r)[cost.view])
			want := maps.Clone(whole)
			for _, family := range cost.families {
				delete(want, family)
			}
			require.Equal(t, want, redistest.Names(r))
		})
	}

	// Nothing of the keys may be read: the names are known, and no number.
	r = redistest.Read(t, open(t, redistest.As(t, server, "", bullmq.Commands...), bullmq.Config{}))
	require.Empty(t, counts(r, "mail"), "denied is not zero")
	require.Equal(t, probe.ViewDenied, redistest.States(r)["counts"])
}

func TestAFrozenRedisCostsExactlyTheDeadline(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, 1)
	p := open(t, server.URL, bullmq.Config{})
	redistest.Read(t, p)
	server.Freeze(t)
	const deadline = 300 * time.Millisecond
	for what, do := range map[string]func(context.Context) error{
		"read":     func(ctx context.Context) error { _, err := p.Read(ctx); return err },
		"discover": p.(probe.Discoverer).Discover,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		start := time.Now()
		require.Error(t, do(ctx), what)
		cancel()
		require.InDelta(t, deadline.Seconds(), time.Since(start).Seconds(), 0.15, what)
	}
	server.Thaw(t)
	redistest.Read(t, p)
}
