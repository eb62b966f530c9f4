package redis_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

func TestMain(m *testing.M) { live.Main(m) }

// open opens the probe of one target, on Links of its own.
func open(t *testing.T, config redis.Config) probe.Probe {
	t.Helper()
	if config.Name == "" {
		config.Name = "main"
	}
	require.Empty(t, config.Validate())
	links := redis.NewLinks(&config)
	t.Cleanup(func() { require.NoError(t, links.Close()) })
	p, err := config.Open(links)
	require.NoError(t, err)
	return p
}

func target(url string) redis.Config { return redis.Config{URL: probe.NewSecret(url)} }

func read(t *testing.T, p probe.Probe) probe.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	reading, err := p.Read(ctx)
	require.NoError(t, err)
	return reading
}

// value is the value of the only series of a family, or of the one whose labels hold the words.
func value(t *testing.T, r probe.Reading, name string, words ...string) float64 {
	t.Helper()
	var found []probe.Sample
	for _, s := range r.Samples {
		if s.Metric.Name == name && strings.Contains(strings.Join(s.Labels, " "), strings.Join(words, " ")) {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1, "series of %s %v", name, words)
	return found[0].Value
}

func names(r probe.Reading) map[string]bool {
	names := map[string]bool{}
	for _, s := range r.Samples {
		names[s.Metric.Name] = true
	}
	return names
}

func states(r probe.Reading) map[string]probe.ViewState {
	states := map[string]probe.ViewState{}
	for _, v := range r.Views {
		states[v.Name] = v.State
	}
	return states
}

func TestAServerIsReadAsItIs(t *testing.T) {
	server := live.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "123", "--appendonly", "yes")
	server.Do(t, "mset", "a", 1, "b", 2, "c", 3)
	server.Do(t, "expire", "a", 1000)
	server.Do(t, "get", "a")
	server.Do(t, "mget", "nothing")

	p := open(t, target(server.URL))
	r := read(t, p)

	require.Equal(t, 64.0*1024*1024, value(t, r, "redis_memory_max_bytes"))
	require.Greater(t, value(t, r, "redis_memory_used_bytes"), 100_000.0)
	require.Equal(t, 123.0, value(t, r, "redis_max_clients"))
	require.Equal(t, 123.0, value(t, r, "redis_config_maxclients"))
	require.Equal(t, 1.0, value(t, r, "redis_connected_clients"), "ours")
	require.Equal(t, 3.0, value(t, r, "redis_db_keys", "db0"))
	require.Equal(t, 1.0, value(t, r, "redis_db_keys_expiring", "db0"))
	require.Equal(t, 1.0, value(t, r, "redis_keyspace_hits_total"))
	require.Equal(t, 1.0, value(t, r, "redis_keyspace_misses_total"))
	require.Equal(t, 1.0, value(t, r, "redis_aof_enabled"))
	require.Equal(t, 1.0, value(t, r, "redis_aof_last_write_status"))
	require.Equal(t, 1.0, value(t, r, "redis_instance_info", "master"))
	require.Equal(t, 0.0, value(t, r, "redis_connected_slaves"))
	require.Positive(t, value(t, r, "redis_ping_seconds"))
	require.Less(t, value(t, r, "redis_ping_seconds"), 0.5)
	require.Equal(t, "allkeys-lru", r.Details["evictionPolicy"])
	for view, state := range states(r) {
		require.Equal(t, probe.ViewRead, state, view)
	}
	require.Empty(t, r.Ill)

	// A failed snapshot is told, and one that never was is no time in 1970.
	require.Equal(t, 1.0, value(t, r, "redis_rdb_last_bgsave_status"))
	before := value(t, r, "redis_commands_processed_total")
	require.Greater(t, value(t, read(t, p), "redis_commands_processed_total"), before)
}

func TestEveryFamilyIsReadFromOneOfTwoLinkedServers(t *testing.T) {
	master := live.Redis(t)
	master.Do(t, "set", "a", 1)
	replica := master.Replica(t)

	onMaster, onReplica := read(t, open(t, target(master.URL))), read(t, open(t, target(replica.URL)))
	got := names(onMaster)
	for name := range names(onReplica) {
		got[name] = true
	}
	for _, m := range redis.Metrics {
		require.True(t, got[m.Name], "%s is documented and not read", m.Name)
	}
}

func TestReplicationIsReadOnBothSidesAndABrokenLinkIsNotZeroSeconds(t *testing.T) {
	master := live.Redis(t)
	replica := master.Replica(t)
	onMaster, onReplica := open(t, target(master.URL)), open(t, target(replica.URL))

	require.Equal(t, 1.0, value(t, read(t, onMaster), "redis_connected_slaves"))
	_, port, _ := strings.Cut(replica.Addr, ":")
	require.Eventually(t, func() bool {
		r := read(t, onMaster)
		return value(t, r, "redis_connected_slave_offset_bytes", "127.0.0.1", port, "online") ==
			value(t, r, "redis_master_repl_offset")
	}, 5*time.Second, 50*time.Millisecond, "the replica acknowledges everything")

	r := read(t, onReplica)
	require.Equal(t, 1.0, value(t, r, "redis_master_link_up", "127.0.0.1"))
	require.Contains(t, names(r), "redis_master_last_io_seconds_ago")
	require.Equal(t, "slave", r.Details["role"])

	master.Stop(t)
	require.Eventually(t, func() bool {
		return value(t, read(t, onReplica), "redis_master_link_up") == 0
	}, 5*time.Second, 20*time.Millisecond)
	r = read(t, onReplica)
	require.NotContains(t, names(r), "redis_master_last_io_seconds_ago", "-1 means unknown")
	require.Equal(t, "down", r.Details["masterLink"])
}

func TestWhatAnACLRefusesCostsOnlyItsOwnPart(t *testing.T) {
	server := live.Redis(t)
	acl := func(user string, rules ...any) {
		server.Do(t, append([]any{"acl", "setuser", user, "on", ">secret", "resetkeys", "-@all"}, rules...)...)
	}
	as := func(user string) probe.Probe {
		config := target("redis://" + server.Addr)
		config.Username, config.Password = user, probe.NewSecret("secret")
		return open(t, config)
	}

	granted := make([]any, len(redis.Commands))
	for i, command := range redis.Commands {
		granted[i] = "+" + command
	}
	acl("watcher", granted...)
	asked := refused(t, server)
	for view, state := range states(read(t, as("watcher"))) {
		require.Equal(t, probe.ViewRead, state, "%s under what Commands asks for", view)
	}
	once := refused(t, server)
	require.Equal(t, refused(t, server)-once, once-asked, "no more errors than asking makes")
	require.Empty(t, server.Do(t, "acl", "log"), "nothing we do is refused")

	acl("poor", "+ping", "+info")
	r := read(t, as("poor"))
	require.Equal(t, map[string]probe.ViewState{
		"PING": probe.ViewRead, "INFO": probe.ViewRead,
		"CONFIG GET": probe.ViewDenied, "SLOWLOG LEN": probe.ViewDenied,
	}, states(r))
	require.Contains(t, names(r), "redis_memory_used_bytes")
	require.NotContains(t, names(r), "redis_config_maxclients", "denied is not zero")

	acl("nobody")
	r = read(t, as("nobody"))
	require.Empty(t, r.Samples)
	for view, state := range states(r) {
		require.Equal(t, probe.ViewDenied, state, view)
	}
}

// refused is how many errors the server ever answered; to ask makes some.
func refused(t *testing.T, server *live.RedisServer) int {
	t.Helper()
	info := redis.ParseInfo(server.Do(t, "info", "stats").(string))
	n, err := strconv.Atoi(info["total_error_replies"])
	require.NoError(t, err)
	return n
}

func TestARenamedCommandIsAbsent(t *testing.T) {
	server := live.Redis(t, "--rename-command", "CONFIG", "")
	require.Equal(t, probe.ViewAbsent, states(read(t, open(t, target(server.URL))))["CONFIG GET"])
}

func TestAHangingServerCostsExactlyTheDeadline(t *testing.T) {
	frozen := live.Redis(t)
	onFrozen := open(t, target(frozen.URL))
	read(t, onFrozen)
	frozen.Freeze(t)

	for name, p := range map[string]probe.Probe{
		"frozen while connected": onFrozen,
		"frozen before":          open(t, target(frozen.URL)),
		"accepts, never answers": open(t, target("redis://"+live.Hang(t))),
		"TLS, never answers":     open(t, target("rediss://"+live.Hang(t))),
	} {
		t.Run(name, func(t *testing.T) {
			const deadline = 300 * time.Millisecond
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				start := time.Now()
				_, err := p.Read(ctx)
				cancel()
				require.Error(t, err)
				require.InDelta(t, deadline.Seconds(), time.Since(start).Seconds(), 0.15)
			}
		})
	}
	frozen.Thaw(t)
	require.Contains(t, names(read(t, onFrozen)), "redis_ping_seconds", "it is read again at once")
}

func TestAServerThatIsGoneIsSaidToBeGoneAndIsReadAgainWhenItIsBack(t *testing.T) {
	server := live.Redis(t)
	p := open(t, target(server.URL))
	read(t, p)
	server.Stop(t)
	for range 3 {
		_, err := p.Read(t.Context())
		require.Error(t, err)
	}
	_, err := p.Read(t.Context())
	require.ErrorContains(t, err, "connection refused")
	server.Start(t)
	read(t, p)
}

func TestAPasswordIsReadAgainAtEachConnection(t *testing.T) {
	server := live.Redis(t, "--requirepass", "first")
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("first\n"), 0o600))
	config := target("redis://" + server.Addr)
	config.PasswordFile = file
	p := open(t, config)
	read(t, p)

	server.Do(t, "config", "set", "requirepass", "second")
	require.NoError(t, os.WriteFile(file, []byte("second\n"), 0o600))
	kill(t, server.Addr, "second")
	require.Eventually(t, func() bool {
		_, err := p.Read(t.Context())
		return err == nil
	}, 5*time.Second, 20*time.Millisecond, "the rotated password is used")

	require.NoError(t, os.Remove(file))
	kill(t, server.Addr, "second")
	_, err := p.Read(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// kill ends our connections, from another one.
func kill(t *testing.T, addr, password string) {
	t.Helper()
	config := redis.Config{Name: "admin", URL: probe.NewSecret("redis://" + addr), Password: probe.NewSecret(password)}
	links := redis.NewLinks(&config)
	defer links.Close()
	client, err := links.Redis("admin")
	require.NoError(t, err)
	require.NoError(t, client.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err())
}

func TestNoErrorAndNoAddressShowsAPassword(t *testing.T) {
	const password = "s3cr3t"
	server := live.Redis(t, "--requirepass", "other")
	for _, raw := range []string{
		"redis://user:" + password + "@" + server.Addr,
		"redis://user:" + password + "@" + live.Hang(t) + "/1",
		"redis://user:" + password + "@127.0.0.1:1?family=6",
		"redis://user:" + password + "@" + "no such host:6379",
		"redis://user:" + password + "@127.0.0.1:6379/not-a-number",
		"http://user:" + password + "@127.0.0.1:6379",
		"%zz://" + password,
	} {
		config := redis.Config{Name: "main", URL: probe.NewSecret(raw)}
		require.NotEmpty(t, config.Address())
		require.NotContains(t, config.Address(), password)
		for _, fault := range config.Validate() {
			require.NotContains(t, fault.Problem+fault.Cure, password)
		}
		links := redis.NewLinks(&config)
		p, err := config.Open(links)
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			_, err = p.Read(ctx)
			cancel()
		}
		require.Error(t, err, raw)
		require.NotContains(t, err.Error(), password)
		require.NoError(t, links.Close())
	}
}

func TestAddressesAndFaults(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		config  redis.Config
		address string
		fault   string
	}{
		{redis.Config{Name: "a", URL: probe.NewSecret("redis://u:p@cache:6380/3?family=6&pool_size=99")}, "redis://cache:6380/3", ""},
		{redis.Config{Name: "a", URL: probe.NewSecret("rediss://cache")}, "rediss://cache:6379/0", ""},
		{redis.Config{Name: "a", URL: probe.NewSecret("redis://cache"), TLS: &redis.TLS{}}, "rediss://cache:6379/0", ""},
		{redis.Config{Name: "a", URL: probe.NewSecret("unix:///run/redis.sock?db=2")}, "unix:///run/redis.sock", ""},
		{redis.Config{Name: "a"}, "", "$.url"},
		{redis.Config{URL: probe.NewSecret("redis://cache"), Required: &yes}, "redis://cache:6379/0", "$.name"},
		{redis.Config{Name: "a", URL: probe.NewSecret("postgres://cache")}, "(not a URL)", "$.url"},
		{redis.Config{Name: "a", URL: probe.NewSecret("redis://cache"), Password: probe.NewSecret("x"), PasswordFile: "y"}, "redis://cache:6379/0", "$.password_file"},
		{redis.Config{Name: "a", URL: probe.NewSecret("redis://cache"), TLS: &redis.TLS{KeyFile: "k"}}, "rediss://cache:6379/0", "$.tls"},
	} {
		require.Equal(t, tc.address, tc.config.Address())
		require.True(t, tc.config.RequiredTarget())
		var paths []string
		for _, fault := range tc.config.Validate() {
			paths = append(paths, fault.Path)
		}
		require.Equal(t, tc.fault, strings.Join(paths, " "), tc.address)
	}
}

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
	read(t, p)
}

func TestAReplicaThatServesNobodyIsDown(t *testing.T) {
	master := live.Redis(t)
	replica := master.Replica(t, "--replica-serve-stale-data", "no")
	p := open(t, target(replica.URL))
	read(t, p)
	master.Stop(t)
	require.Eventually(t, func() bool {
		_, err := p.Read(t.Context())
		return err != nil && strings.Contains(err.Error(), "MASTERDOWN")
	}, 5*time.Second, 20*time.Millisecond)
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
