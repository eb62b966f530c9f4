package postgres

import (
	"github.com/rollwatch/rollwatch/probes/probe"
)

// freshFor is how long a receiver may be silent at least: an idle primary
// speaks every half of its wal_sender_timeout, 30 seconds by default.
const freshFor = 60 // seconds

var (
	receiverUp = &probe.Metric{
		Name: "pg_stat_wal_receiver_up", Type: probe.Gauge,
		Help:   "Whether the standby streams from its primary (1) or should and does not (0); absent for a standby fed from an archive.",
		Source: "pg_stat_wal_receiver, primary_conninfo",
	}
	receiverSilence = &probe.Metric{
		Name: "pg_stat_wal_receiver_last_msg_age_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long ago the standby heard of its primary.",
		Source: "pg_stat_wal_receiver",
	}
	replayBytes = &probe.Metric{
		Name: "pg_replication_replay_lag_bytes", Type: probe.Gauge, Unit: "bytes",
		Help:   "How many bytes of WAL that its primary is known to have the standby has not replayed; absent while it does not stream.",
		Source: "pg_stat_wal_receiver.latest_end_lsn, pg_last_wal_replay_lsn()",
	}
	replaySeconds = &probe.Metric{
		Name: "pg_replication_replay_lag_seconds", Type: probe.Gauge, Unit: "seconds",
		Help: "How far the standby is behind at most: 0 when it has replayed all that its primary has, " +
			"else the age of its newest transaction; absent while it does not stream.",
		Source: "pg_stat_wal_receiver, pg_last_xact_replay_timestamp()",
		Note: "In place of pg_replication_lag_seconds, which is 0 as soon as what was received is replayed: " +
			"also when the receiver is gone and the standby falls behind without end.",
	}
	receiverMetrics = []*probe.Metric{receiverUp, receiverSilence, replayBytes, replaySeconds}
)

// receiverSQL always returns one row: a receiver that is gone has none of its
// own. Whether there should be one is said by primary_conninfo, of which only
// this leaves the server: it may hold a password.
func receiverSQL(here) string {
	return `SELECT r.pid IS NOT NULL, coalesce(r.status, ''),
	extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time)::float8,
	pg_wal_lsn_diff(r.latest_end_lsn, pg_last_wal_replay_lsn())::float8,
	extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
	CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('primary_conninfo', true) <> '' END,
	extract(epoch FROM current_setting('wal_receiver_timeout')::interval)::float8
	FROM (SELECT 1) one LEFT JOIN pg_stat_wal_receiver r ON true`
}

// A receiver is one row of receiverSQL.
type receiver struct {
	there      bool
	status     string
	silence    *float64 // seconds
	behind     *float64 // bytes
	age        *float64 // seconds, of the newest replayed transaction
	configured *bool    // nil: our role may not know
	timeout    float64  // seconds, 0 is none
}

func takeReceiver(c *cycle, rows *rows) error {
	if !c.server.standby {
		return errNotHere
	}
	if !c.server.readsStats {
		return errDenied
	}
	var r receiver
	if err := scanOne(rows, &r.there, &r.status, &r.silence, &r.behind, &r.age, &r.configured, &r.timeout); err != nil {
		return err
	}
	if !r.there {
		switch {
		case r.configured == nil:
			return errDenied
		case !*r.configured:
			return errNotHere // fed from an archive: there is nothing to be broken
		}
	}
	c.add(receiverUp.Sample(truth(r.streams())))
	c.addKnown(receiverSilence, r.silence)
	if r.streams() {
		c.addKnown(replayBytes, atLeastZero(r.behind))
	}
	c.addKnown(replaySeconds, r.lag())
	return nil
}

func (r receiver) streams() bool { return r.status == "streaming" }

// lag is nil while it is not known.
func (r receiver) lag() *float64 {
	switch {
	case !r.streams(), r.silence == nil || *r.silence > max(freshFor, r.timeout), r.behind == nil:
		return nil
	case *r.behind <= 0:
		return new(float64)
	}
	return atLeastZero(r.age)
}

// atLeastZero allows for a replay that went on between two of the server's
// counters, and for two clocks that differ.
func atLeastZero(v *float64) *float64 {
	if v == nil || *v >= 0 {
		return v
	}
	return new(float64)
}
