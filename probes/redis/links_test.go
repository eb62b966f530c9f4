package redis_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

func TestLinksGiveOneConnectionToAllAndNoneAfterTheyAreClosed(t *testing.T) {
	server := live.Redis(t)
	config := target(server.URL)
	config.Name = "main"
	links := redis.NewLinks(&config)
	first, err := links.Redis("main")
	require.NoError(t, err)
	second, err := links.Redis("main")
	require.NoError(t, err)
	require.Same(t, first, second)
	_, err = links.Redis("other")
	require.ErrorContains(t, err, `no redis target is named "other"`)

	before := received(t, server)
	done := make(chan error)
	for range 20 {
		go func() {
			for range 20 {
				if err := first.Ping(t.Context()).Err(); err != nil {
					done <- err
					return
				}
			}
			pipe := first.Pipeline()
			pipe.Ping(t.Context())
			_, err := pipe.Exec(t.Context())
			done <- err
		}()
	}
	for range 20 {
		require.NoError(t, <-done)
	}
	require.Equal(t, 1, received(t, server)-before-1, "connections made, besides the one that counts")
	require.Contains(t, server.Do(t, "client", "list"), "name=rollwatch")

	require.NoError(t, links.Close())
	require.Error(t, first.Ping(t.Context()).Err())
	_, err = links.Redis("main")
	require.Error(t, err)
}

// received is how many connections the server ever took, the one that asks included.
func received(t *testing.T, server *live.RedisServer) int {
	t.Helper()
	info := redis.ParseInfo(server.Do(t, "info", "stats").(string))
	n, err := strconv.Atoi(info["total_connections_received"])
	require.NoError(t, err)
	return n
}

func TestAReaderThatWaitsForTheConnectionObeysItsOwnDeadline(t *testing.T) {
	server := live.Redis(t)
	config := target(server.URL)
	config.Name = "main"
	links := redis.NewLinks(&config)
	defer links.Close()
	client, err := links.Redis("main")
	require.NoError(t, err)
	p, err := config.Open(links)
	require.NoError(t, err)
	holder := client.(*goredis.Client).Conn()
	defer holder.Close()
	require.NoError(t, holder.Ping(t.Context()).Err())

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = p.Read(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.InDelta(t, 0.2, time.Since(start).Seconds(), 0.15)

	require.NoError(t, holder.Close())
	redistest.ReadOnly(t, p)
}

// lengths is a hook that notes how long the pipelines are.
type lengths []int

func (l *lengths) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (l *lengths) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }
func (l *lengths) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		*l = append(*l, len(cmds))
		return next(ctx, cmds)
	}
}

func TestNoPipelineIsLongerThanFiveHundredCommands(t *testing.T) {
	server := live.Redis(t)
	config := target(server.URL)
	config.Name = "main"
	links := redis.NewLinks(&config)
	defer links.Close()
	client, err := links.Redis("main")
	require.NoError(t, err)
	require.NoError(t, client.Ping(t.Context()).Err())
	var sent lengths
	client.AddHook(&sent)

	answers := make([]*goredis.StatusCmd, 0, 1000)
	err = redis.Pipelined(t.Context(), client, 3, make([]int, 1000), func(pipe goredis.Pipeliner, _ int) {
		answers = append(answers, pipe.Ping(t.Context()))
	})
	require.NoError(t, err)
	require.Equal(t, lengths{166, 166, 166, 166, 166, 166, 4}, sent)
	for _, answer := range answers {
		require.Equal(t, "PONG", answer.Val())
	}
	err = redis.Pipelined(t.Context(), client, 1, make([]int, 1000), func(goredis.Pipeliner, int) {})
	require.NoError(t, err, "nothing to ask is nothing sent")
	require.Len(t, sent, 7)
}
