package asynq_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	hibiken "github.com/hibiken/asynq"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/asynq"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

func TestMain(m *testing.M) { live.Main(m) }

func open(t *testing.T, url string) probe.Probe {
	t.Helper()
	config := &asynq.Config{Name: "mail", Kind: asynq.Kind, Redis: "main"}
	return redistest.Open(t, config, redistest.Links(t, url))
}

// A site is Asynq itself on a server.
type site struct {
	at     hibiken.RedisClientOpt
	client *hibiken.Client
	asks   *hibiken.Inspector
	redis  *goredis.Client
}

func newSite(t *testing.T, server *live.RedisServer) *site {
	t.Helper()
	redis := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	s := &site{
		at: hibiken.RedisClientOpt{Addr: server.Addr}, redis: redis,
		client: hibiken.NewClientFromRedisClient(redis), asks: hibiken.NewInspectorFromRedisClient(redis),
	}
	t.Cleanup(func() { require.NoError(t, redis.Close()) })
	return s
}

func (s *site) enqueue(t *testing.T, kind string, options ...hibiken.Option) {
	t.Helper()
	_, err := s.client.Enqueue(hibiken.NewTask(kind, nil), options...)
	require.NoError(t, err)
}

// serve runs an Asynq server: tasks of the kind ok succeed, fail fail, block
// stay until the server ends.
func (s *site) serve(t *testing.T, concurrency int, queues map[string]int) (stop func()) {
	t.Helper()
	end := make(chan struct{})
	server := hibiken.NewServer(s.at, hibiken.Config{
		Concurrency: concurrency, Queues: queues, LogLevel: hibiken.FatalLevel,
		TaskCheckInterval: 20 * time.Millisecond, DelayedTaskCheckInterval: 20 * time.Millisecond,
		ShutdownTimeout: 50 * time.Millisecond,
		RetryDelayFunc:  func(int, error, *hibiken.Task) time.Duration { return time.Hour },
	})
	require.NoError(t, server.Start(hibiken.HandlerFunc(func(_ context.Context, task *hibiken.Task) error {
		switch task.Type() {
		case "fail":
			return errors.New("as the test asked")
		case "block":
			<-end
		}
		return nil
	})))
	return func() {
		close(end)
		server.Shutdown()
	}
}

// requireSame fails when we see a queue otherwise than Asynq's Inspector does.
func requireSame(t *testing.T, s *site, r probe.Reading, name string) {
	t.Helper()
	info, err := s.asks.GetQueueInfo(name)
	require.NoError(t, err)
	states := map[string]int{
		"pending": info.Pending, "active": info.Active, "scheduled": info.Scheduled, "retry": info.Retry,
		"archived": info.Archived, "completed": info.Completed, "aggregating": info.Aggregating,
	}
	require.Equal(t, states, redistest.By(r, "asynq_queue_tasks", name))
	require.Equal(t, states, redistest.By(r, "asynq_tasks_enqueued_total", name))
	paused := map[bool]int{true: 1}[info.Paused]
	for family, want := range map[string]int{
		"asynq_queue_size": info.Size, "asynq_queue_groups": info.Groups,
		"asynq_tasks_processed_total": info.ProcessedTotal, "asynq_tasks_failed_total": info.FailedTotal,
		"asynq_queue_paused": paused, "asynq_queue_paused_total": paused,
	} {
		require.EqualValues(t, want, redistest.Value(t, r, family, name), family)
	}
	require.InDelta(t, info.Latency.Seconds(), redistest.Value(t, r, "asynq_queue_latency_seconds", name), 1)
}

func TestEveryQueueIsReadAsTheInspectorReadsIt(t *testing.T) {
	server := live.Redis(t, "--maxmemory-policy", "noeviction")
	s := newSite(t, server)
	p := open(t, server.URL)
	require.Zero(t, redistest.Value(t, redistest.Read(t, p), "asynq_queues"))

	for i := range 3 {
		s.enqueue(t, "ok", hibiken.Queue("mail"), hibiken.TaskID(fmt.Sprint(i)))
	}
	hourAgo := time.Now().Add(-time.Hour).UnixNano()
	require.NoError(t, s.redis.HSet(t.Context(), "asynq:{mail}:t:0", "pending_since", hourAgo).Err())
	for range 2 {
		s.enqueue(t, "ok", hibiken.Queue("mail"), hibiken.ProcessIn(time.Hour))
	}
	for i := range 5 {
		s.enqueue(t, "ok", hibiken.Queue("mail"), hibiken.Group(fmt.Sprint("group-", i%3)))
	}
	s.enqueue(t, "ok", hibiken.Queue("a queue: {with} everything"))
	require.NoError(t, s.asks.PauseQueue("mail"))
	r := redistest.Read(t, p)
	requireSame(t, s, r, "mail")
	requireSame(t, s, r, "a queue: {with} everything")
	require.Equal(t, 2.0, redistest.Value(t, r, "asynq_queues"))
	require.Equal(t, 1.0, redistest.Value(t, r, "asynq_queue_paused", "mail"))
	require.InDelta(t, 3600, redistest.Value(t, r, "asynq_queue_latency_seconds", "mail"), 10)
	require.Zero(t, redistest.Value(t, r, "asynq_servers"))

	// A server works: some succeed and are kept, some fail, one stays.
	require.NoError(t, s.asks.UnpauseQueue("mail"))
	s.enqueue(t, "ok", hibiken.Queue("mail"), hibiken.Retention(time.Hour))
	s.enqueue(t, "fail", hibiken.Queue("mail"))
	s.enqueue(t, "fail", hibiken.Queue("mail"), hibiken.MaxRetry(0))
	s.enqueue(t, "block", hibiken.Queue("mail"))
	stop := s.serve(t, 7, map[string]int{"mail": 2, "other": 1})
	require.Eventually(t, func() bool {
		info, err := s.asks.GetQueueInfo("mail")
		require.NoError(t, err)
		return info.ProcessedTotal == 6 && info.Active == 1
	}, 10*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		return redistest.Value(t, redistest.Read(t, p), "asynq_workers_busy") == 1
	}, 10*time.Second, 50*time.Millisecond, "the server says so every few seconds")
	r = redistest.Read(t, p)
	requireSame(t, s, r, "mail")
	require.Equal(t, 2.0, redistest.Value(t, r, "asynq_tasks_failed_total", "mail"))
	require.Equal(t, 1.0, redistest.Value(t, r, "asynq_servers"))
	require.Equal(t, 7.0, redistest.Value(t, r, "asynq_workers"))
	require.Equal(t, 1.0, redistest.Value(t, r, "asynq_queue_servers", "mail"))
	require.Zero(t, redistest.Value(t, r, "asynq_queue_servers", "a queue: {with} everything"), "nobody takes from it")
	require.Zero(t, redistest.Value(t, r, "asynq_queue_orphaned_tasks", "mail"))
	require.Equal(t, 1.0, redistest.Value(t, r, "asynq_redis_noeviction"))
	require.Equal(t, []any{map[string]any{"queue": "mail", "archived": int64(1)}}, r.Details["failing"])
	require.Equal(t, []any{map[string]any{"queue": "a queue: {with} everything", "pending": int64(1)}}, r.Details["unserved"])
	for view, state := range redistest.States(r) {
		require.Equal(t, probe.ViewRead, state, view)
	}
	names := redistest.Names(r)
	for _, m := range asynq.Metrics {
		require.True(t, names[m.Name], "%s is documented and not read", m.Name)
	}
	stop()
	require.Zero(t, redistest.Value(t, redistest.Read(t, p), "asynq_servers"))

	require.NoError(t, s.asks.DeleteQueue("mail", true))
	for _, sample := range redistest.Read(t, p).Samples {
		require.NotContains(t, sample.Labels, "mail", "a queue that was deleted leaves nothing")
	}
}

func TestATaskOfADeadServerIsOrphanedAndOneThatNobodyMovesIsOverdue(t *testing.T) {
	server := live.Redis(t)
	s := newSite(t, server)
	p := open(t, server.URL)
	stop := s.serve(t, 2, map[string]int{"mail": 1})
	s.enqueue(t, "block", hibiken.Queue("mail"))
	require.Eventually(t, func() bool {
		return redistest.By(redistest.Read(t, p), "asynq_queue_tasks", "mail")["active"] == 1
	}, 10*time.Second, 20*time.Millisecond)
	ctx := t.Context()
	lease, err := s.redis.ZRangeWithScores(ctx, "asynq:{mail}:lease", 0, -1).Result()
	require.NoError(t, err)
	require.Len(t, lease, 1)
	stop()

	// What a server leaves that was killed: the lease runs out, and stays.
	task := lease[0].Member
	ago := float64(time.Now().Add(-time.Minute).Unix())
	require.NoError(t, s.redis.Del(ctx, "asynq:{mail}:pending").Err())
	require.NoError(t, s.redis.LPush(ctx, "asynq:{mail}:active", task).Err())
	require.NoError(t, s.redis.ZAdd(ctx, "asynq:{mail}:lease", goredis.Z{Score: ago, Member: task}).Err())
	require.NoError(t, s.redis.ZAdd(ctx, "asynq:servers", goredis.Z{Score: ago, Member: "asynq:servers:{host:1:dead}"}).Err())
	for _, at := range []time.Duration{time.Hour, -time.Minute, -2 * time.Minute} {
		s.enqueue(t, "ok", hibiken.Queue("mail"), hibiken.ProcessIn(time.Hour), hibiken.TaskID(at.String()))
		due := float64(time.Now().Add(at).Unix())
		require.NoError(t, s.redis.ZAdd(ctx, "asynq:{mail}:scheduled", goredis.Z{Score: due, Member: at.String()}).Err())
	}
	require.NoError(t, s.redis.ZAdd(ctx, "asynq:{mail}:retry", goredis.Z{Score: ago, Member: "x"}).Err())

	r := redistest.Read(t, p)
	require.Equal(t, 1.0, redistest.Value(t, r, "asynq_queue_orphaned_tasks", "mail"))
	require.Equal(t, map[string]int{"scheduled": 2, "retry": 1}, redistest.By(r, "asynq_queue_overdue_tasks", "mail"))
	require.Equal(t, []any{map[string]any{"queue": "mail", "why": "1 active tasks whose server is gone"}}, r.Details["stuck"])
	require.Zero(t, redistest.Value(t, r, "asynq_servers"), "one that expired is not alive")
	require.Equal(t, int64(1), s.redis.ZCard(ctx, "asynq:servers").Val(), "and is not deleted by our looking")
}

func TestAPeriodicTaskThatItsSchedulerForgotIsCounted(t *testing.T) {
	server := live.Redis(t)
	s := newSite(t, server)
	scheduler := hibiken.NewScheduler(s.at, &hibiken.SchedulerOpts{LogLevel: hibiken.FatalLevel, HeartbeatInterval: 50 * time.Millisecond})
	for _, spec := range []string{"@every 1h", "0 3 * * *"} {
		_, err := scheduler.Register(spec, hibiken.NewTask("ok", nil))
		require.NoError(t, err)
	}
	require.NoError(t, scheduler.Start())
	p := open(t, server.URL)
	require.Eventually(t, func() bool {
		r := redistest.Read(t, p)
		return redistest.Value(t, r, "asynq_schedulers") == 1 && redistest.Value(t, r, "asynq_scheduler_entries") == 2
	}, 10*time.Second, 20*time.Millisecond)
	require.Zero(t, redistest.Value(t, redistest.Read(t, p), "asynq_scheduler_overdue_entries"))
	scheduler.Shutdown()

	// One that lives and has not enqueued for a minute: its field 6 holds a
	// Timestamp, whose field 1 is the time in seconds.
	late := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(time.Now().Add(-time.Minute).Unix()))
	entry := protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), late)
	server.Do(t, "rpush", "asynq:schedulers:{stuck}", entry)
	server.Do(t, "zadd", "asynq:schedulers", time.Now().Add(time.Minute).Unix(), "asynq:schedulers:{stuck}")
	require.Equal(t, 1.0, redistest.Value(t, redistest.Read(t, p), "asynq_scheduler_overdue_entries"))
}

func TestMoreGroupsThanCanBeCountedLeaveTheSumOut(t *testing.T) {
	server := live.Redis(t)
	s := newSite(t, server)
	ctx := t.Context()
	s.enqueue(t, "ok", hibiken.Queue("few"), hibiken.Group("one"))
	s.enqueue(t, "ok", hibiken.Queue("many"), hibiken.Group("one"))
	names := make([]any, 6000)
	for i := range names {
		names[i] = i
	}
	require.NoError(t, s.redis.SAdd(ctx, "asynq:{many}:groups", names...).Err())
	r := redistest.Read(t, open(t, server.URL))
	require.Equal(t, 1, redistest.By(r, "asynq_queue_tasks", "few")["aggregating"])
	require.NotContains(t, redistest.By(r, "asynq_queue_tasks", "many"), "aggregating")
	require.Equal(t, 6001.0, redistest.Value(t, r, "asynq_queue_groups", "many"))
	require.Equal(t, map[string]int{"few": 1}, redistest.By(r, "asynq_queue_size"), "unknown is not the sum of the rest")
}

func TestWhatAnACLRefusesCostsOnlyItsOwnPart(t *testing.T) {
	server := live.Redis(t)
	s := newSite(t, server)
	for _, option := range []hibiken.Option{hibiken.MaxRetry(1), hibiken.ProcessIn(time.Hour), hibiken.Group("g")} {
		s.enqueue(t, "ok", hibiken.Queue("mail"), option)
	}
	defer s.serve(t, 1, map[string]int{"other": 1})()
	require.Eventually(t, func() bool {
		return redistest.Value(t, redistest.Read(t, open(t, server.URL)), "asynq_servers") == 1
	}, 10*time.Second, 50*time.Millisecond)
	whole := redistest.Names(redistest.Read(t, open(t, server.URL)))

	r := redistest.Read(t, open(t, redistest.As(t, server, "%R~asynq:*", asynq.Commands...)))
	require.Equal(t, whole, redistest.Names(r))
	for view, state := range redistest.States(r) {
		require.Equal(t, probe.ViewRead, state, view)
	}

	for command, cost := range map[string]struct {
		view     string
		families string
	}{
		"info":   {"INFO", "asynq_redis_noeviction"},
		"get":    {"servers", "asynq_servers asynq_workers asynq_workers_busy asynq_queue_servers"},
		"zrange": {"servers", "asynq_servers asynq_workers asynq_workers_busy asynq_queue_servers asynq_schedulers asynq_scheduler_entries asynq_scheduler_overdue_entries"},
		"mget":   {"totals", "asynq_tasks_processed_total asynq_tasks_failed_total asynq_queue_paused asynq_queue_paused_total"},
		"hget":   {"oldest", "asynq_queue_latency_seconds"},
		"scard":  {"groups", "asynq_queue_groups asynq_queue_size"},
		"zcount": {"lease", "asynq_queue_orphaned_tasks asynq_queue_overdue_tasks"},
		"llen":   {"counts", "asynq_queue_size"},
	} {
		t.Run("without "+command, func(t *testing.T) {
			var rest []string
			for _, c := range asynq.Commands {
				if c != command {
					rest = append(rest, c)
				}
			}
			r := redistest.Read(t, open(t, redistest.As(t, server, "%R~asynq:*", rest...)))
			require.Equal(t, probe.ViewDenied, redistest.States(r)[cost.view])
			want := maps.Clone(whole)
			for family := range strings.FieldsSeq(cost.families) {
				delete(want, family)
			}
			require.Equal(t, want, redistest.Names(r))
		})
	}
	r = redistest.Read(t, open(t, redistest.As(t, server, "", asynq.Commands...)))
	require.Equal(t, probe.ViewDenied, redistest.States(r)["queues"])
	require.NotContains(t, redistest.Names(r), "asynq_queues", "denied is not zero")
}

func TestAFrozenRedisCostsExactlyTheDeadline(t *testing.T) {
	server := live.Redis(t)
	p := open(t, server.URL)
	redistest.Read(t, p)
	server.Freeze(t)
	const deadline = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	start := time.Now()
	_, err := p.Read(ctx)
	require.Error(t, err)
	require.InDelta(t, deadline.Seconds(), time.Since(start).Seconds(), 0.15)
	server.Thaw(t)
	redistest.Read(t, p)
}

func TestAHundredQueuesCostFourteenCommandsEachOnOneConnection(t *testing.T) {
	const queues = 100
	server := live.Redis(t)
	s := newSite(t, server)
	for i := range queues {
		s.enqueue(t, "ok", hibiken.Queue(fmt.Sprint("queue-", i)))
	}
	p := open(t, server.URL)
	redistest.Read(t, p)

	commands, connections := redistest.Processed(t, server)
	const readings = 5
	for range readings {
		require.Equal(t, float64(queues), redistest.Value(t, redistest.Read(t, p), "asynq_queues"))
	}
	commandsAfter, connectionsAfter := redistest.Processed(t, server)
	const asking = 3 // what Processed itself costs
	require.LessOrEqual(t, commandsAfter-commands-2*asking, readings*(14*queues+4))
	require.Greater(t, commandsAfter-commands, readings*12*queues, "the counting counts")
	require.Equal(t, 1, connectionsAfter-connections, "only the one that asks")
	require.Equal(t, 1, strings.Count(server.Do(t, "client", "list").(string), "name=rollwatch"))
}

func TestAnEvictingRedisIsAFinding(t *testing.T) {
	server := live.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
	r := redistest.Read(t, open(t, server.URL))
	require.Zero(t, redistest.Value(t, r, "asynq_redis_noeviction"))
	require.Equal(t, "the eviction policy of its Redis is allkeys-lru: tasks may be dropped when memory runs out; Asynq needs noeviction", r.Warning)
	require.Empty(t, r.Ill, "nothing is lost yet")
}

// Asynq's own Inspector asks by scripts that take as long as there are groups,
// and deletes what has expired; a reading does neither.
func TestNothingIsAskedThatHoldsOthersUp(t *testing.T) {
	server := live.Redis(t)
	s := newSite(t, server)
	for i := range 20 {
		s.enqueue(t, "ok", hibiken.Queue(fmt.Sprint("queue-", i)), hibiken.Group("group"))
	}
	p := open(t, server.URL)
	server.Do(t, "config", "resetstat")
	redistest.Read(t, p)
	calls := redistest.Calls(t, server)
	require.Positive(t, calls["llen"], "the counting counts")
	for _, command := range []string{"keys", "scan", "eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "multi", "memory|usage", "hvals", "hgetall", "zremrangebyscore"} {
		require.Zero(t, calls[command], command)
	}
}

func TestAThousandReadingsLeaveNothingBehind(t *testing.T) {
	server := live.Redis(t)
	s := newSite(t, server)
	for i := range 10 {
		s.enqueue(t, "ok", hibiken.Queue(fmt.Sprint("queue-", i)), hibiken.Group("group"))
		s.enqueue(t, "ok", hibiken.Queue(fmt.Sprint("queue-", i)))
	}
	p := open(t, server.URL)
	grown := live.Growth(t, func(int) {
		require.EqualValues(t, 10, redistest.Value(t, redistest.Read(t, p), "asynq_queues"))
	})
	require.Less(t, grown, int64(256<<10), "bytes in a thousand readings")
}

func TestFaultsOfTheConfiguration(t *testing.T) {
	good := asynq.Config{Name: "mail", Kind: asynq.Kind, Redis: "main"}
	require.Empty(t, good.Validate())
	require.Equal(t, "redis:main/asynq:*", good.Address())
	require.True(t, good.RequiredTarget())
	require.Len(t, (&asynq.Config{}).Validate(), 2)
	require.Empty(t, (&asynq.Config{}).Address())
	_, err := good.Open(redistest.Links(t, "redis://127.0.0.1:1"))
	require.NoError(t, err, "nothing is dialed yet")
	good.Redis = "other"
	_, err = good.Open(redistest.Links(t, "redis://127.0.0.1:1"))
	require.ErrorContains(t, err, `no redis target is named "other"`)
}
