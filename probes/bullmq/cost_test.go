package bullmq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// seed makes queues as BullMQ leaves them, without running it: n queues in
// which every command that a reading can ask has something to find.
func seed(tb testing.TB, server *live.RedisServer, n int) {
	tb.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	ctx := context.Background()
	for from := 0; from < n; from += 100 {
		pipe := client.Pipeline()
		for i := from; i < min(n, from+100); i++ {
			base := fmt.Sprintf("bull:queue-%d:", i)
			pipe.HSet(ctx, base+"meta", "opts.maxLenEvents", 10000, "version", "bullmq:6.7.0")
			pipe.LPush(ctx, base+"wait", 1, 2, 3)
			pipe.LPush(ctx, base+"active", 4)
			pipe.HSet(ctx, base+"1", "timestamp", time.Now().UnixMilli(), "delay", 0, "opts", `{"attempts":0}`)
			pipe.ZAdd(ctx, base+"delayed", goredis.Z{Score: 4096, Member: "5"})
			pipe.ZAdd(ctx, base+"completed", goredis.Z{Score: 1, Member: "6"})
			pipe.ZAdd(ctx, base+"failed", goredis.Z{Score: 1, Member: "7"})
			pipe.HSet(ctx, base+"metrics:completed", "count", 10)
			pipe.HSet(ctx, base+"metrics:failed", "count", 2)
		}
		_, err := pipe.Exec(ctx)
		require.NoError(tb, err)
	}
}

func TestAHundredQueuesCostFourteenCommandsEachOnOneConnection(t *testing.T) {
	const queues = 100
	server := live.Redis(t)
	seed(t, server, queues)
	p := open(t, server.URL, bullmq.Config{})
	redistest.Discover(t, p)

	// Not in the first one, which also looks for the end of each stream of events.
	require.Equal(t, float64(queues), redistest.Value(t, redistest.ReadOnly(t, p), "bullmq_queues"))
	const asking = 3       // what Processed itself costs: HELLO, CLIENT SETINFO twice, INFO
	const once = 2 + 2 + 1 // CLIENT LIST, INFO; MGET of the checks and the limiters; XREAD
	for range 5 {
		commands, connections := redistest.Processed(t, server)
		r := redistest.ReadOnly(t, p)
		require.Equal(t, float64(queues), redistest.Value(t, r, "bullmq_queues"))
		commandsAfter, connectionsAfter := redistest.Processed(t, server)
		require.LessOrEqual(t, commandsAfter-commands-asking, 14*queues+once)
		require.Greater(t, commandsAfter-commands, 12*queues, "the counting counts")
		require.Equal(t, 1, connectionsAfter-connections, "only the one that asks")
	}
	require.Equal(t, 1, strings.Count(server.Do(t, "client", "list").(string), "name=rollwatch"))
}

// What holds up everybody else on the server is not asked: nothing that walks
// over all keys but a SCAN in long steps, no script, no transaction, and the list
// of clients once a reading, not once a queue.
func TestNothingIsAskedThatHoldsOthersUp(t *testing.T) {
	const queues, others, readings = 50, 20_000, 5
	server := live.Redis(t)
	seed(t, server, queues)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	pipe := client.Pipeline()
	for i := range others {
		pipe.Set(t.Context(), fmt.Sprint("session:", i), "", 0)
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	p := open(t, server.URL, bullmq.Config{})
	server.Do(t, "config", "resetstat")
	redistest.Discover(t, p)
	for range readings {
		redistest.ReadOnly(t, p)
	}
	calls := redistest.Calls(t, server)
	require.Equal(t, readings, calls["client|list"])
	require.LessOrEqual(t, calls["info"], readings)
	require.LessOrEqual(t, calls["scan"], (others+queues*9)/1000+5, "a thousand keys a step")
	for _, command := range []string{"keys", "eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "multi", "smembers", "hgetall", "monitor", "memory|usage"} {
		require.Zero(t, calls[command], command)
	}
}

func TestAThousandReadingsLeaveNothingBehind(t *testing.T) {
	server := live.Redis(t)
	seed(t, server, 10)
	p := open(t, server.URL, bullmq.Config{WorkerTracks: map[string]string{"canary": "^v2-"}})
	redistest.Discover(t, p)
	grown := live.Growth(t, func(i int) {
		server.Do(t, "xadd", "bull:queue-1:events", "maxlen", 100, "*", "event", "active", "jobId", i%50)
		server.Do(t, "xadd", "bull:queue-1:events", "maxlen", 100, "*", "event", "completed", "jobId", i%50)
		redistest.ReadOnly(t, p)
	})
	require.Less(t, grown, int64(256<<10), "bytes in a thousand readings")
}
