package bullmq_test

import (
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// In a cluster a command may name keys of one slot only. BullMQ wants the prefix,
// or each queue's name, to hold a hash tag.
func TestQueuesOfAClusterAreReadWhereverTheyAre(t *testing.T) {
	nodes := live.RedisCluster(t)
	client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{nodes[0].Addr}})
	defer client.Close()
	ctx := t.Context()
	links := redis.NewLinks(&redis.Config{Name: "main", Cluster: []string{nodes[0].Addr}})
	t.Cleanup(func() { require.NoError(t, links.Close()) })
	for prefix, name := range map[string]string{"{app}": "queue-%d", "bull": "{queue-%d}"} {
		for i := range 20 {
			base := prefix + ":" + fmt.Sprintf(name, i) + ":"
			require.NoError(t, client.HSet(ctx, base+"meta", "opts.maxLenEvents", 10000, "version", "bullmq:6.7.0").Err())
			require.NoError(t, client.LPush(ctx, base+"wait", 1, 2, 3).Err())
			require.NoError(t, client.LPush(ctx, base+"active", 4).Err())
		}
		p := redistest.Open(t, &bullmq.Config{Name: "jobs", Kind: bullmq.Kind, Redis: "main", Prefix: prefix}, links)
		redistest.Read(t, p)
		for i := range 20 {
			event := &goredis.XAddArgs{Stream: prefix + ":" + fmt.Sprintf(name, i) + ":events", Values: []any{"event", "completed", "jobId", "4"}}
			require.NoError(t, client.XAdd(ctx, event).Err())
		}
		redistest.Read(t, p)
		r := redistest.Read(t, p)
		require.Equal(t, 20.0, redistest.Value(t, r, "bullmq_queues"), prefix)
		for i := range 20 {
			queue := fmt.Sprintf(name, i)
			require.Equal(t, 3, counts(r, queue)["waiting"], queue)
			require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_queue_abandoned_jobs", queue))
			require.Equal(t, 1.0, redistest.Value(t, r, "bullmq_job_completed_total", queue, "events"))
		}
		for view, state := range redistest.States(r) {
			require.Equal(t, probe.ViewRead, state, view)
		}
	}
}
