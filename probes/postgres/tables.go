package postgres

import "slices"

var (
	byTable   = family{source: "pg_stat_user_tables", labels: []string{"datname", "schemaname", "relname"}}
	ioByTable = family{source: "pg_statio_user_tables", labels: byTable.labels}
)

// tableColumns are those of postgres_exporter, of the tables with most to do.
var tableColumns = slices.Concat([]column{
	byTable.counter("s.seq_scan", "pg_stat_user_tables_seq_scan", "", "Sequential scans of the table."),
	byTable.counter("s.seq_tup_read", "pg_stat_user_tables_seq_tup_read", "", "Rows that sequential scans read."),
	byTable.counter("s.idx_scan", "pg_stat_user_tables_idx_scan", "", "Index scans of the table."),
	byTable.counter("s.idx_tup_fetch", "pg_stat_user_tables_idx_tup_fetch", "", "Rows that index scans fetched."),
	byTable.counter("s.n_tup_ins", "pg_stat_user_tables_n_tup_ins", "", "Rows that were inserted."),
	byTable.counter("s.n_tup_upd", "pg_stat_user_tables_n_tup_upd", "", "Rows that were updated."),
	byTable.counter("s.n_tup_del", "pg_stat_user_tables_n_tup_del", "", "Rows that were deleted."),
	byTable.counter("s.n_tup_hot_upd", "pg_stat_user_tables_n_tup_hot_upd", "", "Rows that were updated without new index entries."),
	byTable.gauge("s.n_live_tup", "pg_stat_user_tables_n_live_tup", "", "Rows that live, as estimated."),
	byTable.gauge("s.n_dead_tup", "pg_stat_user_tables_n_dead_tup", "", "Rows that are dead, as estimated."),
	byTable.gauge("s.n_mod_since_analyze", "pg_stat_user_tables_n_mod_since_analyze", "", "Rows that were changed since the table was analyzed."),
	byTable.with("Absent when it never was; postgres_exporter says 0.").gauge("extract(epoch FROM s.last_vacuum)", "pg_stat_user_tables_last_vacuum", "", "When the table was vacuumed by hand, in Unix time."),
	byTable.with("Absent when it never was; postgres_exporter says 0.").gauge("extract(epoch FROM s.last_autovacuum)", "pg_stat_user_tables_last_autovacuum", "", "When the table was vacuumed by autovacuum, in Unix time."),
	byTable.with("Absent when it never was; postgres_exporter says 0.").gauge("extract(epoch FROM s.last_analyze)", "pg_stat_user_tables_last_analyze", "", "When the table was analyzed by hand, in Unix time."),
	byTable.with("Absent when it never was; postgres_exporter says 0.").gauge("extract(epoch FROM s.last_autoanalyze)", "pg_stat_user_tables_last_autoanalyze", "", "When the table was analyzed by autovacuum, in Unix time."),
	byTable.counter("s.vacuum_count", "pg_stat_user_tables_vacuum_count", "", "Times that the table was vacuumed by hand."),
	byTable.counter("s.autovacuum_count", "pg_stat_user_tables_autovacuum_count", "", "Times that the table was vacuumed by autovacuum."),
	byTable.counter("s.analyze_count", "pg_stat_user_tables_analyze_count", "", "Times that the table was analyzed by hand."),
	byTable.counter("s.autoanalyze_count", "pg_stat_user_tables_autoanalyze_count", "", "Times that the table was analyzed by autovacuum."),
	byTable.with("By pg_class.relpages, as vacuum saw it: the true size would wait for whoever locks the table.").gauge("c.relpages::float8 * 8192", "pg_stat_user_tables_table_size_bytes", "bytes", "Size of the table, as estimated."),
	byTable.with("By pg_class.relpages, as vacuum saw it: the true size would wait for whoever locks the table.").gauge("(SELECT sum(i.relpages) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid)::float8 * 8192", "pg_stat_user_tables_index_size_bytes", "bytes", "Size of the table's indexes, as estimated."),
}, []column{
	ioByTable.counter("io.heap_blks_read", "pg_statio_user_tables_heap_blocks_read", "", "Blocks of the table that were read from disk or from the system's cache."),
	ioByTable.counter("io.heap_blks_hit", "pg_statio_user_tables_heap_blocks_hit", "", "Blocks of the table that were found in shared buffers."),
	ioByTable.counter("io.idx_blks_read", "pg_statio_user_tables_idx_blocks_read", "", "Blocks of its indexes that were read."),
	ioByTable.counter("io.idx_blks_hit", "pg_statio_user_tables_idx_blocks_hit", "", "Blocks of its indexes that were found in shared buffers."),
	ioByTable.counter("io.toast_blks_read", "pg_statio_user_tables_toast_blocks_read", "", "Blocks of its TOAST table that were read."),
	ioByTable.counter("io.toast_blks_hit", "pg_statio_user_tables_toast_blocks_hit", "", "Blocks of its TOAST table that were found in shared buffers."),
	ioByTable.counter("io.tidx_blks_read", "pg_statio_user_tables_tidx_blocks_read", "", "Blocks of its TOAST index that were read."),
	ioByTable.counter("io.tidx_blks_hit", "pg_statio_user_tables_tidx_blocks_hit", "", "Blocks of its TOAST index that were found in shared buffers."),
})

// Chunks of hypertables are left out: TimescaleDB makes a new one every few days.
func tablesSQL(at here) string {
	if at.config.Tables == 0 {
		return ""
	}
	return `SELECT current_database()::text, s.schemaname::text, s.relname::text, ` + selected(at, tableColumns) + `
	FROM pg_stat_user_tables s JOIN pg_statio_user_tables io USING (relid) JOIN pg_class c ON c.oid = s.relid
	WHERE s.schemaname NOT LIKE '\_timescaledb%'
	ORDER BY coalesce(s.seq_tup_read, 0) + coalesce(s.idx_tup_fetch, 0) + s.n_tup_ins + s.n_tup_upd + s.n_tup_del DESC, s.relid
	LIMIT ` + number(at.config.Tables)
}

func takeTables(c *cycle, r *rows) error { return takeColumns(c, r, 3, tableColumns) }

var byIndex = family{source: "pg_stat_user_indexes, pg_statio_user_indexes", labels: []string{"datname", "schemaname", "relname", "indexrelname"}}

var indexColumns = []column{
	byIndex.counter("s.idx_scan", "pg_stat_user_indexes_idx_scan_total", "", "Scans of the index; an index that stands still is not used."),
	byIndex.counter("s.idx_tup_read", "pg_stat_user_indexes_idx_tup_read_total", "", "Entries that scans of the index returned."),
	byIndex.counter("s.idx_tup_fetch", "pg_stat_user_indexes_idx_tup_fetch_total", "", "Rows that simple scans of the index fetched."),
	byIndex.counter("io.idx_blks_read", "pg_statio_user_indexes_idx_blks_read_total", "", "Blocks of the index that were read."),
	byIndex.counter("io.idx_blks_hit", "pg_statio_user_indexes_idx_blks_hit_total", "", "Blocks of the index that were found in shared buffers."),
	byIndex.gauge("c.relpages::float8 * 8192", "pg_stat_user_indexes_size_bytes", "bytes", "Size of the index, as vacuum saw it."),
}

func indexesSQL(at here) string {
	if at.config.Indexes == 0 {
		return ""
	}
	return `SELECT current_database()::text, s.schemaname::text, s.relname::text, s.indexrelname::text, ` + selected(at, indexColumns) + `
	FROM pg_stat_user_indexes s JOIN pg_statio_user_indexes io USING (indexrelid) JOIN pg_class c ON c.oid = s.indexrelid
	WHERE s.schemaname NOT LIKE '\_timescaledb%' ORDER BY s.idx_tup_read DESC, s.indexrelid LIMIT ` + number(at.config.Indexes)
}

func takeIndexes(c *cycle, r *rows) error { return takeColumns(c, r, 4, indexColumns) }

var byStatement = family{source: "pg_stat_statements", labels: []string{"datname", "usename", "queryid"}}

// The text of a statement is no label: it may hold anything. pg_stat_statements
// itself gives it for a queryid.
var statementColumns = []column{
	byStatement.counter("s.calls", "pg_stat_statements_calls_total", "", "Times that the statement was executed."),
	byStatement.counter("s.total_exec_time / 1000", "pg_stat_statements_seconds_total", "seconds", "Time that executing the statement took."),
	byStatement.counter("s.rows", "pg_stat_statements_rows_total", "", "Rows that the statement returned or changed."),
	byStatement.counter("s.shared_blks_read", "pg_stat_statements_shared_blks_read_total", "", "Blocks that the statement read."),
	byStatement.counter("s.temp_blks_written", "pg_stat_statements_temp_blks_written_total", "", "Temporary blocks that the statement wrote."),
}

func statementsSQL(at here) string {
	if at.config.Statements == 0 {
		return ""
	}
	return `SELECT coalesce(d.datname::text, ''), pg_get_userbyid(s.userid)::text, s.queryid::text, ` + selected(at, statementColumns) + `
	FROM (SELECT userid, dbid, queryid, sum(calls) AS calls, sum(total_exec_time) AS total_exec_time, sum(rows) AS rows,
		sum(shared_blks_read) AS shared_blks_read, sum(temp_blks_written) AS temp_blks_written
		FROM pg_stat_statements(false) WHERE queryid IS NOT NULL GROUP BY 1, 2, 3) s LEFT JOIN pg_database d ON d.oid = s.dbid
	ORDER BY s.total_exec_time DESC LIMIT ` + number(at.config.Statements)
}

func statementsNeeds(Config) need {
	return need{"(SELECT true FROM pg_extension WHERE extname = 'pg_stat_statements')", ""}
}

func takeStatements(c *cycle, r *rows) error { return takeColumns(c, r, 3, statementColumns) }
