package redis_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

func TestMain(m *testing.M) { live.Main(m) }

// open opens the probe of one target, on Links of its own.
func open(t *testing.T, config redis.Config) probe.Probe {
	t.Helper()
	config.Name = "main"
	links := redis.NewLinks(&config)
	t.Cleanup(func() { require.NoError(t, links.Close()) })
	return redistest.Open(t, &config, links)
}

func target(url string) redis.Config { return redis.Config{URL: probe.NewSecret(url)} }

func TestAServerIsReadAsItIs(t *testing.T) {
	server := live.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "123", "--appendonly", "yes")
	server.Do(t, "mset", "a", 1, "b", 2, "c", 3)
	server.Do(t, "expire", "a", 1000)
	server.Do(t, "get", "a")
	server.Do(t, "mget", "nothing")

	p := open(t, target(server.URL))
	r := redistest.ReadOnly(t, p)

	require.Equal(t, 64.0*1024*1024, redistest.Value(t, r, "redis_memory_max_bytes"))
	require.Greater(t, redistest.Value(t, r, "redis_memory_used_bytes"), 100_000.0)
	require.Equal(t, 123.0, redistest.Value(t, r, "redis_max_clients"))
	require.Equal(t, 123.0, redistest.Value(t, r, "redis_config_maxclients"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_connected_clients"), "ours")
	require.Equal(t, 3.0, redistest.Value(t, r, "redis_db_keys", "db0"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_db_keys_expiring", "db0"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_keyspace_hits_total"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_keyspace_misses_total"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_aof_enabled"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_aof_last_write_status"))
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_instance_info", "master"))
	require.Equal(t, 0.0, redistest.Value(t, r, "redis_connected_slaves"))
	require.Positive(t, redistest.Value(t, r, "redis_ping_seconds"))
	require.Less(t, redistest.Value(t, r, "redis_ping_seconds"), 0.5)
	require.Equal(t, "allkeys-lru", r.Details["evictionPolicy"])
	for view, state := range redistest.States(r) {
		require.Equal(t, probe.ViewRead, state, view)
	}
	require.Empty(t, r.Ill)

	// A failed snapshot is told, and one that never was is no time in 1970.
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_rdb_last_bgsave_status"))
	before := redistest.Value(t, r, "redis_commands_processed_total")
	require.Greater(t, redistest.Value(t, redistest.ReadOnly(t, p), "redis_commands_processed_total"), before)
}

func TestEveryFamilyIsReadFromOneOfTwoLinkedServers(t *testing.T) {
	master := live.Redis(t, "--slowlog-log-slower-than", "0", "--appendonly", "yes")
	master.Do(t, "set", "a", 1)
	replica := master.Replica(t)
	master.Do(t, "bgrewriteaof")

	onMaster, onReplica := open(t, target(master.URL)), open(t, target(replica.URL))
	require.Eventually(t, func() bool {
		return redistest.Names(redistest.ReadOnly(t, onMaster))["redis_aof_last_rewrite_duration_sec"]
	}, 10*time.Second, 20*time.Millisecond)
	got := redistest.Names(redistest.ReadOnly(t, onMaster))
	nodes := live.RedisCluster(t)
	for name := range redistest.Names(redistest.ReadOnly(t, open(t, redis.Config{Name: "main", Cluster: []string{nodes[0].Addr}}))) {
		got[name] = true
	}
	for name := range redistest.Names(redistest.ReadOnly(t, onReplica)) {
		got[name] = true
	}
	var missing []string
	for _, m := range redis.Metrics {
		if !got[m.Name] {
			missing = append(missing, m.Name)
		}
	}
	// There only while it goes on, or on a replica that was promoted.
	require.ElementsMatch(t, []string{"redis_rdb_current_bgsave_duration_sec", "redis_aof_current_rewrite_duration_sec", "redis_second_repl_offset"},
		missing, "what else is documented is read")
}

func TestReplicationIsReadOnBothSidesAndABrokenLinkIsNotZeroSeconds(t *testing.T) {
	master := live.Redis(t)
	replica := master.Replica(t)
	onMaster, onReplica := open(t, target(master.URL)), open(t, target(replica.URL))

	require.Equal(t, 1.0, redistest.Value(t, redistest.ReadOnly(t, onMaster), "redis_connected_slaves"))
	_, port, _ := strings.Cut(replica.Addr, ":")
	require.Eventually(t, func() bool {
		r := redistest.ReadOnly(t, onMaster)
		acknowledged, online := redistest.By(r, "redis_connected_slave_offset_bytes", "127.0.0.1", port)["online"]
		return online && float64(acknowledged) == redistest.Value(t, r, "redis_master_repl_offset")
	}, 5*time.Second, 50*time.Millisecond, "the replica acknowledges everything")

	r := redistest.ReadOnly(t, onReplica)
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_master_link_up", "127.0.0.1"))
	require.Contains(t, redistest.Names(r), "redis_master_last_io_seconds_ago")
	require.Equal(t, "slave", r.Details["role"])

	master.Stop(t)
	require.Eventually(t, func() bool {
		return redistest.Value(t, redistest.ReadOnly(t, onReplica), "redis_master_link_up") == 0
	}, 5*time.Second, 20*time.Millisecond)
	r = redistest.ReadOnly(t, onReplica)
	require.NotContains(t, redistest.Names(r), "redis_master_last_io_seconds_ago", "-1 means unknown")
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
	for view, state := range redistest.States(redistest.ReadOnly(t, as("watcher"))) {
		require.Equal(t, probe.ViewRead, state, "%s under what Commands asks for", view)
	}
	once := refused(t, server)
	require.Equal(t, refused(t, server)-once, once-asked, "no more errors than asking makes")
	require.Empty(t, server.Do(t, "acl", "log"), "nothing we do is refused")

	acl("poor", "+ping", "+info")
	r := redistest.ReadOnly(t, as("poor"))
	require.Equal(t, map[string]probe.ViewState{
		"PING": probe.ViewRead, "INFO": probe.ViewRead,
		"CONFIG GET": probe.ViewDenied, "SLOWLOG": probe.ViewDenied, "LATENCY HISTOGRAM": probe.ViewDenied,
		"CLIENT LIST": probe.ViewDenied,
	}, redistest.States(r))
	require.Contains(t, redistest.Names(r), "redis_memory_used_bytes")
	require.NotContains(t, redistest.Names(r), "redis_config_maxclients", "denied is not zero")

	acl("nobody")
	r = redistest.ReadOnly(t, as("nobody"))
	require.Empty(t, r.Samples)
	for view, state := range redistest.States(r) {
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
	require.Equal(t, probe.ViewAbsent, redistest.States(redistest.ReadOnly(t, open(t, target(server.URL))))["CONFIG GET"])
}

func TestAHangingServerCostsExactlyTheDeadline(t *testing.T) {
	frozen := live.Redis(t)
	onFrozen := open(t, target(frozen.URL))
	redistest.ReadOnly(t, onFrozen)
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
	require.Contains(t, redistest.Names(redistest.ReadOnly(t, onFrozen)), "redis_ping_seconds", "it is read again at once")
}

func TestAServerThatIsGoneIsSaidToBeGoneAndIsReadAgainWhenItIsBack(t *testing.T) {
	server := live.Redis(t)
	p := open(t, target(server.URL))
	redistest.ReadOnly(t, p)
	server.Stop(t)
	for range 3 {
		_, err := p.Read(t.Context())
		require.Error(t, err)
	}
	_, err := p.Read(t.Context())
	require.ErrorContains(t, err, "connection refused")
	server.Start(t)
	redistest.ReadOnly(t, p)
}

func TestAPasswordIsReadAgainAtEachConnection(t *testing.T) {
	server := live.Redis(t, "--requirepass", "first")
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("first\n"), 0o600))
	config := target("redis://" + server.Addr)
	config.PasswordFile = file
	p := open(t, config)
	redistest.ReadOnly(t, p)

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

func TestAReplicaThatServesNobodyIsDown(t *testing.T) {
	master := live.Redis(t)
	replica := master.Replica(t, "--replica-serve-stale-data", "no")
	p := open(t, target(replica.URL))
	redistest.ReadOnly(t, p)
	master.Stop(t)
	require.Eventually(t, func() bool {
		_, err := p.Read(t.Context())
		return err != nil && strings.Contains(err.Error(), "MASTERDOWN")
	}, 5*time.Second, 20*time.Millisecond)
}
