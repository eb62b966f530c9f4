package postgres

import (
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A setting is one that explains what else is read: limits, memory, safety.
type setting struct {
	name   string
	metric *probe.Metric
}

// settings are those that matter, under the names that postgres_exporter gives
// them; the limits on connections are read at every Read. The time-outs that we
// set for our own session (limitsFor) are not among them: the server then shows
// ours, and not what others get.
var settings = []setting{
	settingOf("autovacuum", "", "Whether autovacuum runs."),
	settingOf("autovacuum_freeze_max_age", "", "Age in transactions at which a table is vacuumed to be frozen."),
	settingOf("autovacuum_max_workers", "", "Autovacuum workers at most."),
	settingOf("checkpoint_timeout", "seconds", "Time between two checkpoints at most."),
	settingOf("data_checksums", "", "Whether pages carry checksums: without them corruption goes unseen."),
	settingOf("effective_cache_size", "bytes", "What the planner believes the caches hold."),
	settingOf("fsync", "", "Whether what is committed is on disk."),
	settingOf("full_page_writes", "", "Whether pages are written whole after a checkpoint."),
	settingOf("hot_standby_feedback", "", "Whether the standby keeps its primary from removing what its queries need."),
	settingOf("maintenance_work_mem", "bytes", "Memory for vacuum and index builds."),
	settingOf("max_parallel_workers", "", "Parallel workers at most."),
	settingOf("max_prepared_transactions", "", "Prepared transactions at most."),
	settingOf("max_replication_slots", "", "Replication slots at most."),
	settingOf("max_slot_wal_keep_size", "bytes", "WAL that slots may retain; absent when there is no limit."),
	settingOf("max_standby_streaming_delay", "seconds", "Time that replay waits for queries on a standby; absent when it waits for ever."),
	settingOf("max_wal_senders", "", "WAL senders at most."),
	settingOf("max_wal_size", "bytes", "WAL between two checkpoints, about."),
	settingOf("max_worker_processes", "", "Background workers at most."),
	settingOf("random_page_cost", "", "What the planner believes a page costs that is read by itself."),
	settingOf("seq_page_cost", "", "What the planner believes a page costs that is read in a row."),
	settingOf("shared_buffers", "bytes", "Size of the buffer cache."),
	settingOf("track_io_timing", "", "Whether the time of reads and writes is measured."),
	settingOf("wal_keep_size", "bytes", "WAL that is kept for standbys without a slot."),
	settingOf("work_mem", "bytes", "Memory of one sort or hash before it spills to disk."),
}

var settingMetrics = func() []*probe.Metric {
	metrics := make([]*probe.Metric, len(settings))
	for i, s := range settings {
		metrics[i] = s.metric
	}
	return metrics
}()

func settingOf(name, unit, help string) setting {
	exposed := "pg_settings_" + name
	if unit != "" {
		exposed += "_" + unit
	}
	return setting{name, &probe.Metric{
		Name: exposed, Type: probe.Gauge, Unit: unit, Help: help, Source: "pg_settings",
		Note: "Of pg_settings_* only what explains other readings; without the label server.",
	}}
}

// baseUnit is what a unit of pg_settings is in the base unit: bytes or seconds.
const baseUnit = `CASE unit WHEN '8kB' THEN 8192 WHEN 'kB' THEN 1024 WHEN 'MB' THEN 1048576 WHEN 'B' THEN 1
	WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'min' THEN 60 ELSE 1 END`

// -1 stands for "no limit" or "whatever another setting says": it has no value.
func settingsSQL(here) string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = "'" + s.name + "'"
	}
	return `SELECT name, CASE vartype WHEN 'bool' THEN (v = 'on')::int::float8 ELSE v::float8 * ` + baseUnit + ` END
	FROM (SELECT name, vartype, unit, setting AS v FROM pg_settings WHERE name IN (` + strings.Join(names, ", ") + `)) s WHERE v <> '-1'`
}

func takeSettings(c *cycle, r *rows) error {
	for r.Next() {
		var name string
		var value *float64
		if err := scan(r, &name, &value); err != nil {
			return err
		}
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
		c.addKnown(settings[i].metric, value)
	}
	return nil
}
