package postgres

import (
	"slices"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// The columns of TimescaleDB's views and tables come and go with its versions.
// What not every version has is read through to_jsonb(row) ->> 'column', which is
// NULL where there is no such column. Times in its catalog are microseconds since
// 1970, of hypertables whose first dimension is a time.

// mostHypertables and mostJobs are how many have series.
const (
	mostHypertables = 100
	mostJobs        = 200
)

// timescaleNeeds is the extension. Everybody may read its views and its catalog,
// but for the function cagg_watermark(), which is for those who own the aggregate.
func timescaleNeeds(Config) need {
	return need{"(SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'timescaledb_information')", "GRANT USAGE ON SCHEMA timescaledb_information"}
}

var (
	timescaleInfo = &probe.Metric{
		Name: "timescaledb_info", Type: probe.Gauge, Labels: []string{"version", "license"},
		Help: "Always 1; its labels are the version of TimescaleDB and the licence under which it runs.", Source: "pg_extension, timescaledb.license",
	}
	timescale = family{source: "timescaledb_information.jobs, pg_stat_activity, settings"}

	// timescaleColumns stand behind version and licence.
	timescaleColumns = []column{
		timescale.gauge("SELECT count(*) FROM _timescaledb_catalog.hypertable h WHERE "+isHypertable, "timescaledb_hypertables", "", "Hypertables, those of continuous aggregates included."),
		timescale.gauge("current_setting('timescaledb.max_background_workers', true)", "timescaledb_background_workers_limit", "", "Background workers that TimescaleDB may have in all databases together."),
		timescale.gauge("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'TimescaleDB Background Worker%' OR backend_type ~ '\\[[0-9]+\\]$'", "timescaledb_background_workers", "",
			"Background workers that TimescaleDB has now: its launcher, a scheduler for each database, and the jobs that run."),
		timescale.gauge("SELECT count(*) FROM timescaledb_information.jobs WHERE scheduled", "timescaledb_scheduled_jobs", "", "Jobs of this database that are scheduled, the extension's own included."),
	}
)

// isHypertable leaves out where older versions keep compressed rows.
const isHypertable = "coalesce(to_jsonb(h) ->> 'compression_state', '0') <> '2'"

func timescaleSQL(at here) string {
	return `SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), ''),
	coalesce(current_setting('timescaledb.license', true), ''), ` + selected(at, timescaleColumns)
}

func takeTimescale(c *cycle, r *rows) error {
	var version, license string
	values := make([]*float64, len(timescaleColumns))
	into := []any{&version, &license}
	for i := range values {
		into = append(into, &values[i])
	}
	if err := scanOne(r, into...); err != nil {
		return err
	}
	c.add(timescaleInfo.Sample(1, version, license))
	for i, column := range timescaleColumns {
		c.addKnown(column.metric, values[i])
	}
	return nil
}

var hypertables = family{source: "_timescaledb_catalog.chunk, dimension_slice", labels: []string{"schemaname", "hypertable"}}

var hypertableColumns = []column{
	hypertables.gauge("c.chunks", "timescaledb_hypertable_chunks", "", "Chunks of the hypertable; of the hundred hypertables with most."),
	hypertables.gauge("c.compressed", "timescaledb_hypertable_compressed_chunks", "", "Chunks of the hypertable that are compressed, in whole or in part."),
	hypertables.gauge("extract(epoch FROM now()) - d.oldest / 1e6", "timescaledb_hypertable_oldest_chunk_age_seconds", "seconds", "How long ago the oldest chunk's range of time ended; below 0 while it is still being filled."),
	hypertables.gauge("CASE WHEN p.drop_after IS NOT NULL THEN greatest(0, extract(epoch FROM now() - p.drop_after) - d.oldest / 1e6) END", "timescaledb_hypertable_retention_lag_seconds", "seconds",
		"How long the oldest chunk has been due to be dropped by the hypertable's retention policy; up to the policy's schedule interval is its normal course. Absent without a policy."),
}

// hypertablesSQL counts by the catalog: the view chunks takes seconds at tens of
// thousands of them.
func hypertablesSQL(at here) string {
	return `SELECT h.schema_name::text, h.table_name::text, ` + selected(at, hypertableColumns) + `
	FROM _timescaledb_catalog.hypertable h
	LEFT JOIN LATERAL (SELECT count(*) AS chunks, count(*) FILTER (WHERE status & 1 = 1) AS compressed
		FROM _timescaledb_catalog.chunk c WHERE c.hypertable_id = h.id AND coalesce(to_jsonb(c) ->> 'dropped', 'false') = 'false') c ON true
	LEFT JOIN LATERAL (SELECT min(s.range_end) AS oldest FROM _timescaledb_catalog.dimension_slice s WHERE s.dimension_id = (` + timeDimension("h.id") + `)) d ON true
	LEFT JOIN LATERAL (SELECT (j.config ->> 'drop_after')::interval AS drop_after FROM timescaledb_information.jobs j
		WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = h.schema_name AND j.hypertable_name = h.table_name AND d.oldest IS NOT NULL LIMIT 1) p ON true
	WHERE ` + isHypertable + ` ORDER BY c.chunks DESC, h.id LIMIT ` + number(mostHypertables)
}

// timeDimension is the first dimension of a hypertable, if that is a time.
func timeDimension(hypertable string) string {
	return `SELECT x.id FROM (SELECT id, column_type FROM _timescaledb_catalog.dimension WHERE hypertable_id = ` + hypertable + ` ORDER BY id LIMIT 1) x
		WHERE x.column_type::regtype::text IN ('timestamp with time zone', 'timestamp without time zone', 'date')`
}

func takeHypertables(c *cycle, r *rows) error { return takeColumns(c, r, 2, hypertableColumns) }

var hypertableSizes = family{source: "hypertable_approximate_size()", labels: hypertables.labels}

var hypertableSizeColumns = []column{
	hypertableSizes.gauge("hypertable_approximate_size(format('%I.%I', h.schema_name, h.table_name)::regclass)", "timescaledb_hypertable_size_bytes", "bytes",
		"Size of the hypertable with its indexes and its compressed chunks, as TimescaleDB estimates it; of the hundred hypertables that were made first."),
}

func hypertableSizesSQL(at here) string {
	return "SELECT h.schema_name::text, h.table_name::text, " + selected(at, hypertableSizeColumns) + `
	FROM (SELECT schema_name, table_name FROM _timescaledb_catalog.hypertable h WHERE ` + isHypertable + ` ORDER BY id LIMIT ` + number(mostHypertables) + `) h`
}

// hypertableSizesNeeds is a function that versions from 2.11 have.
func hypertableSizesNeeds(Config) need {
	return need{"(SELECT has_function_privilege(to_regprocedure('hypertable_approximate_size(regclass)'), 'EXECUTE'))", "GRANT EXECUTE ON FUNCTION hypertable_approximate_size(regclass)"}
}

func takeHypertableSizes(c *cycle, r *rows) error { return takeColumns(c, r, 2, hypertableSizeColumns) }

var timescaleJobs = family{
	source: "timescaledb_information.jobs, job_stats", labels: []string{"job_id", "proc_name", "hypertable"},
}

// jobColumns are of jobs j with what is known of their runs, s.
var jobColumns = []column{
	timescaleJobs.gauge("j.scheduled::int", "timescaledb_job_scheduled", "", "Whether the job is scheduled (1) or was switched off (0)."),
	timescaleJobs.gauge("(s ->> 'job_status' = 'Running')::int", "timescaledb_job_running", "", "Whether the job runs now."),
	timescaleJobs.gauge("CASE s ->> 'last_run_status' WHEN 'Success' THEN 1 WHEN 'Failed' THEN 0 END", "timescaledb_job_last_run_success", "",
		"Whether the job's last run succeeded (1) or failed (0); absent before its first."),
	timescaleJobs.counter("s ->> 'total_runs'", "timescaledb_job_runs_total", "", "Runs of the job."),
	timescaleJobs.counter("s ->> 'total_failures'", "timescaledb_job_failures_total", "", "Runs of the job that failed."),
	timescaleJobs.gauge("extract(epoch FROM (s ->> 'last_run_duration')::interval)", "timescaledb_job_last_run_duration_seconds", "seconds", "How long the job's last run took."),
	timescaleJobs.gauge("extract(epoch FROM "+moment("s ->> 'last_successful_finish'")+")", "timescaledb_job_last_success_timestamp_seconds", "seconds",
		"When the job last succeeded, in Unix time; absent when it never did."),
	timescaleJobs.gauge("extract(epoch FROM "+moment("s ->> 'next_start'")+")", "timescaledb_job_next_start_timestamp_seconds", "seconds", "When the job runs next, in Unix time."),
	timescaleJobs.gauge("CASE WHEN j.scheduled AND s ->> 'job_status' IS DISTINCT FROM 'Running' THEN greatest(0, extract(epoch FROM now() - "+moment("s ->> 'next_start'")+")) END",
		"timescaledb_job_overdue_seconds", "seconds", "How long ago the job should have been started; 0 when it is not late."),
}

// moment is a text as a time; TimescaleDB writes -infinity for never.
func moment(text string) string {
	return "(CASE WHEN " + text + " NOT LIKE '%infinity' THEN " + text + " END)::timestamptz"
}

// Jobs under 1000 are the extension's own. Two sessions of one job show it twice.
func timescaleJobsSQL(at here) string {
	return `SELECT j.job_id::text, j.proc_name::text, coalesce(j.hypertable_schema || '.' || j.hypertable_name, ''), ` + selected(at, jobColumns) + `
	FROM timescaledb_information.jobs j LEFT JOIN
		(SELECT DISTINCT ON (job_id) job_id, to_jsonb(x) AS s FROM timescaledb_information.job_stats x ORDER BY job_id) x USING (job_id)
	WHERE j.job_id >= 1000 ORDER BY j.job_id LIMIT ` + number(mostJobs)
}

func takeTimescaleJobs(c *cycle, r *rows) error { return takeColumns(c, r, 3, jobColumns) }

var aggregates = family{source: "_timescaledb_catalog.continuous_agg, continuous_aggs_watermark", labels: []string{"schemaname", "view"}}

var aggregateColumns = []column{
	aggregates.gauge("a.staleness", "timescaledb_continuous_aggregate_staleness_seconds", "seconds",
		"How old the newest data is that the aggregate has materialized; absent when it was never refreshed."),
	aggregates.gauge("a.allowed", "timescaledb_continuous_aggregate_staleness_limit_seconds", "seconds",
		"How old it may be by the refresh policy: its end offset, its schedule interval and one bucket; absent without a policy."),
	aggregates.gauge("CASE WHEN a.allowed IS NOT NULL THEN (coalesce(a.staleness > a.allowed, true))::int END", "timescaledb_continuous_aggregate_stale", "",
		"Whether the aggregate is older than its refresh policy allows, or was never refreshed; absent without a policy."),
}

func aggregatesSQL(at here) string {
	return "SELECT a.schema, a.view, " + selected(at, aggregateColumns) + ` FROM (
	SELECT c.user_view_schema::text AS schema, c.user_view_name::text AS view,
		CASE WHEN w.watermark > 0 THEN extract(epoch FROM now()) - w.watermark / 1e6 END AS staleness,
		extract(epoch FROM coalesce((j.config ->> 'end_offset')::interval, '0') + j.schedule_interval + coalesce(
			(SELECT to_jsonb(b) ->> 'bucket_width' FROM _timescaledb_catalog.continuous_aggs_bucket_function b WHERE b.mat_hypertable_id = c.mat_hypertable_id)::interval,
			((to_jsonb(c) ->> 'bucket_width')::float8 / 1e6) * interval '1 second', '0')) AS allowed
	FROM _timescaledb_catalog.continuous_agg c
	LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark w ON w.mat_hypertable_id = c.mat_hypertable_id
	LEFT JOIN timescaledb_information.jobs j ON j.proc_name = 'policy_refresh_continuous_aggregate' AND j.config ->> 'mat_hypertable_id' = c.mat_hypertable_id::text
	WHERE EXISTS (` + timeDimension("c.raw_hypertable_id") + `) ORDER BY c.mat_hypertable_id LIMIT ` + number(mostHypertables) + `) a`
}

func takeAggregates(c *cycle, r *rows) error { return takeColumns(c, r, 2, aggregateColumns) }

var timescaleMetrics = slices.Concat([]*probe.Metric{timescaleInfo}, metricsOf(timescaleColumns), metricsOf(hypertableColumns),
	metricsOf(hypertableSizeColumns), metricsOf(jobColumns), metricsOf(aggregateColumns))
