package postgres

import (
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	xminAge = &probe.Metric{
		Name: "pg_oldest_xmin_age", Type: probe.Gauge, Labels: []string{"holder"},
		Help: "How many transactions old the oldest snapshot is that a holder (backend, standby, slot, slot_catalog, prepared) keeps: " +
			"vacuum cannot remove what died since; absent where nobody keeps one.",
		Source: "pg_stat_activity, pg_stat_replication, pg_replication_slots, pg_prepared_xacts",
	}
	preparedCount = &probe.Metric{
		Name: "pg_prepared_transactions", Type: probe.Gauge,
		Help:   "How many transactions are prepared and neither committed nor rolled back.",
		Source: "pg_prepared_xacts",
	}
	preparedOldest = &probe.Metric{
		Name: "pg_prepared_transactions_oldest_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long ago the oldest of the prepared transactions was prepared; 0 when there is none.",
		Source: "pg_prepared_xacts",
	}
	xminMetrics = []*probe.Metric{xminAge, preparedCount, preparedOldest}
)

// holders are who can keep an old snapshot, and the SQL for the age of the oldest.
var holders = []struct{ name, sql string }{
	{"backend", "SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type <> 'walsender'"},
	{"standby", "SELECT max(age(backend_xmin)) FROM pg_stat_replication"},
	{"slot", "SELECT max(age(xmin)) FROM pg_get_replication_slots()"},
	{"slot_catalog", "SELECT max(age(catalog_xmin)) FROM pg_get_replication_slots()"},
	{"prepared", "SELECT max(age(transaction)) FROM pg_prepared_xact()"},
}

func xminSQL(here) string {
	list := []string{
		"(SELECT count(*) FROM pg_prepared_xact())::float8",
		"(SELECT coalesce(max(extract(epoch FROM clock_timestamp() - prepared)), 0) FROM pg_prepared_xact())::float8",
	}
	for _, h := range holders {
		list = append(list, "("+h.sql+")::float8")
	}
	return "SELECT " + strings.Join(list, ",\n\t")
}

func takeXmin(c *cycle, r *rows) error {
	var prepared, oldest float64
	ages := make([]*float64, len(holders))
	into := []any{&prepared, &oldest}
	for i := range ages {
		into = append(into, &ages[i])
	}
	if err := scanOne(r, into...); err != nil {
		return err
	}
	c.add(preparedCount.Sample(prepared), preparedOldest.Sample(oldest))
	if !c.server.readsStats {
		return errDenied // snapshots of others are hidden
	}
	for i, h := range holders {
		c.addKnown(xminAge, ages[i], h.name)
	}
	return nil
}
