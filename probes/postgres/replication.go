package postgres

import (
	"slices"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// standbyLabels tell one walsender from another: two standbys may share name
// and address, so the key needs the pid.
var standbyLabels = []string{"application_name", "client_addr", "pid", "slot_name"}

var (
	walDiff = &probe.Metric{
		Name: "pg_stat_replication_pg_wal_lsn_diff", Type: probe.Gauge, Unit: "bytes",
		Labels: []string{"application_name", "client_addr", "pid", "slot_name", "state"},
		Help:   "How many bytes of WAL the standby has not replayed yet, as the server it streams from sees it.",
		Source: "pg_stat_replication",
		Note:   "The name is postgres_exporter's, though it lacks the unit; pg_stat_replication_lag_bytes has every stage.",
	}
	walCurrent = &probe.Metric{
		Name: "pg_stat_replication_pg_current_wal_lsn_bytes", Type: probe.Gauge, Unit: "bytes", Labels: walDiff.Labels,
		Help:   "Where the server's WAL ends, for each standby.",
		Source: "pg_current_wal_lsn(), on a standby pg_last_wal_receive_lsn()",
	}
	standbyBytes = &probe.Metric{
		Name: "pg_stat_replication_lag_bytes", Type: probe.Gauge, Unit: "bytes", Labels: append(standbyLabels, "stage"),
		Help:   "How many bytes of WAL have not reached the stage (sent, write, flush, replay) of the standby.",
		Source: "pg_stat_replication",
		Note:   "All four stages; postgres_exporter has replay only.",
	}
	standbySeconds = &probe.Metric{
		Name: "pg_stat_replication_lag_seconds", Type: probe.Gauge, Unit: "seconds", Labels: append(standbyLabels, "stage"),
		Help:   "How long recent WAL took to reach the stage (write, flush, replay) of the standby.",
		Source: "pg_stat_replication",
		Note:   "The server forgets it on an idle primary: it is 0 only when the standby has replayed everything, and absent while unknown.",
	}
	standbyInfo = &probe.Metric{
		Name: "pg_stat_replication_info", Type: probe.Gauge, Labels: append(standbyLabels, "state", "sync_state"),
		Help:   "Always 1; its labels say in which state a standby streams and whether commits wait for it.",
		Source: "pg_stat_replication",
	}
	standbyCount = &probe.Metric{
		Name: "pg_stat_replication_standbys", Type: probe.Gauge,
		Help:   "How many clients stream WAL from the server; 0 is none, absent is unknown.",
		Source: "pg_stat_replication",
	}
	replicationMetrics = []*probe.Metric{walDiff, walCurrent, standbyBytes, standbySeconds, standbyInfo, standbyCount}
)

// currentLSN is the newest WAL the server has, on a primary and on a standby
// that feeds others; pg_current_wal_lsn is an error on a standby.
const currentLSN = `CASE WHEN pg_is_in_recovery()
	THEN coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')
	ELSE pg_current_wal_lsn() END`

// The slots come from the function below their view: the view also needs
// pg_database, and would make this one wait for whoever locks it.
func replicationSQL(here) string {
	return `WITH here AS (SELECT ` + currentLSN + ` AS lsn)
	SELECT r.pid::text, coalesce(r.application_name, ''), coalesce(host(r.client_addr), ''), coalesce(s.slot_name::text, ''),
	coalesce(r.state, ''), coalesce(r.sync_state, ''),
	pg_wal_lsn_diff(here.lsn, r.sent_lsn)::float8, pg_wal_lsn_diff(here.lsn, r.write_lsn)::float8,
	pg_wal_lsn_diff(here.lsn, r.flush_lsn)::float8, pg_wal_lsn_diff(here.lsn, r.replay_lsn)::float8,
	extract(epoch FROM r.write_lag)::float8, extract(epoch FROM r.flush_lag)::float8, extract(epoch FROM r.replay_lag)::float8,
	pg_wal_lsn_diff(here.lsn, '0/0')::float8
	FROM pg_stat_replication r CROSS JOIN here LEFT JOIN pg_get_replication_slots() s ON s.active_pid = r.pid
	ORDER BY r.pid LIMIT 100`
}

func takeReplication(c *cycle, rows *rows) error {
	if !c.server.readsStats {
		return errDenied
	}
	for rows.Next() {
		var pid, app, addr, slot, state, syncState string
		var sent, write, flush, replay, writeLag, flushLag, replayLag, current *float64
		if err := scan(rows, &pid, &app, &addr, &slot, &state, &syncState,
			&sent, &write, &flush, &replay, &writeLag, &flushLag, &replayLag, &current); err != nil {
			return err
		}
		c.standbys++
		id := []string{app, addr, pid, slot}
		with := func(more ...string) []string { return append(slices.Clip(id), more...) }
		c.add(standbyInfo.Sample(1, with(state, syncState)...))
		c.addKnown(walDiff, replay, with(state)...)
		c.addKnown(walCurrent, current, with(state)...)
		c.addKnown(standbyBytes, sent, with("sent")...)
		c.addKnown(standbyBytes, write, with("write")...)
		c.addKnown(standbyBytes, flush, with("flush")...)
		c.addKnown(standbyBytes, replay, with("replay")...)
		caughtUp := replay != nil && *replay <= 0
		c.addKnown(standbySeconds, knownLag(writeLag, caughtUp), with("write")...)
		c.addKnown(standbySeconds, knownLag(flushLag, caughtUp), with("flush")...)
		c.addKnown(standbySeconds, knownLag(replayLag, caughtUp), with("replay")...)
	}
	c.add(standbyCount.Sample(float64(c.standbys)))
	return nil
}

// knownLag is 0 for a standby that has replayed everything, whatever the server
// remembers of earlier; else what the server says, which may be nothing.
func knownLag(lag *float64, caughtUp bool) *float64 {
	if caughtUp {
		return new(float64)
	}
	return lag
}
