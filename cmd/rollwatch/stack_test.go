package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/internal/live"
)

// A stack is one of everything that can be read, each with something to tell.
type stack struct {
	schedule *collector.Schedule
	redis    *live.RedisServer
}

func openStack(t *testing.T) *stack {
	t.Helper()
	primary := live.Postgres(t, "shared_preload_libraries=pg_stat_statements", "max_prepared_transactions=5", "archive_mode=on", "archive_command=true",
		"timescaledb.max_background_workers=16", "autovacuum_naptime=1s", "autovacuum_vacuum_threshold=1", "autovacuum_vacuum_scale_factor=0", "autovacuum_analyze_threshold=1", "autovacuum_analyze_scale_factor=0")
	newest := live.PostgresOf(t, 18, "max_slot_wal_keep_size=64MB", "archive_mode=on", "archive_command=false")
	newest.Exec(t, "SELECT pg_create_physical_replication_slot('left', true); SELECT pg_switch_wal()")
	fillPostgres(t, primary)
	pool := primary.PgBouncer(t)
	standby := primary.Standby(t, "max_prepared_transactions=5")
	s := &stack{redis: live.Redis(t, "--slowlog-log-slower-than", "0", "--appendonly", "yes")}
	s.redis.Do(t, "set", "ff:checkout", "true")
	s.redis.Do(t, "set", "ff:checkout:company:7", "false")
	s.redis.Do(t, "bgrewriteaof")
	replica := s.redis.Replica(t)
	cluster := live.RedisCluster(t)
	fillQueues(t, s.redis)
	var tried atomic.Int64 // of the tenant whose feature breaks
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("tenant") == "globex" && tried.Add(1) > 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte(`{"status":"pass","version":"1","checks":{"db":[{"status":"pass","observedValue":2,"observedUnit":"ms"}]}}`))
	}))
	t.Cleanup(health.Close)
	registry := filepath.Join(t.TempDir(), "flags.yml")
	require.NoError(t, os.WriteFile(registry, []byte("checkout: {expectedRemoval: 2020-01-01}\n"), 0o600))

	config := loadText(t, fmt.Sprintf(`
interval: 1s
postgres:
  - {name: main, url: %q, migrations: [prisma], tables: 5, indexes: 5, statements: 5, integrity: [{name: none, query: select 1 where false}]}
  - {name: replica, url: %q}
  - {name: newest, url: %q}
pgbouncer: [{name: pool, url: %q}]
redis: [{name: main, url: %q}, {name: replica, url: %q}, {name: many, cluster: [%q]}]
queues:
  - {name: jobs, kind: bullmq, redis: main, worker_tracks: {stable: ^v1}}
  - {name: mail, kind: asynq, redis: main}
flags: [{name: flags, kind: redis, redis: main, registry_file: %q}]
services:
  - name: api
    health: {url: %[9]q, replicas: [%[9]q]}
    features: [{name: login, http: {url: "%[9]s/?tenant={{.tenant}}"}, tenants: {list: [acme, globex]}, interval: 1s}]
`, primary.URL, standby.URL, newest.URL, pool.Console, s.redis.URL, replica.URL, cluster[0].Addr, registry, health.URL))
	client, err := pgx.Connect(context.Background(), pool.URL+"&default_query_exec_mode=simple_protocol")
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	_, err = client.Exec(context.Background(), "SELECT 1")
	require.NoError(t, err)
	set, err := openTargets(config)
	require.NoError(t, err)
	s.schedule, err = collector.NewSchedule(set.targets, zap.NewNop())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.schedule.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, set.links.Close())
		require.NoError(t, <-done)
	})
	return s
}

// loadText loads a configuration.
func loadText(t *testing.T, text string) *Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	config, err := configLoader{file: file, lookup: os.LookupEnv}.load()
	require.NoError(t, err)
	return config
}

// fillPostgres leaves behind what makes a view show something: what failed, what
// waits, what was forgotten.
func fillPostgres(t *testing.T, pg *live.PG) {
	t.Helper()
	timescale, err := os.ReadFile("../../probes/postgres/testdata/timescaledb.sql")
	require.NoError(t, err)
	pg.Exec(t, string(timescale))
	pg.Exec(t, `CREATE EXTENSION pg_stat_statements; CREATE TABLE orders (id serial PRIMARY KEY, total int);
		INSERT INTO orders (total) SELECT n FROM generate_series(1, 100) n; ALTER TABLE orders ADD CONSTRAINT positive CHECK (total > 0) NOT VALID;
		CREATE TABLE _prisma_migrations (migration_name text, finished_at timestamptz, rolled_back_at timestamptz, logs text);
		INSERT INTO _prisma_migrations VALUES ('init', now(), NULL, NULL); SELECT pg_create_physical_replication_slot('left', true);
		SELECT pg_stat_reset()`)
	for _, alone := range []string{"SELECT pg_create_logical_replication_slot('logical', 'pgoutput')", "VACUUM ANALYZE orders", "SELECT pg_switch_wal()", "INSERT INTO orders (id, total) VALUES (1000, 1)", "ALTER TABLE orders DROP CONSTRAINT orders_pkey", "INSERT INTO orders (id, total) VALUES (1000, 1)"} {
		pg.Exec(t, alone)
	}
	ctx := context.Background()
	awaitAutovacuum(t, pg)
	session := func() *pgx.Conn {
		conn, err := pgx.Connect(ctx, pg.URL)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(ctx) })
		return conn
	}
	_, err = session().Exec(ctx, "CREATE UNIQUE INDEX CONCURRENTLY twice ON orders (id)")
	require.Error(t, err, "it leaves an invalid index")
	_, err = session().Exec(ctx, "BEGIN; UPDATE orders SET total = 2 WHERE id = 1; PREPARE TRANSACTION 'forgotten'")
	require.NoError(t, err)
	holder, waiter := session(), session()
	_, err = holder.Exec(ctx, "BEGIN; LOCK TABLE _prisma_migrations IN SHARE MODE")
	require.NoError(t, err)
	waiting, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = waiter.Exec(waiting, "BEGIN; LOCK TABLE _prisma_migrations IN EXCLUSIVE MODE")
	}()
	t.Cleanup(func() { stop(); <-done })
}

// awaitAutovacuum gives autovacuum work until it has done some.
func awaitAutovacuum(t *testing.T, pg *live.PG) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), pg.URL)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	eventually(t, "no autovacuum", 30*time.Second, func() bool {
		pg.Exec(t, "UPDATE readings SET n = n + 1; INSERT INTO readings VALUES (1)")
		var done int
		err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_user_tables WHERE last_autovacuum IS NOT NULL AND last_autoanalyze IS NOT NULL").Scan(&done)
		return err == nil && done > 0
	})
}

// fillQueues leaves queues with work that goes on.
func fillQueues(t *testing.T, redis *live.RedisServer) {
	t.Helper()
	queue := live.Node(t, 6).Queue(t, redis.URL, "", "mail")
	queue.Schedule(t, "often", 200*time.Millisecond)
	queue.Worker(t, live.Complete, live.Options{"name": "v1-a"})
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: redis.Addr}, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, Queues: map[string]int{"mail": 1}})
	require.NoError(t, server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return nil })))
	t.Cleanup(server.Shutdown)
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: redis.Addr})
	_, err := client.Enqueue(asynq.NewTask("mail:send", nil), asynq.Queue("mail"), asynq.ProcessIn(time.Hour))
	require.NoError(t, err)
	require.NoError(t, client.Close())
}

// touch changes what is only seen when it changes.
func (s *stack) touch(t *testing.T) {
	t.Helper()
	value := "true"
	if time.Now().Second()%2 == 0 {
		value = "false"
	}
	s.redis.Do(t, "set", "ff:checkout", value)
}
