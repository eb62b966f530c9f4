package postgres

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func discover(t *testing.T, p probe.Probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p.(*reader).survey.age(surveyEvery) // so that all that is read once a minute is due
	require.NoError(t, p.(probe.Discoverer).Discover(ctx))
}

// What is read rarely is what the test did to the database, and a member of
// pg_monitor may read nearly all of it.
func TestSurvey(t *testing.T) {
	pg := live.Postgres(t, "shared_preload_libraries=pg_stat_statements", "max_prepared_transactions=5")
	admin := connectTo(t, pg.URL)
	exec(t, admin, `CREATE EXTENSION pg_stat_statements; CREATE ROLE monitor LOGIN CONNECTION LIMIT 3; GRANT pg_monitor TO monitor;
		CREATE TABLE orders (id int, note text); CREATE TABLE quiet (id int); CREATE INDEX orders_id ON orders (id);
		INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 1000) n; DELETE FROM orders WHERE id <= 10; ANALYZE orders`)
	exec(t, admin, "SELECT pg_stat_force_next_flush()")
	config := &Config{
		Name: "main", URL: probe.NewSecret(as(t, pg.URL, url.User("monitor"))), Tables: 1, Indexes: 5, Statements: 3,
	}
	p := openConfig(t, config)

	require.Equal(t, probe.ViewAbsent, stateOfView(read(t, p), "sizes"), "nothing is made up before the first survey")
	discover(t, p)
	r := read(t, p)
	for _, v := range r.Views {
		require.Contains(t, []probe.ViewState{probe.ViewRead, probe.ViewAbsent}, v.State, "%s: %v", v.Name, v.Err)
	}

	t.Run("sizes, settings, WAL and roles", func(t *testing.T) {
		require.Greater(t, value(t, r, named("pg_database_size_bytes"), "datname", "app"), 1e6)
		require.EqualValues(t, 16<<20, value(t, r, named("pg_settings_shared_buffers_bytes")))
		require.EqualValues(t, 300, value(t, r, named("pg_settings_checkpoint_timeout_seconds")))
		require.Zero(t, value(t, r, named("pg_settings_fsync")))
		for _, s := range settings {
			require.NotContains(t, limitsFor(time.Second), s.name, "what we set for ourselves is not the server's")
		}
		require.EqualValues(t, 3, value(t, r, named("pg_roles_connection_limit"), "rolname", "monitor"))
		segments := value(t, r, named("pg_wal_segments"))
		require.EqualValues(t, queryInt(t, admin, "SELECT count(*) FROM pg_ls_waldir()"), segments)
		require.Equal(t, segments*(1<<20), value(t, r, named("pg_wal_size_bytes")))
		require.Positive(t, value(t, r, connectTime))
	})

	t.Run("the busiest table only", func(t *testing.T) {
		require.Len(t, values(r, named("pg_stat_user_tables_n_tup_ins")), 1)
		require.EqualValues(t, 1000, value(t, r, named("pg_stat_user_tables_n_tup_ins"), "relname", "orders", "datname", "app"))
		require.EqualValues(t, 10, value(t, r, named("pg_stat_user_tables_n_tup_del"), "relname", "orders"))
		require.EqualValues(t, queryInt(t, admin, "SELECT pg_relation_size('orders')"), value(t, r, named("pg_stat_user_tables_table_size_bytes"), "relname", "orders"))
		require.Empty(t, values(r, named("pg_stat_user_tables_last_vacuum")), "never is not 1970")
		require.Len(t, values(r, named("pg_stat_user_indexes_idx_scan_total"), "indexrelname", "orders_id"), 1)
		require.Len(t, values(r, named("pg_stat_statements_calls_total")), 3)
	})

	t.Run("what a failed CREATE INDEX CONCURRENTLY leaves", func(t *testing.T) {
		require.Zero(t, value(t, r, invalidIndexes))
		exec(t, admin, "INSERT INTO orders VALUES (11)")
		_, err := admin.Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY twice ON orders (id)")
		require.Error(t, err)
		discover(t, p)
		r := read(t, p)
		require.EqualValues(t, 1, value(t, r, invalidIndexes))
		require.EqualValues(t, 1, value(t, r, invalidIndex, "schemaname", "public", "relname", "orders", "indexrelname", "twice"))
	})

	t.Run("constraints and row-level security", func(t *testing.T) {
		exec(t, admin, "ALTER TABLE orders ADD CONSTRAINT positive CHECK (id > 100) NOT VALID; ALTER TABLE quiet ENABLE ROW LEVEL SECURITY")
		discover(t, p)
		r := read(t, p)
		require.EqualValues(t, 1, value(t, r, named("pg_unvalidated_constraints")))
		require.EqualValues(t, 1, value(t, r, named("pg_row_security_tables")))
	})

	t.Run("a sequence near its end", func(t *testing.T) {
		exec(t, admin, "CREATE SEQUENCE nearly AS smallint; SELECT setval('nearly', 32000); CREATE SEQUENCE down AS smallint INCREMENT -1; SELECT nextval('down')")
		discover(t, p)
		r := read(t, p)
		require.EqualValues(t, 2, value(t, r, sequencesUnread), "unknown is not 0")
		require.Empty(t, values(r, sequenceUsed))
		exec(t, admin, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO monitor")
		discover(t, p)
		r = read(t, p)
		require.Zero(t, value(t, r, sequencesUnread))
		require.Less(t, value(t, r, sequenceUsed, "sequencename", "down"), 0.001, "one that counts down begins at its top")
		require.InDelta(t, 32000.0/32767, value(t, r, sequenceUsed, "sequencename", "nearly"), 0.001)
	})

	t.Run("it holds no second session", func(t *testing.T) {
		require.Eventually(t, func() bool { return queryInt(t, admin, ourSessions) == 1 }, 5*time.Second, 20*time.Millisecond)
	})

	t.Run("a table that is locked holds nothing up", func(t *testing.T) {
		exec(t, admin, "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
		discover(t, p)
		r := read(t, p)
		require.False(t, slices.ContainsFunc(r.Views, func(v probe.View) bool { return v.State == probe.ViewFailed }))
		require.Len(t, values(r, named("pg_stat_user_tables_n_tup_ins")), 1)
		exec(t, admin, "ROLLBACK")
	})
}

// What has a series for each table or index is of so many of them as were asked
// for, those with most to do, and of no chunk: TimescaleDB makes new ones for ever.
func TestSeriesOfTablesAreOnRequestAndBounded(t *testing.T) {
	pg := live.Postgres(t)
	admin := connectTo(t, pg.URL)
	exec(t, admin, `CREATE SCHEMA _timescaledb_internal; CREATE TABLE _timescaledb_internal._hyper_1_1_chunk (id int PRIMARY KEY);
		INSERT INTO _timescaledb_internal._hyper_1_1_chunk SELECT generate_series(1, 9000)`)
	for i := range 12 {
		exec(t, admin, fmt.Sprintf(`CREATE TABLE t%d (id int PRIMARY KEY); INSERT INTO t%[1]d SELECT generate_series(1, %d);
			SET enable_seqscan = off; SELECT count(id) FROM t%[1]d WHERE id > 0`, i, 10*(i+1)))
	}
	inserted, scans := named("pg_stat_user_tables_n_tup_ins"), named("pg_stat_user_indexes_idx_scan_total")
	families := func(r probe.Reading, prefix string) (n int) {
		for _, s := range r.Samples {
			if strings.HasPrefix(s.Metric.Name, prefix) {
				n++
			}
		}
		return n
	}
	of := func(tables, indexes int) probe.Reading {
		p := openConfig(t, &Config{Name: "main", URL: probe.NewSecret(pg.URL), Tables: tables, Indexes: indexes})
		var r probe.Reading
		require.Eventually(t, func() bool { // statistics are written when a session ends, or a little later
			exec(t, admin, "SELECT pg_stat_force_next_flush()")
			discover(t, p)
			r = read(t, p)
			return tables == 0 || len(values(r, inserted, "relname", "t11")) == 1
		}, 10*time.Second, 50*time.Millisecond)
		return r
	}

	r := of(0, 0)
	require.Zero(t, families(r, "pg_stat_user_")+families(r, "pg_statio_user_"), "nobody asked for them")
	r = of(3, 2)
	require.Len(t, values(r, inserted), 3)
	for i, name := range []string{"t11", "t10", "t9"} {
		require.EqualValues(t, 120-10*i, value(t, r, inserted, "relname", name), "the rows that were inserted, of the busiest")
	}
	require.LessOrEqual(t, families(r, "pg_stat_user_tables_")+families(r, "pg_statio_user_tables_"), 3*len(tableColumns))
	require.Len(t, values(r, scans), 2)
	require.EqualValues(t, 1, value(t, r, scans, "indexrelname", "t11_pkey"))
	require.LessOrEqual(t, families(r, "pg_stat_user_indexes_")+families(r, "pg_statio_user_indexes_"), 2*len(indexColumns))

	r = of(100, 100)
	require.Len(t, values(r, inserted), 12, "a chunk is none of them")
	require.Len(t, values(r, scans), 12)
}

// A database that nobody may connect to is measured for a member of pg_monitor;
// for another role it is left out, and the others are not.
func TestTheSizeOfADatabaseThatIsClosed(t *testing.T) {
	pg := live.Postgres(t)
	pg.Exec(t, "CREATE ROLE monitor LOGIN; CREATE ROLE plain LOGIN; GRANT pg_monitor TO monitor")
	pg.Exec(t, "CREATE DATABASE closed")
	pg.Exec(t, "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
	size := named("pg_database_size_bytes")
	as := func(user string) probe.Reading {
		p := open(t, as(t, pg.URL, url.User(user)))
		discover(t, p)
		return read(t, p)
	}
	require.Greater(t, value(t, as("monitor"), size, "datname", "closed"), 1e6)
	r := as("plain")
	require.Equal(t, probe.ViewRead, stateOfView(r, "sizes"))
	require.Empty(t, values(r, size, "datname", "closed"), "not 0")
	require.Greater(t, value(t, r, size, "datname", "app"), 1e6)
}

// Who waits for whom, for how long, and what holds vacuum back.
func TestWhatHoldsOthersUp(t *testing.T) {
	pg := live.Postgres(t, "max_prepared_transactions=5", "max_connections=30", "superuser_reserved_connections=4")
	admin := connectTo(t, pg.URL)
	exec(t, admin, "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)")
	p := open(t, pg.URL)
	r := read(t, p)
	require.Zero(t, value(t, r, named("pg_blocked_sessions")))
	require.Zero(t, value(t, r, named("pg_blocked_longest_seconds")))
	require.EqualValues(t, 26, value(t, r, connectionsLimit))
	require.EqualValues(t, queryInt(t, admin, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"), value(t, r, connectionsUsed))
	require.Zero(t, value(t, r, oldestIdle))

	holder := connectTo(t, pg.URL)
	exec(t, holder, "BEGIN; UPDATE orders SET id = 2")
	done := make(chan error)
	for range 2 {
		waiter := connectTo(t, pg.URL)
		go func() {
			_, err := waiter.Exec(context.WithoutCancel(t.Context()), "UPDATE orders SET id = 3")
			done <- err
		}()
	}
	r = eventually(t, p, "two wait for one", func(r probe.Reading) bool {
		return total(r, named("pg_blocked_sessions")) == 2 && total(r, named("pg_blocked_longest_seconds")) > 0.3
	})
	require.GreaterOrEqual(t, value(t, r, named("pg_blocking_sessions")), 1.0)
	require.Greater(t, value(t, r, oldestIdle), 0.2)
	require.Positive(t, value(t, r, longTransactions))
	require.Greater(t, value(t, r, lockCount, "datname", "app", "mode", "rowexclusivelock"), 2.0)
	require.Zero(t, value(t, r, lockCount, "datname", "postgres", "mode", "accessexclusivelock"))
	require.GreaterOrEqual(t, value(t, r, xminAge, "holder", "backend"), 1.0)
	exec(t, holder, "ROLLBACK")
	require.NoError(t, <-done)
	require.NoError(t, <-done)

	exec(t, admin, "BEGIN; INSERT INTO orders VALUES (4); PREPARE TRANSACTION 'left behind'")
	exec(t, admin, "INSERT INTO orders VALUES (5)")
	r = read(t, p)
	require.EqualValues(t, 1, value(t, r, preparedCount))
	require.EqualValues(t, 2, value(t, r, xminAge, "holder", "prepared"))
	require.Empty(t, values(r, xminAge, "holder", "slot"))
	exec(t, admin, "ROLLBACK PREPARED 'left behind'")
}

// Counters are those of the server, and the same statement reads them all.
func TestCountersOfADatabase(t *testing.T) {
	pg := live.Postgres(t)
	admin := connectTo(t, pg.URL)
	p := open(t, pg.URL)
	exec(t, admin, "CREATE TABLE t (id int)")
	settled := func() probe.Reading {
		exec(t, admin, "SELECT pg_stat_force_next_flush()")
		return read(t, p)
	}
	inserted := named("pg_stat_database_tup_inserted")
	before := value(t, settled(), inserted, "datname", "app")
	exec(t, admin, "INSERT INTO t SELECT generate_series(1, 500)")
	eventually(t, p, "the rows are counted", func(r probe.Reading) bool {
		exec(t, admin, "SELECT pg_stat_force_next_flush()")
		return value(t, r, inserted, "datname", "app") == before+500
	})
	r := read(t, p)
	require.EqualValues(t, -1, value(t, r, named("pg_database_connection_limit"), "datname", "app"))
	require.EqualValues(t, queryInt(t, admin, "SELECT age(datfrozenxid) FROM pg_database WHERE datname = 'app'"), value(t, r, named("pg_database_frozen_xid_age"), "datname", "app"))
	require.Empty(t, values(r, named("pg_stat_database_checksum_failures_total")), "without checksums nobody knows of failures")
	timed := value(t, r, named("pg_stat_bgwriter_checkpoints_req_total"))
	exec(t, admin, "CHECKPOINT")
	eventually(t, p, "the checkpoint is counted", func(r probe.Reading) bool {
		return total(r, named("pg_stat_bgwriter_checkpoints_req_total")) >= timed+1
	})
	require.Zero(t, value(t, r, named("pg_stat_archiver_archived_count")))
}
