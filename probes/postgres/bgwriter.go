package postgres

// The names are those of postgres_exporter for versions before 17, which moved
// the checkpoints to a view of their own; they are kept, filled from there.
var background = family{source: "pg_stat_bgwriter; since PostgreSQL 17 pg_stat_checkpointer"}

const inMilliseconds = "In milliseconds, as postgres_exporter has it."

var bgwriterColumns = []column{
	background.counter("checkpoints_timed", "pg_stat_bgwriter_checkpoints_timed_total", "", "Checkpoints that were due."),
	background.counter("checkpoints_req", "pg_stat_bgwriter_checkpoints_req_total", "", "Checkpoints that were asked for, by too much WAL among others."),
	background.with(inMilliseconds).counter("checkpoint_write_time", "pg_stat_bgwriter_checkpoint_write_time_total", "milliseconds", "Time that checkpoints spent on writing, in milliseconds."),
	background.with(inMilliseconds).counter("checkpoint_sync_time", "pg_stat_bgwriter_checkpoint_sync_time_total", "milliseconds", "Time that checkpoints spent on syncing, in milliseconds."),
	background.counter("buffers_checkpoint", "pg_stat_bgwriter_buffers_checkpoint_total", "", "Buffers that checkpoints wrote."),
	background.counter("buffers_clean", "pg_stat_bgwriter_buffers_clean_total", "", "Buffers that the background writer wrote."),
	background.counter("maxwritten_clean", "pg_stat_bgwriter_maxwritten_clean_total", "", "Times that the background writer stopped because it had written too much."),
	background.with("Absent since PostgreSQL 17, whose pg_stat_io has it by backend type.").counter("buffers_backend", "pg_stat_bgwriter_buffers_backend_total", "", "Buffers that backends had to write themselves."),
	background.with("Absent since PostgreSQL 17.").counter("buffers_backend_fsync", "pg_stat_bgwriter_buffers_backend_fsync_total", "", "Times that a backend had to sync by itself."),
	background.counter("buffers_alloc", "pg_stat_bgwriter_buffers_alloc_total", "", "Buffers that were allocated."),
	background.with("A moment, though postgres_exporter calls it a counter.").counter("extract(epoch FROM stats_reset)", "pg_stat_bgwriter_stats_reset_total", "", "When the counters were reset, in Unix time."),
}

func bgwriterSQL(at here) string {
	from := "pg_stat_bgwriter"
	if at.version >= 170000 {
		from = `(SELECT c.num_timed AS checkpoints_timed, c.num_requested AS checkpoints_req, c.write_time AS checkpoint_write_time,
		c.sync_time AS checkpoint_sync_time, c.buffers_written AS buffers_checkpoint, b.buffers_clean, b.maxwritten_clean,
		NULL::float8 AS buffers_backend, NULL::float8 AS buffers_backend_fsync, b.buffers_alloc, b.stats_reset
		FROM pg_stat_bgwriter b, pg_stat_checkpointer c) b`
	}
	return "SELECT " + selected(at, bgwriterColumns) + " FROM " + from
}

func takeBgwriter(c *cycle, r *rows) error { return takeColumns(c, r, 0, bgwriterColumns) }

var checkpointer = family{source: "pg_stat_checkpointer", note: "Since PostgreSQL 17."}

var checkpointerColumns = []column{
	checkpointer.counter("num_timed", "pg_stat_checkpointer_num_timed_total", "", "Checkpoints that were due."),
	checkpointer.counter("num_requested", "pg_stat_checkpointer_num_requested_total", "", "Checkpoints that were asked for."),
	checkpointer.counter("restartpoints_timed", "pg_stat_checkpointer_restartpoints_timed_total", "", "Restartpoints that were due; on standbys."),
	checkpointer.counter("restartpoints_req", "pg_stat_checkpointer_restartpoints_req_total", "", "Restartpoints that were asked for."),
	checkpointer.counter("restartpoints_done", "pg_stat_checkpointer_restartpoints_done_total", "", "Restartpoints that were performed."),
	checkpointer.with("Since PostgreSQL 17; in milliseconds, as postgres_exporter has it.").counter("write_time", "pg_stat_checkpointer_write_time_total", "milliseconds", "Time that checkpoints spent on writing, in milliseconds."),
	checkpointer.with("Since PostgreSQL 17; in milliseconds, as postgres_exporter has it.").counter("sync_time", "pg_stat_checkpointer_sync_time_total", "milliseconds", "Time that checkpoints spent on syncing, in milliseconds."),
	checkpointer.counter("buffers_written", "pg_stat_checkpointer_buffers_written_total", "", "Buffers that checkpoints wrote."),
}

func checkpointerSQL(at here) string {
	if at.version < 170000 {
		return ""
	}
	return "SELECT " + selected(at, checkpointerColumns) + " FROM pg_stat_checkpointer"
}

func takeCheckpointer(c *cycle, r *rows) error { return takeColumns(c, r, 0, checkpointerColumns) }

var archiver = family{source: "pg_stat_archiver"}

var archiverColumns = []column{
	archiver.with("The name is postgres_exporter's; it is exposed untyped, so that OpenMetrics does not add _total.").counter("archived_count", "pg_stat_archiver_archived_count", "", "WAL files that were archived."),
	archiver.with("The name is postgres_exporter's; it is exposed untyped, so that OpenMetrics does not add _total.").counter("failed_count", "pg_stat_archiver_failed_count", "", "Times that a WAL file could not be archived."),
	archiver.gauge("extract(epoch FROM last_archived_time)", "pg_stat_archiver_last_archived_timestamp_seconds", "seconds", "When a WAL file was archived last, in Unix time; absent when none was."),
	archiver.gauge("extract(epoch FROM last_failed_time)", "pg_stat_archiver_last_failed_timestamp_seconds", "seconds", "When a WAL file could not be archived last, in Unix time; absent when none failed."),
}

func archiverSQL(at here) string {
	return "SELECT " + selected(at, archiverColumns) + " FROM pg_stat_archiver"
}

func takeArchiver(c *cycle, r *rows) error { return takeColumns(c, r, 0, archiverColumns) }
