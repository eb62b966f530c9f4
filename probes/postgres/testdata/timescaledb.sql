-- What TimescaleDB 2.22 has, in shape, with the set-up of a small SaaS: a
-- hypertable of e-mail events in chunks of 7 days, kept for 90 days, with a daily
-- aggregate that is refreshed each hour. The extension itself is not in Debian.
CREATE SCHEMA _timescaledb_catalog;
CREATE SCHEMA timescaledb_information;
GRANT USAGE ON SCHEMA _timescaledb_catalog, timescaledb_information TO PUBLIC;

CREATE TABLE _timescaledb_catalog.hypertable (
	id int, schema_name name, table_name name, num_dimensions smallint, compression_state smallint, compressed_hypertable_id int, status int);
INSERT INTO _timescaledb_catalog.hypertable VALUES
	(1, 'public', 'email_events', 1, 1, 3, 0), (2, 'public', 'email_events_mat', 1, 0, NULL, 0),
	(3, 'public', '_compressed_hypertable_3', 1, 2, NULL, 0), (4, 'public', 'readings', 1, 0, NULL, 0);
CREATE TABLE email_events (created_at timestamptz);
CREATE TABLE email_events_mat (d timestamptz);
CREATE TABLE readings (n bigint);
CREATE FUNCTION hypertable_approximate_size(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 4096::bigint';

CREATE TABLE _timescaledb_catalog.chunk (
	id int, hypertable_id int, schema_name name, table_name name, compressed_chunk_id int, dropped boolean NOT NULL, status int, osm_chunk boolean, creation_time timestamptz);
INSERT INTO _timescaledb_catalog.chunk
	SELECT n, 1, '_timescaledb_internal', 'chunk_' || n, NULL::int, n = 1, CASE WHEN n IN (2, 3) THEN 1 ELSE 0 END, false, now() FROM generate_series(1, 6) n
	UNION ALL SELECT 7, 2, '_timescaledb_internal', 'chunk_7', NULL, false, 0, false, now()
	UNION ALL SELECT n, 3, '_timescaledb_internal', 'chunk_' || n, NULL, false, 0, false, now() FROM generate_series(8, 9) n
	UNION ALL SELECT 10, 4, '_timescaledb_internal', 'chunk_10', NULL, false, 0, false, now();

CREATE TABLE _timescaledb_catalog.dimension (id int, hypertable_id int, column_name name, column_type regtype, num_slices smallint, interval_length bigint);
INSERT INTO _timescaledb_catalog.dimension VALUES
	(1, 1, 'created_at', 'timestamptz', NULL, 604800000000), (2, 2, 'd', 'timestamptz', NULL, 6048000000000), (4, 4, 'n', 'bigint', NULL, 1000);
CREATE TABLE _timescaledb_catalog.dimension_slice (id int, dimension_id int, range_start bigint, range_end bigint);
INSERT INTO _timescaledb_catalog.dimension_slice -- the oldest ended 91 days ago
	SELECT n, 1, 0, (extract(epoch FROM now() - interval '91 days' + n * interval '7 days') * 1e6)::bigint FROM generate_series(0, 4) n
	UNION ALL SELECT 6, 4, 0, 1000;

CREATE TABLE _timescaledb_catalog.continuous_agg (
	mat_hypertable_id int, raw_hypertable_id int, user_view_schema name, user_view_name name, materialized_only boolean, finalized boolean);
CREATE TABLE _timescaledb_catalog.continuous_aggs_bucket_function (mat_hypertable_id int, bucket_func text, bucket_width text, bucket_fixed_width boolean);
CREATE TABLE _timescaledb_catalog.continuous_aggs_watermark (mat_hypertable_id int, watermark bigint);
INSERT INTO _timescaledb_catalog.continuous_agg VALUES
	(2, 1, 'public', 'email_events_daily', true, true), (5, 1, 'public', 'never', true, true), (6, 4, 'public', 'by_number', true, true);
INSERT INTO _timescaledb_catalog.continuous_aggs_bucket_function VALUES (2, 'time_bucket', '1 day', true), (5, 'time_bucket', '01:00:00', true), (6, 'time_bucket', '10', true);
INSERT INTO _timescaledb_catalog.continuous_aggs_watermark VALUES
	(2, (extract(epoch FROM now() - interval '30 hours') * 1e6)::bigint), (5, -210866803200000000), (6, 1000);

CREATE VIEW timescaledb_information.jobs AS SELECT * FROM (VALUES
	(1, 'Telemetry Reporter [1]'::name, interval '24 hours', '_timescaledb_functions'::name, 'policy_telemetry'::name, true, NULL::jsonb, NULL::timestamptz, NULL::name, NULL::name),
	(1000, 'Retention Policy [1000]', interval '1 day', '_timescaledb_functions', 'policy_retention', true, '{"drop_after": "90 days", "hypertable_id": 1}', now() - interval '10 minutes', 'public', 'email_events'),
	(1001, 'Refresh [1001]', interval '1 hour', '_timescaledb_functions', 'policy_refresh_continuous_aggregate', true, '{"end_offset": "01:00:00", "start_offset": "3 days", "mat_hypertable_id": 2}', now() + interval '20 minutes', 'public', 'email_events_daily'),
	(1002, 'Refresh [1002]', interval '1 hour', '_timescaledb_functions', 'policy_refresh_continuous_aggregate', false, '{"end_offset": null, "mat_hypertable_id": 5}', NULL, 'public', 'never'),
	(1003, 'By number [1003]', interval '1 hour', 'public', 'tidy', true, '{"drop_after": 1000}', NULL, NULL, NULL)
) j (job_id, application_name, schedule_interval, proc_schema, proc_name, scheduled, config, next_start, hypertable_schema, hypertable_name);
CREATE VIEW timescaledb_information.job_stats AS SELECT * FROM (VALUES
	('public'::name, 'email_events'::name, 1000, now() - interval '1 day', '-infinity'::timestamptz, 'Failed', 'Scheduled', interval '25 milliseconds', now() - interval '10 minutes', 7::bigint, 0::bigint, 7::bigint),
	('public', 'email_events_daily', 1001, now(), now() - interval '1 hour', 'Success', 'Running', interval '90 seconds', now() - interval '1 hour', 40, 38, 2),
	('public', 'email_events_daily', 1001, now(), now() - interval '1 hour', 'Success', 'Running', interval '90 seconds', now() - interval '1 hour', 40, 38, 2)
) s (hypertable_schema, hypertable_name, job_id, last_run_started_at, last_successful_finish, last_run_status, job_status, last_run_duration, next_start, total_runs, total_successes, total_failures);
GRANT SELECT ON ALL TABLES IN SCHEMA _timescaledb_catalog, timescaledb_information TO PUBLIC;
