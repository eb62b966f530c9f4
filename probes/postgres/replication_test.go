package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// Both sides of a replication through its life: idle, held back, cut off,
// promoted. At no time is a lag of 0 made up.
func TestReplication(t *testing.T) {
	primary := live.Postgres(t, "full_page_writes=on") // or no backup can be taken of its standby
	standby := primary.Standby(t)
	onPrimary, onStandby := connectTo(t, primary.URL), connectTo(t, standby.URL)
	exec(t, onPrimary, "CREATE TABLE events (body text); CREATE ROLE plain LOGIN")
	upper, lower := open(t, primary.URL), open(t, standby.URL)
	slot := []string{"slot_name", standby.Name}

	caughtUp := func(r probe.Reading) bool {
		lag := values(r, replaySeconds)
		return len(lag) == 1 && lag[0] == 0
	}

	t.Run("idle and healthy is no lag", func(t *testing.T) {
		r := eventually(t, lower, "the standby catches up", func(r probe.Reading) bool {
			return caughtUp(r) && value(t, r, lastReplay) > 0.2
		})
		require.EqualValues(t, 1, value(t, r, isReplica))
		require.Equal(t, "standby", r.Details["role"])
		require.EqualValues(t, 1, value(t, r, receiverUp))
		require.Less(t, value(t, r, receiverSilence), 60.0)
		require.Zero(t, value(t, r, replayBytes))
		require.Zero(t, value(t, r, replayPending))
		require.Zero(t, value(t, r, replayPaused))

		r = eventually(t, upper, "the primary knows", func(r probe.Reading) bool {
			return total(r, standbyBytes, "stage", "replay") == 0
		})
		require.EqualValues(t, 1, value(t, r, standbyCount))
		require.EqualValues(t, 1, value(t, r, standbyInfo, append(slot, "state", "streaming", "sync_state", "async", "application_name", standby.Name)...))
		require.Zero(t, value(t, r, walDiff, append(slot, "state", "streaming")...))
		for _, stage := range []string{"write", "flush", "replay"} {
			require.Zero(t, value(t, r, standbySeconds, append(slot, "stage", stage)...), stage)
		}
		require.EqualValues(t, 1, value(t, r, slotActive, slot...))
		require.EqualValues(t, 1, value(t, r, slotStatus, append(slot, "wal_status", "reserved", "slot_type", "physical")...))
	})

	t.Run("without pg_monitor it is denied, not zero", func(t *testing.T) { testReplicationDenied(t, primary, standby) })

	t.Run("a standby feeds another", func(t *testing.T) { testCascade(t, standby) })

	t.Run("a paused replay is bytes behind on both sides", func(t *testing.T) {
		exec(t, onStandby, "SELECT pg_wal_replay_pause()")
		before := walPosition(t, onPrimary)
		exec(t, onPrimary, "INSERT INTO events SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
		written := walPosition(t, onPrimary) - before
		require.Greater(t, written, 2e6)

		r := eventually(t, lower, "the standby receives it", func(r probe.Reading) bool {
			return value(t, r, replayPending) >= written
		})
		require.EqualValues(t, 1, value(t, r, replayPaused))
		require.InDelta(t, written, value(t, r, replayBytes), 1e5)
		require.Positive(t, value(t, r, replaySeconds))

		r = eventually(t, upper, "the primary knows what was flushed", func(r probe.Reading) bool {
			return value(t, r, standbyBytes, append(slot, "stage", "flush")...) == 0
		})
		require.InDelta(t, written, value(t, r, standbyBytes, append(slot, "stage", "replay")...), 1e5)
		require.InDelta(t, written, value(t, r, walDiff, slot...), 1e5)

		exec(t, onStandby, "SELECT pg_wal_replay_resume()")
		r = eventually(t, lower, "the standby catches up again", caughtUp)
		require.Zero(t, value(t, r, replayPaused))
	})

	t.Run("a receiver that is cut off has no lag that could be known", func(t *testing.T) {
		exec(t, onStandby, "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1 user=postgres'")
		exec(t, onStandby, "SELECT pg_reload_conf()")
		eventually(t, lower, "the receiver is gone", func(r probe.Reading) bool { return total(r, receiverUp) == 0 })
		before := walPosition(t, onPrimary)
		exec(t, onPrimary, "INSERT INTO events SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
		written := walPosition(t, onPrimary) - before

		r := read(t, lower)
		require.Zero(t, value(t, r, receiverUp))
		require.Equal(t, probe.ViewRead, stateOfView(r, "wal_receiver"))
		for _, m := range []*probe.Metric{replaySeconds, replayBytes, receiverSilence} {
			require.Empty(t, values(r, m), "%s would be made up", m.Name)
		}
		r = eventually(t, upper, "the primary notices", func(r probe.Reading) bool { return total(r, slotActive) == 0 })
		require.Zero(t, value(t, r, standbyCount))
		require.GreaterOrEqual(t, value(t, r, slotRetained, slot...), written)
	})

	t.Run("a standby fed from an archive is not broken", func(t *testing.T) {
		exec(t, onStandby, "ALTER SYSTEM SET primary_conninfo = ''")
		exec(t, onStandby, "SELECT pg_reload_conf()")
		r := eventually(t, lower, "the setting is read", func(r probe.Reading) bool {
			return stateOfView(r, "wal_receiver") == probe.ViewAbsent
		})
		require.Empty(t, values(r, receiverUp))
	})

	t.Run("a standby that is promoted while we watch becomes a primary", func(t *testing.T) {
		pid := lower.(*reader).session.conn.PgConn().PID()
		standby.Promote(t)
		r := read(t, lower)
		require.Zero(t, value(t, r, isReplica))
		require.Equal(t, "primary", r.Details["role"])
		for _, name := range []string{"recovery", "wal_receiver"} {
			require.Equal(t, probe.ViewAbsent, stateOfView(r, name), name)
		}
		require.Empty(t, values(r, replayPaused))
		require.Equal(t, pid, lower.(*reader).session.conn.PgConn().PID(), "in the same session")
	})
}

// Without pg_monitor a standby shows only that there is a receiver: that is
// not a lag of 0.
func testReplicationDenied(t *testing.T, primary, standby *live.PG) {
	t.Helper()
	upper := read(t, open(t, as(t, primary.URL, plainUser)))
	require.Equal(t, probe.ViewDenied, stateOfView(upper, "replication"))
	for _, m := range replicationMetrics {
		require.Empty(t, values(upper, m), m.Name)
	}
	lower := read(t, open(t, as(t, standby.URL, plainUser)))
	require.Equal(t, probe.ViewDenied, stateOfView(lower, "wal_receiver"))
	for _, m := range receiverMetrics {
		require.Empty(t, values(lower, m), m.Name)
	}
	require.Equal(t, probe.ViewRead, stateOfView(lower, "recovery"), "anybody may know whether replay is paused")
}

// A standby that feeds another is asked for its own end of the WAL.
func testCascade(t *testing.T, middle *live.PG) {
	t.Helper()
	last := middle.Standby(t)
	p := open(t, middle.URL)
	r := eventually(t, p, "the last standby streams", func(r probe.Reading) bool { return total(r, standbyCount) == 1 })
	require.EqualValues(t, 1, value(t, r, isReplica))
	require.EqualValues(t, 1, value(t, r, slotActive, "slot_name", last.Name))
	eventually(t, p, "it catches up", func(r probe.Reading) bool {
		bytes := values(r, standbyBytes, "stage", "replay")
		return len(bytes) == 1 && bytes[0] == 0
	})
}

func walPosition(t *testing.T, conn *pgx.Conn) float64 {
	t.Helper()
	var at float64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8").Scan(&at))
	return at
}
