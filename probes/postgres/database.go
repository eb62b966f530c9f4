package postgres

import "slices"

// mostDatabases bounds the series by database: those with most backends first.
const mostDatabases = 100

var (
	byDatabase = family{source: "pg_stat_database", labels: []string{"datid", "datname"}}
	byName     = family{source: "pg_database", labels: []string{"datname"}}
)

// databaseColumns are by datid and datname, but for the last ones, by datname.
var databaseColumns = slices.Concat(statDatabase, perDatabase)

var statDatabase = []column{
	byDatabase.with("The hundred databases with most backends only.").gauge("s.numbackends", "pg_stat_database_numbackends", "", "How many backends are connected to the database; readable without pg_monitor."),
	byDatabase.counter("s.xact_commit", "pg_stat_database_xact_commit", "", "Transactions that were committed."),
	byDatabase.counter("s.xact_rollback", "pg_stat_database_xact_rollback", "", "Transactions that were rolled back."),
	byDatabase.counter("s.blks_read", "pg_stat_database_blks_read", "", "Blocks that were read from disk or from the system's cache."),
	byDatabase.counter("s.blks_hit", "pg_stat_database_blks_hit", "", "Blocks that were found in shared buffers."),
	byDatabase.counter("s.tup_returned", "pg_stat_database_tup_returned", "", "Rows that scans went over."),
	byDatabase.counter("s.tup_fetched", "pg_stat_database_tup_fetched", "", "Rows that index scans fetched."),
	byDatabase.counter("s.tup_inserted", "pg_stat_database_tup_inserted", "", "Rows that were inserted."),
	byDatabase.counter("s.tup_updated", "pg_stat_database_tup_updated", "", "Rows that were updated."),
	byDatabase.counter("s.tup_deleted", "pg_stat_database_tup_deleted", "", "Rows that were deleted."),
	byDatabase.counter("s.conflicts", "pg_stat_database_conflicts", "", "Queries that were cancelled because replay needed what they held; on standbys."),
	byDatabase.counter("s.temp_files", "pg_stat_database_temp_files", "", "Temporary files that queries wrote."),
	byDatabase.counter("s.temp_bytes", "pg_stat_database_temp_bytes", "bytes", "Bytes that queries wrote to temporary files."),
	byDatabase.counter("s.deadlocks", "pg_stat_database_deadlocks", "", "Deadlocks that were found."),
	byDatabase.with("In milliseconds, as postgres_exporter has it; 0 without track_io_timing.").counter("s.blk_read_time", "pg_stat_database_blk_read_time", "milliseconds", "Time spent on reading blocks, in milliseconds."),
	byDatabase.with("In milliseconds, as postgres_exporter has it; 0 without track_io_timing.").counter("s.blk_write_time", "pg_stat_database_blk_write_time", "milliseconds", "Time spent on writing blocks, in milliseconds."),
	byDatabase.with("A moment, though postgres_exporter calls it a counter; it is exposed untyped.").counter("extract(epoch FROM s.stats_reset)", "pg_stat_database_stats_reset", "", "When the counters were reset, in Unix time."),
	byDatabase.counter("s.active_time / 1000", "pg_stat_database_active_time_seconds_total", "seconds", "Time that sessions spent on statements; since PostgreSQL 14.").since14(),
	byDatabase.counter("s.sessions_abandoned", "pg_stat_database_sessions_abandoned_total", "", "Sessions that ended because the client was gone; since PostgreSQL 14.").since14(),
	byDatabase.counter("s.sessions_fatal", "pg_stat_database_sessions_fatal_total", "", "Sessions that ended by a fatal error; since PostgreSQL 14.").since14(),
	byDatabase.counter("s.sessions_killed", "pg_stat_database_sessions_killed_total", "", "Sessions that an operator ended; since PostgreSQL 14.").since14(),
	byDatabase.counter("s.checksum_failures", "pg_stat_database_checksum_failures_total", "", "Pages whose checksum was wrong: corruption; absent without data checksums."),
	byDatabase.counter("pg_stat_get_db_conflict_tablespace(s.datid)", "pg_stat_database_conflicts_confl_tablespace", "", "Queries that were cancelled because a tablespace was dropped."),
	byDatabase.counter("pg_stat_get_db_conflict_lock(s.datid)", "pg_stat_database_conflicts_confl_lock", "", "Queries that were cancelled because they waited for a lock."),
	byDatabase.counter("pg_stat_get_db_conflict_snapshot(s.datid)", "pg_stat_database_conflicts_confl_snapshot", "", "Queries that were cancelled because their snapshot was too old."),
	byDatabase.counter("pg_stat_get_db_conflict_bufferpin(s.datid)", "pg_stat_database_conflicts_confl_bufferpin", "", "Queries that were cancelled because they pinned a buffer."),
	byDatabase.counter("pg_stat_get_db_conflict_startup_deadlock(s.datid)", "pg_stat_database_conflicts_confl_deadlock", "", "Queries that were cancelled because of a deadlock with replay."),
}

var perDatabase = []column{
	byName.gauge("d.datconnlimit", "pg_database_connection_limit", "", "How many connections the database takes; -1 is no limit of its own."),
	byName.gauge("age(d.datfrozenxid)", "pg_database_frozen_xid_age", "", "How many transactions ago the oldest row that is not frozen was written; at two thousand million the server stops taking writes."),
	byName.gauge("mxid_age(d.datminmxid)", "pg_database_min_mxid_age", "", "How many multixacts ago the oldest one that is still needed was made."),
}

func databaseSQL(at here) string {
	return `SELECT s.datid::text, s.datname::text, ` + selected(at, databaseColumns) + `
	FROM pg_stat_database s JOIN pg_database d ON d.oid = s.datid
	WHERE NOT d.datistemplate ORDER BY s.numbackends DESC, s.datid LIMIT ` + number(mostDatabases)
}

func takeDatabase(c *cycle, r *rows) error { return takeColumns(c, r, 2, databaseColumns) }
