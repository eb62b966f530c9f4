package postgres

import (
	"context"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// apart are the same reads as an exporter asks for them that has a collector
// for each view: 23 statements, of which some come again in several collectors.
var apart = []string{
	"SELECT version()",
	"SHOW server_version",
	"SELECT pg_is_in_recovery()",
	"SELECT datname FROM pg_database WHERE NOT datistemplate AND datallowconn",
	"SELECT datname, datconnlimit FROM pg_database WHERE NOT datistemplate",
	"SELECT pg_database_size('app')",
	"SELECT pg_database_size('postgres')",
	"SELECT datname, age(datfrozenxid), mxid_age(datminmxid) FROM pg_database",
	"SELECT d.datname, l.mode, count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database GROUP BY 1, 2",
	"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), now() - pg_last_xact_replay_timestamp()",
	"SELECT s.*, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) FROM pg_replication_slots s",
	"SELECT slot_name, slot_type, active, restart_lsn, confirmed_flush_lsn FROM pg_replication_slots",
	"SELECT r.*, pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn) FROM pg_stat_replication r",
	"SELECT * FROM pg_stat_archiver",
	"SELECT * FROM pg_stat_bgwriter",
	"SELECT * FROM pg_stat_database",
	"SELECT * FROM pg_stat_database_conflicts",
	"SELECT datname, state, usename, application_name, backend_type, wait_event_type, wait_event, count(*), max(now() - xact_start) FROM pg_stat_activity GROUP BY 1, 2, 3, 4, 5, 6, 7",
	"SELECT count(*), max(clock_timestamp() - xact_start) FROM pg_stat_activity WHERE state <> 'idle' AND xact_start IS NOT NULL",
	"SELECT rolname, rolconnlimit FROM pg_roles",
	"SELECT count(*), sum(size) FROM pg_ls_waldir()",
	"SELECT name, setting, unit FROM pg_settings WHERE vartype IN ('bool', 'integer', 'real')",
	"SELECT * FROM pg_stat_user_tables",
}

// inTurn is how many readings are made before the others have theirs: each side
// is measured with its own server process warm, as two daemons would have it.
const inTurn = 10

// BenchmarkRead measures readings of an idle primary over the kept session, in turn
// with the same reads as separate statements on a session of their own. Ratios are
// of medians: x-separate to statements sent as exporters send them, as plain text;
// x-prepared to statements that the server keeps prepared, which none of them does.
func BenchmarkRead(b *testing.B) {
	pg := live.Postgres(b)
	p, err := (&Config{Name: "main", URL: probe.NewSecret(pg.URL)}).Open(nil)
	require.NoError(b, err)
	defer p.Close()
	require.NoError(b, p.(probe.Discoverer).Discover(b.Context()))
	conn := connectTo(b, pg.URL)
	require.Len(b, apart, 23)

	sides := []struct {
		name string
		read func(context.Context) error
		took []time.Duration
	}{
		{name: "read", read: func(ctx context.Context) error { _, err := p.Read(ctx); return err }},
		{name: "separate", read: func(ctx context.Context) error { return askApart(ctx, conn, pgx.QueryExecModeSimpleProtocol) }},
		{name: "prepared", read: func(ctx context.Context) error { return askApart(ctx, conn, pgx.QueryExecModeCacheStatement) }},
	}
	var bytes, objects uint64
	for b.Loop() {
		for i := range sides {
			bytesBefore, objectsBefore := live.Allocated()
			for range inTurn {
				start := time.Now()
				require.NoError(b, sides[i].read(b.Context()))
				sides[i].took = append(sides[i].took, time.Since(start))
			}
			if bytesAfter, objectsAfter := live.Allocated(); i == 0 {
				bytes, objects = bytes+bytesAfter-bytesBefore, objects+objectsAfter-objectsBefore
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of all together: of no use
	ours := median(sides[0].took)
	b.ReportMetric(ours.Seconds()*1000, "ms/read")
	b.ReportMetric(float64(bytes)/float64(len(sides[0].took))/1024, "KiB/read")
	b.ReportMetric(float64(objects)/float64(len(sides[0].took)), "allocs/read")
	for _, other := range sides[1:] {
		b.ReportMetric(median(other.took).Seconds()*1000, "ms/"+other.name)
		b.ReportMetric(float64(ours)/float64(median(other.took)), "x-"+other.name)
	}
}

// askApart asks the same by separate statements.
func askApart(ctx context.Context, conn *pgx.Conn, mode pgx.QueryExecMode) error {
	for _, sql := range apart {
		rows, err := conn.Query(ctx, sql, mode)
		if err != nil {
			return err
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// A cycle costs at most four statements, and a thousand of them leave no memory
// behind.
func TestWhatACycleCosts(t *testing.T) {
	pg := live.Postgres(t, "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track_utility=on")
	admin := connectTo(t, pg.URL)
	exec(t, admin, "CREATE EXTENSION pg_stat_statements; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor")
	p := open(t, as(t, pg.URL, url.User("monitor")))
	calls := "SELECT coalesce(sum(calls), 0)::int8 FROM pg_stat_statements WHERE userid = 'monitor'::regrole"
	cycles := func(n int) {
		for range n {
			_, err := p.Read(t.Context())
			require.NoError(t, err)
		}
	}
	cycles(10)
	before := queryInt(t, admin, calls)
	cycles(10)
	require.LessOrEqual(t, queryInt(t, admin, calls)-before, int64(40))

	grown := live.Growth(t, func(int) { cycles(1) })
	require.Less(t, grown, int64(1<<20), "bytes in a thousand cycles")
}
