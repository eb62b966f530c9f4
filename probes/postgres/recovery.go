package postgres

import (
	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	replayPaused = &probe.Metric{
		Name: "pg_replication_replay_paused", Type: probe.Gauge,
		Help:   "Whether replay on the standby is paused (1) or not (0).",
		Source: "pg_is_wal_replay_paused()",
	}
	replayPending = &probe.Metric{
		Name: "pg_replication_received_not_replayed_bytes", Type: probe.Gauge, Unit: "bytes",
		Help:   "How many bytes of WAL the standby has received and not replayed; what it did not receive is not in it.",
		Source: "pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()",
	}
	lastReplay = &probe.Metric{
		Name: "pg_replication_last_replay_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long ago the newest replayed transaction was committed on the primary; it grows on an idle primary too, so it is not the lag.",
		Source: "pg_last_xact_replay_timestamp()",
	}
	recoveryMetrics = []*probe.Metric{replayPaused, replayPending, lastReplay}
)

func recoverySQL(here) string {
	return `SELECT CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END,
	greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::float8,
	extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8`
}

func takeRecovery(c *cycle, rows *rows) error {
	if !c.server.standby {
		return errNotHere
	}
	var paused *bool
	var pending, age *float64
	if err := scanOne(rows, &paused, &pending, &age); err != nil {
		return err
	}
	if paused != nil {
		c.add(replayPaused.Sample(truth(*paused)))
	}
	c.addKnown(replayPending, pending)
	c.addKnown(lastReplay, age)
	return nil
}
