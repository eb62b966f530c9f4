package postgres

import "github.com/rollwatch/rollwatch/probes/probe"

// What makes a database ill slowly: read of the database that is connected to,
// with names of its user's schemas only.
const usersOwn = `n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE '\_timescaledb%'`

var (
	invalidIndexes = &probe.Metric{
		Name: "pg_invalid_indexes", Type: probe.Gauge,
		Help:   "How many indexes of the connected database are invalid and not being built: what a CREATE INDEX CONCURRENTLY leaves that failed.",
		Source: "pg_index, pg_stat_progress_create_index",
	}
	invalidIndex = &probe.Metric{
		Name: "pg_invalid_index_info", Type: probe.Gauge, Labels: []string{"schemaname", "relname", "indexrelname"},
		Help:   "Always 1; its labels name an invalid index. Twenty at most.",
		Source: "pg_index",
	}
	invalidMetrics = []*probe.Metric{invalidIndexes, invalidIndex}
)

const mostInvalid = 20

func invalidSQL(here) string {
	return `SELECT n.nspname::text, t.relname::text, i.relname::text, (count(*) OVER ())::float8
	FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
	WHERE NOT x.indisvalid AND i.relkind = 'i' AND ` + usersOwn + `
	AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid)
	ORDER BY 1, 2, 3 LIMIT ` + number(mostInvalid)
}

func takeInvalid(c *cycle, r *rows) error {
	all := 0.0
	for r.Next() {
		var schema, table, index string
		if err := scan(r, &schema, &table, &index, &all); err != nil {
			return err
		}
		c.add(invalidIndex.Sample(1, schema, table, index))
	}
	c.add(invalidIndexes.Sample(all))
	return nil
}

var unvalidated = family{source: "pg_constraint, pg_class"}

var constraintColumns = []column{
	unvalidated.gauge("(SELECT count(*) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE NOT k.convalidated AND "+usersOwn+")",
		"pg_unvalidated_constraints", "", "How many constraints of the connected database have not been validated: rows from before may violate them."),
	unvalidated.gauge("(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity AND "+usersOwn+")",
		"pg_row_security_tables", "", "How many tables of the connected database have row-level security switched on."),
}

func constraintsSQL(at here) string { return "SELECT " + selected(at, constraintColumns) }

func takeConstraints(c *cycle, r *rows) error { return takeColumns(c, r, 0, constraintColumns) }

var (
	sequenceUsed = &probe.Metric{
		Name: "pg_sequence_used_ratio", Type: probe.Gauge, Unit: "ratio", Labels: []string{"schemaname", "sequencename"},
		Help:   "How much of its range a sequence has used, from 0 to 1: at 1 the next insert fails. The ten that have used most.",
		Source: "pg_sequences",
		Note:   "Of the sequences that our role may read: GRANT SELECT ON ALL SEQUENCES.",
	}
	sequencesUnread = &probe.Metric{
		Name: "pg_sequences_unreadable", Type: probe.Gauge,
		Help:   "How many sequences our role may not read: whether they are near their end is unknown.",
		Source: "has_sequence_privilege()",
	}
	sequenceMetrics = []*probe.Metric{sequenceUsed, sequencesUnread}
)

const mostSequences = 10

// A sequence that counts into an int column ends where the column does; its own
// range says so only when it was made with the type.
func sequencesSQL(here) string {
	return `WITH s AS MATERIALIZED (
		SELECT n.nspname, c.relname, CASE WHEN q.seqcycle OR NOT has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN NULL
			WHEN q.seqincrement < 0 THEN (q.seqmax::numeric - pg_sequence_last_value(c.oid)) / nullif(q.seqmax::numeric - q.seqmin, 0)
			ELSE (pg_sequence_last_value(c.oid)::numeric - q.seqmin) / nullif(q.seqmax::numeric - q.seqmin, 0) END AS used,
			has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable
		FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT pg_is_in_recovery() AND ` + usersOwn + ` LIMIT 10000)
	SELECT nspname::text, relname::text, used::float8, (SELECT count(*) FROM s WHERE NOT readable)::float8
	FROM (SELECT 1) one LEFT JOIN s ON used IS NOT NULL ORDER BY used DESC NULLS LAST LIMIT ` + number(mostSequences)
}

func takeSequences(c *cycle, r *rows) error {
	unread := 0.0
	for r.Next() {
		var schema, name *string
		var used *float64
		if err := scan(r, &schema, &name, &used, &unread); err != nil {
			return err
		}
		if used != nil {
			c.add(sequenceUsed.Sample(*used, *schema, *name))
		}
	}
	c.add(sequencesUnread.Sample(unread))
	return nil
}
