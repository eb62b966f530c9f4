package bullmq_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// distribution is the histogram of one queue.
func distribution(t *testing.T, r probe.Reading, name, queue string) probe.Distribution {
	t.Helper()
	for _, s := range r.Samples {
		if s.Metric.Name == name && s.Labels[0] == queue {
			return *s.Distribution
		}
	}
	require.Fail(t, "no "+name+" of "+queue)
	return probe.Distribution{}
}

func TestJobsAreCountedAndTimedThoughNoWorkerCountsAndNothingIsKept(t *testing.T) {
	server := live.Redis(t)
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			queue := live.Node(t, major).Queue(t, server.URL, prefix, "mail")
			queue.AddMany(t, 2, nil)
			p := open(t, server.URL, bullmq.Config{Prefix: prefix})
			redistest.Read(t, p)

			// Removed as soon as they are done, as many configure it. The first two came
			// into line before we looked: nobody knows how long they waited.
			once := live.Options{"removeOnComplete": true, "removeOnFail": true}
			queue.AddMany(t, 5, once)
			queue.AddMany(t, 3, live.Options{"removeOnComplete": true, "priority": 2})
			queue.Add(t, live.Options{"removeOnComplete": true, "delay": 50})
			worker := queue.Worker(t, live.Complete, nil)
			queue.Await(t, "completed", 2)
			queue.Await(t, "delayed", 0)
			queue.Await(t, "waiting", 0)
			queue.Await(t, "prioritized", 0)
			queue.Await(t, "active", 0)
			worker.Stop(t)
			failing := queue.Worker(t, live.Fail, nil)
			queue.Add(t, live.Options{"removeOnFail": true, "attempts": 3})
			require.Eventually(t, func() bool {
				return redistest.Value(t, redistest.ReadOnly(t, p), "bullmq_job_failed_total", "mail", "events") == 1
			}, 10*time.Second, 20*time.Millisecond, "three attempts are one failed job")
			failing.Stop(t)

			r := redistest.ReadOnly(t, p)
			require.Equal(t, 11.0, redistest.Value(t, r, "bullmq_job_completed_total", "mail", "events"))
			require.Zero(t, redistest.Value(t, r, "bullmq_queue_event_gaps_total", "mail"))
			wait, run := distribution(t, r, "bullmq_job_wait_seconds", "mail"), distribution(t, r, "bullmq_job_run_seconds", "mail")
			require.EqualValues(t, 9+3, wait.Count, "each attempt waits")
			require.EqualValues(t, 12, run.Count)
			require.Less(t, wait.Sum, 60.0)
		})
	}
}

func TestTheTimeOfARunIsTheServersOwn(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, 1)
	p := open(t, server.URL, bullmq.Config{})
	redistest.Read(t, p)
	for _, e := range [][]any{
		{"1000-0", "event", "waiting", "jobId", "9"},
		{"3500-0", "event", "active", "jobId", "9", "prev", "waiting"},
		{"3500-1", "event", "progress", "jobId", "9", "data", "50"},
		{"4000-0", "event", "stalled", "jobId", "9"},
		{"4000-1", "event", "waiting", "jobId", "9", "prev", "active"},
		{"4000-2", "event", "active", "jobId", "9", "prev", "waiting"},
		{"4250-0", "event", "completed", "jobId", "9", "returnvalue", `"done"`},
		{"4250-1", "event", "drained"},
	} {
		server.Do(t, append([]any{"xadd", "bull:queue-0:events"}, e...)...)
	}
	r := redistest.ReadOnly(t, p)
	wait, run := distribution(t, r, "bullmq_job_wait_seconds", "queue-0"), distribution(t, r, "bullmq_job_run_seconds", "queue-0")
	require.EqualValues(t, 2, wait.Count)
	require.InDelta(t, 2.5, wait.Sum, 1e-9)
	require.EqualValues(t, 1, run.Count)
	require.InDelta(t, 0.25, run.Sum, 1e-9, "the last run")
	require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_job_stalled_total", "queue-0"))
}

func TestAStormOfEventsIsReadInPartAndSaid(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, 2)
	server.Do(t, "del", "bull:queue-0:metrics:completed", "bull:queue-1:metrics:completed")
	server.Do(t, "hset", "bull:queue-1:meta", "opts.maxLenEvents", 10)
	p := open(t, server.URL, bullmq.Config{})
	redistest.Read(t, p)
	completed := func(r probe.Reading, queue string) float64 {
		return redistest.Value(t, r, "bullmq_job_completed_total", queue, "events")
	}
	happen := func(queue string, n int) {
		client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
		defer client.Close()
		pipe := client.Pipeline()
		for i := range n {
			pipe.XAdd(t.Context(), &goredis.XAddArgs{Stream: "bull:" + queue + ":events", Values: []any{"event", "completed", "jobId", i}})
		}
		_, err := pipe.Exec(context.Background())
		require.NoError(t, err)
	}

	happen("queue-0", 3000)
	r := redistest.ReadOnly(t, p)
	require.Equal(t, 3000.0, completed(r, "queue-0"), "more than a page")
	require.Zero(t, redistest.Value(t, r, "bullmq_queue_event_gaps_total", "queue-0"))

	happen("queue-0", 40_000)
	r = redistest.ReadOnly(t, p)
	require.Less(t, completed(r, "queue-0"), 25_000.0)
	require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_event_gaps_total", "queue-0"))
	before := completed(r, "queue-0")
	happen("queue-0", 7)
	r = redistest.ReadOnly(t, p)
	require.Equal(t, before+7, completed(r, "queue-0"), "it goes on from the newest")

	// As many as its stream keeps may be all, or the rest of more.
	happen("queue-1", 9)
	require.Zero(t, redistest.Value(t, redistest.ReadOnly(t, p), "bullmq_queue_event_gaps_total", "queue-1"))
	happen("queue-1", 12)
	r = redistest.ReadOnly(t, p)
	require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_event_gaps_total", "queue-1"))
	require.Equal(t, 21.0, completed(r, "queue-1"))
}

func TestFinishedJobsAreCreditedToTheTrackOfTheirWorker(t *testing.T) {
	server := live.Redis(t)
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			queue := live.Node(t, major).Queue(t, server.URL, prefix, "mail")
			p := open(t, server.URL, bullmq.Config{Prefix: prefix, WorkerTracks: map[string]string{"canary": "^v2-", "stable": "^v1-"}})
			rest := open(t, server.URL, bullmq.Config{Prefix: prefix, WorkerTracks: map[string]string{"canary": "^v2-"}})
			queue.Add(t, live.Options{"delay": time.Hour.Milliseconds()})
			redistest.Read(t, p)
			redistest.Read(t, rest)

			work := func(name, does, state string, n, all int, options live.Options) {
				queue.AddMany(t, n, options)
				worker := queue.Worker(t, does, live.Options{"name": name})
				queue.Await(t, state, all)
				worker.Stop(t)
			}
			work("v1-a", live.Complete, "completed", 4, 4, nil)
			work("v2-a", live.Complete, "completed", 2, 6, nil)
			work("v2-b", live.Fail, "failed", 3, 3, nil)
			work("other", live.Complete, "completed", 1, 7, nil)
			work("v1-a", live.Complete, "waiting", 2, 0, live.Options{"removeOnComplete": true})

			require.Eventually(t, func() bool {
				r := redistest.ReadOnly(t, p)
				return redistest.By(r, "bullmq_track_jobs_completed_total", "mail")[""] == 3
			}, 10*time.Second, 20*time.Millisecond)
			r := redistest.ReadOnly(t, p)
			require.Equal(t, map[string]int{"stable": 4, "canary": 2, "": 3}, redistest.By(r, "bullmq_track_jobs_completed_total", "mail"))
			require.Equal(t, map[string]int{"stable": 0, "canary": 3, "": 0}, redistest.By(r, "bullmq_track_jobs_failed_total", "mail"))
			r = redistest.ReadOnly(t, rest)
			require.Equal(t, map[string]int{"stable": 5, "canary": 2, "": 2}, redistest.By(r, "bullmq_track_jobs_completed_total", "mail"),
				"whoever is not the canary is stable, and of jobs that are gone nobody knows")
		})
	}
}

func TestAJobSchedulerThatIsPastItsTimeIsCounted(t *testing.T) {
	server := live.Redis(t)
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			queue := live.Node(t, major).Queue(t, server.URL, prefix, "mail")
			p := open(t, server.URL, bullmq.Config{Prefix: prefix})
			queue.Schedule(t, "nightly", time.Hour)
			queue.Schedule(t, "hourly", time.Hour)
			r := redistest.Read(t, p)
			require.Equal(t, 2.0, redistest.Value(t, r, "bullmq_queue_schedulers", "mail"))
			require.Zero(t, redistest.Value(t, r, "bullmq_queue_overdue_schedulers", "mail"))

			// A minute late by BullMQ's own entry of it: nobody took the job before.
			server.Do(t, "zadd", prefix+":mail:repeat", "XX", time.Now().Add(-time.Minute).UnixMilli(), "nightly")
			r = redistest.Read(t, p)
			require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_overdue_schedulers", "mail"))
			require.Equal(t, []any{map[string]any{"queue": "mail", "why": "1 job schedulers are past their time"}}, r.Details["stuck"])
		})
	}
}

func TestARateLimitThatHoldsTheLineIsSeen(t *testing.T) {
	server := live.Redis(t)
	for _, major := range []int{5, 6} {
		t.Run(fmt.Sprintf("BullMQ %d", major), func(t *testing.T) {
			prefix := fmt.Sprintf("v%d", major)
			node := live.Node(t, major)
			limited := func(name string) float64 {
				p := open(t, server.URL, bullmq.Config{Prefix: prefix})
				return redistest.Value(t, redistest.Read(t, p), "bullmq_queue_rate_limited", name)
			}
			minute := time.Minute.Milliseconds()

			own := node.Queue(t, server.URL, prefix, "own")
			own.AddMany(t, 3, nil)
			require.Zero(t, limited("own"))
			own.Worker(t, live.Complete, live.Options{"limiter": live.Options{"max": 1, "duration": minute}})
			own.Await(t, "completed", 1)
			require.Equal(t, 1.0, limited("own"), "by a worker's own option")

			global := node.Queue(t, server.URL, prefix, "global")
			global.Call(t, nil, "setGlobalRateLimit", 2, minute)
			global.AddMany(t, 3, nil)
			worker := global.Worker(t, live.Complete, nil)
			global.Await(t, "completed", 2)
			require.Equal(t, 1.0, limited("global"), "by the limit of the queue")
			worker.Stop(t)

			stopped := node.Queue(t, server.URL, prefix, "stopped")
			stopped.Add(t, nil)
			stopped.Call(t, nil, "rateLimit", minute)
			require.Equal(t, 1.0, limited("stopped"), "by hand")
			stopped.Call(t, nil, "removeRateLimitKey")
			require.Zero(t, limited("stopped"))
		})
	}
}

func TestTheHealthDocumentNamesQueuesByTheFourQuestions(t *testing.T) {
	server := live.Redis(t)
	node := live.Node(t, 6)
	p := open(t, server.URL, bullmq.Config{})
	node.Queue(t, server.URL, "", "old").Add(t, live.Options{"timestamp": time.Now().Add(-time.Hour).UnixMilli()})
	node.Queue(t, server.URL, "", "late").Add(t, live.Options{"timestamp": time.Now().Add(-time.Hour).UnixMilli(), "delay": 1000})
	failing := node.Queue(t, server.URL, "", "failing")
	failing.AddMany(t, 2, nil)
	worker := failing.Worker(t, live.Fail, nil)
	failing.Await(t, "failed", 2)
	worker.Stop(t)
	well := node.Queue(t, server.URL, "", "well")
	well.AddMany(t, 1, live.Options{"delay": time.Hour.Milliseconds()})

	details := redistest.Read(t, p).Details
	named := func(question string) (queues []any) {
		answers, _ := details[question].([]any)
		for _, a := range answers {
			queues = append(queues, a.(map[string]any)["queue"])
		}
		return queues
	}
	require.Equal(t, []any{"old"}, named("old"))
	require.Equal(t, []any{"late"}, named("stuck"))
	require.Equal(t, []any{"old"}, named("unserved"))
	require.Equal(t, []any{"failing"}, named("failing"))
}
