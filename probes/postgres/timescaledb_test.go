package postgres

import (
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// The views and tables are those of TimescaleDB in shape, on a real PostgreSQL;
// the role is in pg_monitor and owns nothing.
func TestTimescaleDB(t *testing.T) {
	pg := live.Postgres(t)
	admin := connectTo(t, pg.URL)
	script, err := os.ReadFile("testdata/timescaledb.sql")
	require.NoError(t, err)
	exec(t, admin, "CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor")
	p := open(t, as(t, pg.URL, url.User("monitor")))
	discover(t, p)
	require.Equal(t, probe.ViewAbsent, stateOfView(read(t, p), "timescaledb"), "no extension is no fault")

	exec(t, admin, string(script))
	discover(t, p)
	requireTimescale(t, read(t, p))

	// Columns go with the versions: what is there is still read.
	exec(t, admin, `ALTER TABLE _timescaledb_catalog.hypertable DROP COLUMN compressed_hypertable_id; DELETE FROM _timescaledb_catalog.chunk WHERE dropped OR hypertable_id = 3;
		DELETE FROM _timescaledb_catalog.hypertable WHERE id = 3; ALTER TABLE _timescaledb_catalog.hypertable DROP COLUMN compression_state;
		ALTER TABLE _timescaledb_catalog.chunk DROP COLUMN dropped, DROP COLUMN schema_name, DROP COLUMN compressed_chunk_id`)
	discover(t, p)
	requireTimescale(t, read(t, p))

	// Versions before 2.11 lack the function that estimates sizes, and nothing else is lost.
	exec(t, admin, "DROP FUNCTION hypertable_approximate_size(regclass)")
	discover(t, p)
	r := read(t, p)
	require.Equal(t, probe.ViewAbsent, stateOfView(r, "hypertable_sizes"))
	require.Equal(t, probe.ViewRead, stateOfView(r, "hypertables"))
}

func requireTimescale(t *testing.T, r probe.Reading) {
	t.Helper()
	for _, v := range r.Views {
		require.NotEqual(t, probe.ViewFailed, v.State, "%s: %v", v.Name, v.Err)
	}
	const events, mat, numbers = "email_events", "email_events_mat", "readings"
	require.EqualValues(t, 3, value(t, r, named("timescaledb_hypertables")))
	require.EqualValues(t, 4, value(t, r, named("timescaledb_scheduled_jobs")))
	require.EqualValues(t, 5, value(t, r, named("timescaledb_hypertable_chunks"), "hypertable", events), "a chunk that was dropped is not one")
	require.EqualValues(t, 2, value(t, r, named("timescaledb_hypertable_compressed_chunks"), "hypertable", events))
	require.InDelta(t, 91*86400, value(t, r, named("timescaledb_hypertable_oldest_chunk_age_seconds"), "hypertable", events), 60)
	require.InDelta(t, 86400, value(t, r, named("timescaledb_hypertable_retention_lag_seconds"), "hypertable", events), 60)
	require.EqualValues(t, 4096, value(t, r, named("timescaledb_hypertable_size_bytes"), "hypertable", events))
	require.Empty(t, values(r, named("timescaledb_hypertable_retention_lag_seconds"), "hypertable", mat), "no policy")
	require.Empty(t, values(r, named("timescaledb_hypertable_oldest_chunk_age_seconds"), "hypertable", numbers), "a number is no time")

	require.Empty(t, values(r, named("timescaledb_job_scheduled"), "job_id", "1"), "the extension's own")
	require.Zero(t, value(t, r, named("timescaledb_job_last_run_success"), "job_id", "1000"))
	require.EqualValues(t, 7, value(t, r, named("timescaledb_job_failures_total"), "job_id", "1000"))
	require.Empty(t, values(r, named("timescaledb_job_last_success_timestamp_seconds"), "job_id", "1000"), "-infinity is never")
	require.InDelta(t, 600, value(t, r, named("timescaledb_job_overdue_seconds"), "job_id", "1000"), 60)
	require.EqualValues(t, 1, value(t, r, named("timescaledb_job_last_run_success"), "job_id", "1001"))
	require.EqualValues(t, 1, value(t, r, named("timescaledb_job_running"), "job_id", "1001"))
	require.EqualValues(t, 90, value(t, r, named("timescaledb_job_last_run_duration_seconds"), "job_id", "1001"))
	require.Empty(t, values(r, named("timescaledb_job_overdue_seconds"), "job_id", "1001"), "it runs")
	require.Zero(t, value(t, r, named("timescaledb_job_scheduled"), "job_id", "1002"))
	require.Empty(t, values(r, named("timescaledb_job_last_run_success"), "job_id", "1002"), "it never ran")

	require.InDelta(t, 30*3600, value(t, r, named("timescaledb_continuous_aggregate_staleness_seconds"), "view", "email_events_daily"), 60)
	require.EqualValues(t, 26*3600, value(t, r, named("timescaledb_continuous_aggregate_staleness_limit_seconds"), "view", "email_events_daily"))
	require.EqualValues(t, 1, value(t, r, named("timescaledb_continuous_aggregate_stale"), "view", "email_events_daily"))
	require.Empty(t, values(r, named("timescaledb_continuous_aggregate_staleness_seconds"), "view", "never"))
	require.EqualValues(t, 1, value(t, r, named("timescaledb_continuous_aggregate_stale"), "view", "never"))
	require.Empty(t, values(r, named("timescaledb_continuous_aggregate_stale"), "view", "by_number"))
}
