package live_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

func TestBullMQRunsInBothMajors(t *testing.T) {
	redis := live.Redis(t, "--maxmemory-policy", "noeviction")
	for _, major := range []int{5, 6} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			queue := live.Node(t, major).Queue(t, redis.URL, fmt.Sprintf("{app:%d}", major), "mail")
			queue.AddMany(t, 3, nil)
			queue.Add(t, live.Options{"delay": time.Hour.Milliseconds()})
			queue.Add(t, live.Options{"priority": 5})
			queue.Pause(t)
			queue.Schedule(t, "nightly", 24*time.Hour)
			require.Subset(t, queue.Counts(t), map[string]int{"prioritized": 1})
			queue.Resume(t)

			worker := queue.Worker(t, live.Complete, live.Options{"concurrency": 2})
			queue.Await(t, "completed", 5) // the scheduler's first job is due at once
			worker.Stop(t)

			queue.AddFlow(t, 2)
			require.Subset(t, queue.Counts(t), map[string]int{"waiting": 2, "waiting-children": 1, "delayed": 2})
			failing := queue.Worker(t, live.Fail, nil)
			queue.Await(t, "failed", 2)
			failing.Stop(t)

			queue.Worker(t, live.Block, nil).Stop(t)
			queue.Add(t, nil)
			blocked := queue.Worker(t, live.Block, nil)
			queue.Await(t, "active", 1)
			blocked.Kill(t)
			require.Subset(t, queue.Counts(t), map[string]int{"active": 1}, "nobody moves a dead worker's job")

			queue.Obliterate(t)
			require.Empty(t, redis.Do(t, "KEYS", fmt.Sprintf("{app:%d}:mail:meta", major)))
		})
	}
}
