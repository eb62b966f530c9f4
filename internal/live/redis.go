package live

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// A RedisServer is a Redis server.
type RedisServer struct {
	control

	Addr string // host:port
	URL  string // of database 0, with the password if "--requirepass" was given

	server *server.Redis
}

// Redis runs a Redis that saves nothing. The arguments are redis-server's:
// "--maxmemory-policy", "noeviction".
func Redis(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	r, err := server.StartRedis(tb.Context(), args...)
	need(tb, err)
	return newRedis(tb, r)
}

// Replica runs a replica of r, and returns when the two are linked.
func (r *RedisServer) Replica(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	replica, err := r.server.StartReplica(tb.Context(), args...)
	need(tb, err)
	return newRedis(tb, replica)
}

// A WatchedRedis is a Sentinel, and the name under which it knows its master.
type WatchedRedis struct {
	control

	Addr   string // of the Sentinel, host:port
	Master string
}

// Sentinel runs a Sentinel that alone decides over r and its replicas.
func (r *RedisServer) Sentinel(tb testing.TB) *WatchedRedis {
	tb.Helper()
	s, err := r.server.StartSentinel(tb.Context())
	need(tb, err)
	closeAfter(tb, "Sentinel", s)
	return &WatchedRedis{control: control{s}, Addr: s.Addr, Master: server.SentinelMaster}
}

// RedisCluster runs a Redis Cluster of three masters.
func RedisCluster(tb testing.TB) []*RedisServer {
	tb.Helper()
	nodes, err := server.StartCluster(tb.Context(), 3)
	need(tb, err)
	var servers []*RedisServer
	for _, node := range nodes {
		servers = append(servers, newRedis(tb, node))
	}
	return servers
}

func newRedis(tb testing.TB, r *server.Redis) *RedisServer {
	tb.Helper()
	closeAfter(tb, "Redis", r.Server)
	return &RedisServer{control: control{r.Server}, Addr: r.Addr, URL: r.URL, server: r}
}

// Do sends one command and returns its answer.
func (r *RedisServer) Do(tb testing.TB, args ...any) any {
	tb.Helper()
	options, err := redis.ParseURL(r.URL)
	need(tb, err)
	client := redis.NewClient(options)
	defer client.Close()
	ctx, cancel := within()
	defer cancel()
	answer, err := client.Do(ctx, args...).Result()
	if err != nil {
		tb.Fatalf("live: %v: %v", args, err)
	}
	return answer
}
