package postgres

import (
	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	slotActive = &probe.Metric{
		Name: "pg_replication_slots_active", Type: probe.Gauge, Labels: []string{"database", "slot_name"},
		Help:   "Whether someone streams from the replication slot (1) or not (0).",
		Source: "pg_replication_slots",
	}
	slotRetained = &probe.Metric{
		Name: "pg_replication_slots_pg_wal_lsn_diff", Type: probe.Gauge, Unit: "bytes", Labels: []string{"database", "slot_name"},
		Help:   "How many bytes of WAL the replication slot retains; absent when it retains none.",
		Source: "pg_replication_slots",
		Note:   "The name is postgres_exporter's, though it lacks the unit.",
	}
	slotStatus = &probe.Metric{
		Name: "pg_replication_slots_wal_status", Type: probe.Gauge, Labels: []string{"slot_name", "slot_type", "wal_status"},
		Help:   "Always 1; its label wal_status says whether the slot's WAL is still there (reserved, extended, unreserved, lost).",
		Source: "pg_replication_slots",
	}
	slotSafe = &probe.Metric{
		Name: "pg_replication_slots_safe_wal_size_bytes", Type: probe.Gauge, Unit: "bytes", Labels: []string{"slot_name", "slot_type"},
		Help:   "How many bytes of WAL can be written before the slot may lose some; absent without max_slot_wal_keep_size.",
		Source: "pg_replication_slots",
	}
	slotIsActive = &probe.Metric{
		Name: "pg_replication_slots_slot_is_active", Type: probe.Gauge, Labels: []string{"slot_name", "slot_type"},
		Help:   "As pg_replication_slots_active, by the type of the slot.",
		Source: "pg_replication_slots",
	}
	slotCurrent = &probe.Metric{
		Name: "pg_replication_slots_slot_current_wal_lsn", Type: probe.Gauge, Labels: []string{"slot_name", "slot_type"},
		Help:   "Where the server's WAL ends, in bytes.",
		Source: "pg_current_wal_lsn(), on a standby pg_last_wal_receive_lsn()",
	}
	slotConfirmed = &probe.Metric{
		Name: "pg_replication_slots_slot_confirmed_flush_lsn", Type: probe.Gauge, Labels: []string{"slot_name", "slot_type"},
		Help:   "Up to where the reader of a logical slot has confirmed the WAL, in bytes; absent for a physical slot.",
		Source: "pg_replication_slots",
		Note:   "Absent for a physical slot, where postgres_exporter shows 0.",
	}
	slotInactive = &probe.Metric{
		Name: "pg_replication_slots_inactive_since_timestamp_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"slot_name", "slot_type"},
		Help:   "Since when nobody has streamed from the slot, in Unix time; since PostgreSQL 17, and absent while somebody does.",
		Source: "pg_replication_slots",
	}
	slotMetrics = []*probe.Metric{slotActive, slotRetained, slotStatus, slotSafe, slotIsActive, slotCurrent, slotConfirmed, slotInactive}
)

// PostgreSQL 13 brought the limit on what slots retain.
func slotsSQL(at here) string {
	limit := "s.wal_status, s.safe_wal_size::float8"
	if at.version < 130000 {
		limit = "NULL::text, NULL::float8"
	}
	inactive := "NULL"
	if at.version >= 170000 {
		inactive = "extract(epoch FROM s.inactive_since)"
	}
	return `SELECT coalesce(s.database::text, ''), s.slot_name::text, s.slot_type, s.active,
	pg_wal_lsn_diff(` + currentLSN + `, s.restart_lsn)::float8, ` + limit + `, pg_wal_lsn_diff(` + currentLSN + `, '0/0')::float8,
	pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0')::float8, (` + inactive + `)::float8
	FROM pg_replication_slots s ORDER BY s.slot_name LIMIT 100`
}

func takeSlots(c *cycle, rows *rows) error {
	for rows.Next() {
		var database, name, kind string
		var active bool
		var retained, safe, current, confirmed, inactive *float64
		var status *string
		if err := scan(rows, &database, &name, &kind, &active, &retained, &status, &safe, &current, &confirmed, &inactive); err != nil {
			return err
		}
		c.add(slotActive.Sample(truth(active), database, name))
		c.addKnown(slotRetained, retained, database, name)
		c.addKnown(slotSafe, safe, name, kind)
		c.add(slotIsActive.Sample(truth(active), name, kind))
		c.addKnown(slotCurrent, current, name, kind)
		c.addKnown(slotConfirmed, confirmed, name, kind)
		c.addKnown(slotInactive, inactive, name, kind)
		if status != nil {
			c.add(slotStatus.Sample(1, name, kind, *status))
		}
	}
	return nil
}
