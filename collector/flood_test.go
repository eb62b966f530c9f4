package collector_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// readWithin reads a target once, which is up and may have so many series.
func readWithin(t *testing.T, kind, name string, p probe.Probe, budget int) collector.Status {
	t.Helper()
	statuses := collector.ReadOnce(t.Context(), []collector.Target{{
		Kind: kind, Name: name, Interval: time.Minute, Timeout: time.Minute, Budget: budget, Probe: p,
	}}, zap.NewNop())
	require.NoError(t, statuses[0].Err)
	require.True(t, statuses[0].Up)
	return statuses[0]
}

// Somebody who makes a queue for each job has a hundred thousand of them. What
// is over the budget is dropped and said, and the rest is read.
func TestAHundredThousandQueuesDropSeriesLoudly(t *testing.T) {
	const queues = 100_000
	server := live.Redis(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	for from := 0; from < queues; from += 10_000 {
		pipe := client.Pipeline()
		for i := range 10_000 {
			pipe.HSet(t.Context(), fmt.Sprintf("bull:queue-%d:meta", from+i), "version", "bullmq:6.7.0")
		}
		_, err := pipe.Exec(context.Background())
		require.NoError(t, err)
	}
	config := &bullmq.Config{Name: "jobs", Kind: bullmq.Kind, Redis: "main"}
	p, err := config.Open(redistest.Links(t, server.URL))
	require.NoError(t, err)
	budget := collector.DefaultConfig().SeriesPerTarget
	status := readWithin(t, "bullmq", "jobs", p, budget)
	require.LessOrEqual(t, len(status.Reading.Samples), budget)
	require.Greater(t, len(status.Reading.Samples), budget-100)
	require.Greater(t, status.Dropped, uint64(queues*10), "of those that are not read, and of those that are")
	require.Equal(t, 80_000, status.Reading.Details["queuesNotRead"])
}

// A schema for each tenant makes a hundred thousand tables, and their series were
// asked for. The rows of the catalog are all that the statistics range over.
func TestAHundredThousandTablesDropSeriesLoudly(t *testing.T) {
	const tables, asked = 100_000, 2_000
	pg := live.Postgres(t, "allow_system_table_mods=on")
	pg.Exec(t, "CREATE TABLE tenant (id int)")
	pg.Exec(t, fmt.Sprintf(`DO $$ DECLARE one pg_class; BEGIN
		one := (SELECT c FROM pg_class c WHERE relname = 'tenant');
		FOR i IN 1..%d LOOP
			one.oid := 1000000 + i; one.relname := 'tenant_' || i; one.relfilenode := one.oid; one.relnatts := 0;
			INSERT INTO pg_class VALUES (one.*);
		END LOOP; END $$; ANALYZE pg_class`, tables))
	config := &postgres.Config{Name: "main", URL: probe.NewSecret(pg.URL), Tables: asked}
	p, err := config.Open(nil)
	require.NoError(t, err)
	budget := collector.DefaultConfig().SeriesPerTarget
	status := readWithin(t, "postgres", "main", p, budget)
	require.Len(t, status.Reading.Samples, budget)
	require.Greater(t, status.Dropped, uint64(asked*15-budget))
	read := map[string]bool{}
	for _, sample := range status.Reading.Samples {
		read[sample.Metric.Name] = true
	}
	for _, name := range []string{"pg_static", "pg_connections_used", "pg_stat_database_tup_inserted", "pg_stat_replication_standbys", "pg_database_size_bytes"} {
		require.True(t, read[name], "%s is there once: it is not what is dropped", name)
	}
}
