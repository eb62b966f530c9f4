package bullmq_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// many are more queues than are asked everything at every reading, and turns is
// how many readings it takes until all have been.
const (
	many  = 2_040
	turns = 4
)

// valued says whether the series of a family has this value for each of the
// queues, or how many have.
func valued(r probe.Reading, family string, value float64, queues []string, labels ...string) (n int) {
	for _, s := range r.Samples {
		if s.Metric.Name == family && slices.Contains(queues, s.Labels[0]) && slices.Equal(s.Labels[1:], labels) && s.Value == value {
			n++
		}
	}
	return n
}

// Of many queues, what the judge counts by is exact at every reading; what a queue
// says of itself, and what is late in it, is at most four readings old.
func TestOfManyQueuesOnlyWhatChangesSeldomIsAskedInTurns(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, many)
	p := open(t, server.URL, bullmq.Config{})
	r := redistest.Read(t, p)
	all := make([]string, many)
	for i := range all {
		all[i] = fmt.Sprint("queue-", i)
	}
	require.Equal(t, many, valued(r, "bullmq_queue_paused", 0, all), "a queue that is new is asked everything")
	require.Equal(t, many, valued(r, "bullmq_queue_overdue_jobs", 1, all))

	for range turns {
		redistest.ReadOnly(t, p)
	}
	commands, _ := redistest.Processed(t, server)
	redistest.ReadOnly(t, p)
	after, _ := redistest.Processed(t, server)
	require.Less(t, after-commands, 12*many, "three quarters are asked two commands less")

	changed := all[:40]
	for _, queue := range changed {
		base := "bull:" + queue + ":"
		server.Do(t, "hset", base+"meta", "paused", 1)
		server.Do(t, "set", base+"limiter", 1<<53-1)
		server.Do(t, "zadd", base+"delayed", 8192, "8")
		server.Do(t, "rpush", base+"wait", 1)
		server.Do(t, "lrem", base+"active", 0, 4)
		server.Do(t, "zrem", base+"failed", 7)
		server.Do(t, "xadd", base+"events", "*", "event", "stalled", "jobId", 4)
		server.Do(t, "hincrby", base+"metrics:completed", "count", 5)
		server.Do(t, "hincrby", base+"metrics:failed", "count", 3)
	}
	for i := range turns {
		r = redistest.ReadOnly(t, p)
		for state, n := range map[string]float64{"waiting": 4, "delayed": 2, "active": 0, "failed": 0, "completed": 1} {
			require.Equal(t, len(changed), valued(r, "bullmq_job_count", n, changed, state), state)
		}
		require.Equal(t, len(changed), valued(r, "bullmq_job_completed_total", 15, changed, "metrics"))
		require.Equal(t, len(changed), valued(r, "bullmq_job_failed_total", 5, changed, "metrics"))
		require.Equal(t, len(changed), valued(r, "bullmq_queue_abandoned_jobs", 0, changed))
		if i == 0 {
			require.Less(t, valued(r, "bullmq_queue_paused", 1, changed), len(changed), "the others have their turn later")
		}
	}
	require.Equal(t, len(changed), valued(r, "bullmq_queue_paused", 1, changed), "all have had their turn")
	require.Equal(t, len(changed), valued(r, "bullmq_queue_rate_limited", 1, changed))
	require.Equal(t, len(changed), valued(r, "bullmq_queue_overdue_jobs", 2, changed))
	require.Equal(t, many-len(changed), valued(r, "bullmq_queue_paused", 0, all))

	require.Equal(t, len(changed), valued(r, "bullmq_job_stalled_total", 1, changed), "no event is lost for its waiting")
	require.Zero(t, valued(r, "bullmq_queue_event_gaps_total", 1, all))
}

// A queue whose workers count nothing is counted by its events, at every reading,
// also where it is one of many in which nothing has happened for long.
func TestOfManyQueuesOneThatIsCountedByItsEventsIsFollowedAtEveryReading(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, many)
	p := open(t, server.URL, bullmq.Config{})
	const silent = 8
	for i := range silent {
		server.Do(t, "del", fmt.Sprintf("bull:queue-%d:metrics:failed", i))
	}
	redistest.Read(t, p)
	for range turns {
		redistest.ReadOnly(t, p)
	}
	for i := range silent {
		server.Do(t, "xadd", fmt.Sprintf("bull:queue-%d:events", i), "*", "event", "failed", "jobId", 4)
	}
	r := redistest.ReadOnly(t, p)
	for i := range silent {
		require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_job_failed_total", fmt.Sprint("queue-", i), "events"))
	}
}

func TestOfManyQueuesOneThatIsGoneOrNewIsSeenAtOnce(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, many)
	p := open(t, server.URL, bullmq.Config{})
	redistest.Read(t, p)
	redistest.ReadOnly(t, p)
	const gone, empty = 12, 12
	for i := range gone + empty {
		base := fmt.Sprintf("bull:queue-%d:", i)
		server.Do(t, "del", base+"wait", base+"active", base+"delayed", base+"completed", base+"failed")
		if i < gone {
			server.Do(t, "del", base+"meta")
		}
	}
	r := redistest.ReadOnly(t, p)
	require.Equal(t, float64(many-gone), redistest.Value(t, r, "bullmq_queues"))
	require.Zero(t, redistest.Value(t, r, "bullmq_queue_overdue_jobs", "queue-12"), "nothing can be late where nothing is delayed")

	for i := range turns {
		queue := fmt.Sprint("new-", i)
		server.Do(t, "hset", "bull:"+queue+":meta", "version", "bullmq:6.7.0", "paused", 1)
	}
	for range 5 { // a scan is made at every fifth survey
		redistest.Discover(t, p)
	}
	r = redistest.ReadOnly(t, p)
	for i := range turns {
		require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_paused", fmt.Sprint("new-", i)))
	}
}

// Ids are no names for ever: an id of one's own is used again when its job is done,
// and a queue that is made anew counts from 1.
func TestAJobIsNotAsOldAsTheOneThatHadItsIDBefore(t *testing.T) {
	server := live.Redis(t)
	p := open(t, server.URL, bullmq.Config{})
	add := func(age time.Duration) {
		server.Do(t, "hset", "bull:mail:meta", "version", "bullmq:6.7.0")
		server.Do(t, "hset", "bull:mail:nightly", "timestamp", time.Now().Add(-age).UnixMilli(), "delay", 0, "opts", "{}")
		server.Do(t, "lpush", "bull:mail:wait", "nightly")
	}
	age := func() float64 {
		return redistest.Value(t, redistest.ReadOnly(t, p), "bullmq_queue_oldest_waiting_seconds", "mail")
	}
	add(time.Hour)
	redistest.Discover(t, p)
	require.InDelta(t, 3600, age(), 10)

	server.Do(t, "del", "bull:mail:wait", "bull:mail:nightly")
	require.Zero(t, age())
	add(time.Minute)
	require.InDelta(t, 60, age(), 10)

	server.Do(t, "del", "bull:mail:wait", "bull:mail:nightly", "bull:mail:meta")
	require.Zero(t, redistest.Value(t, redistest.ReadOnly(t, p), "bullmq_queues"))
	add(0)
	require.InDelta(t, 0, age(), 10)
}
