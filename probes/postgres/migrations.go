package postgres

import (
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	migrations = &probe.Metric{
		Name: "pg_migrations", Type: probe.Gauge, Labels: []string{"tool", "state"},
		Help: "How many migrations the tool's table has on record as applied, failed (it ended with an error and was not resolved), " +
			"unfinished (it runs, or its process died) or rolled_back.",
		Source: "_prisma_migrations, drizzle.__drizzle_migrations, goose_db_version",
		Note:   "How many are pending is not in the database, but in the files of a version.",
	}
	lastMigrated = &probe.Metric{
		Name: "pg_migrations_last_applied_timestamp_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"tool"},
		Help:   "When the newest migration was applied (of Drizzle: generated), in Unix time; absent when none was.",
		Source: "as pg_migrations",
	}
	lastMigration = &probe.Metric{
		Name: "pg_migrations_last_applied_info", Type: probe.Gauge, Labels: []string{"tool", "name"},
		Help:   "Always 1; its label is the newest migration that was applied: its name, of Drizzle the start of its hash.",
		Source: "as pg_migrations",
	}
	migrationMetrics = []*probe.Metric{migrations, lastMigrated, lastMigration}
)

// A migrationTool keeps a table of what it has done. Its query returns one row:
// how many are applied, failed, unfinished and rolled back (NULL where the tool
// does not tell), when the newest was applied, and its name.
type migrationTool struct {
	name  string
	table func(Config) (schema, table string)
	query string // behind it the name of the table, and
	end   string // what closes the query
}

var migrationTools = []migrationTool{
	{
		name:  "prisma",
		table: func(c Config) (string, string) { return prismaSchema(c), "_prisma_migrations" },
		query: `SELECT (count(*) FILTER (WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL))::float8,
	(count(*) FILTER (WHERE finished_at IS NULL AND rolled_back_at IS NULL AND coalesce(logs, '') <> ''))::float8,
	(count(*) FILTER (WHERE finished_at IS NULL AND rolled_back_at IS NULL AND coalesce(logs, '') = ''))::float8,
	(count(*) FILTER (WHERE rolled_back_at IS NOT NULL))::float8,
	(max(extract(epoch FROM finished_at)) FILTER (WHERE rolled_back_at IS NULL))::float8,
	left((array_agg(migration_name ORDER BY finished_at DESC) FILTER (WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL))[1], 200)
	FROM `,
	},
	{
		name:  "drizzle",
		table: func(Config) (string, string) { return "drizzle", "__drizzle_migrations" },
		query: `SELECT count(*)::float8, NULL AS failed, NULL AS unfinished, NULL AS rolled_back, max(created_at)::float8 / 1000,
	left((array_agg(hash ORDER BY created_at DESC))[1], 12) FROM `,
	},
	{
		name:  "goose",
		table: func(Config) (string, string) { return "public", "goose_db_version" },
		query: `SELECT (count(*) FILTER (WHERE newest))::float8, NULL AS failed, NULL AS unfinished, NULL AS rolled_back,
	(max(extract(epoch FROM tstamp)) FILTER (WHERE newest))::float8, (max(version_id) FILTER (WHERE newest))::text
	FROM (SELECT *, is_applied AND id = max(id) OVER (PARTITION BY version_id) AS newest FROM `,
		end: " WHERE version_id > 0) g",
	},
}

// prismaSchema is where Prisma keeps its table: its URLs say so by ?schema=.
func prismaSchema(c Config) string {
	if u, err := url.Parse(c.URL.Reveal()); err == nil && u.Query().Get("schema") != "" {
		return u.Query().Get("schema")
	}
	return "public"
}

// view reads the tool's table; where there is none the server says so.
func (t migrationTool) view() view {
	return view{
		name: "migrations_" + t.name,
		sql: func(at here) string {
			if !slices.Contains(at.config.Migrations, t.name) {
				return ""
			}
			schema, table := t.table(at.config)
			return t.query + pgx.Identifier{schema, table}.Sanitize() + t.end
		},
		take: t.take,
		needs: func(c Config) need {
			schema, table := t.table(c)
			return tableNeed(schema, table)
		},
	}
}

// tableNeed is the need of a table that may not be there.
func tableNeed(schema, table string) need {
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	schemaName, name := pgx.Identifier{schema}.Sanitize(), pgx.Identifier{schema, table}.Sanitize()
	return need{
		readable: `(SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ` + quoted(schema) + ` AND c.relname = ` + quoted(table) + `)`,
		grant: "GRANT USAGE ON SCHEMA " + schemaName + ", and SELECT ON " + name,
	}
}

func (t migrationTool) take(c *cycle, r *rows) error {
	counts := make([]*float64, 4)
	var last *float64
	var name *string
	if err := scanOne(r, &counts[0], &counts[1], &counts[2], &counts[3], &last, &name); err != nil {
		return err
	}
	for i, state := range []string{"applied", "failed", "unfinished", "rolled_back"} {
		c.addKnown(migrations, counts[i], t.name, state)
	}
	c.addKnown(lastMigrated, last, t.name)
	if name != nil {
		c.add(lastMigration.Sample(1, t.name, *name))
	}
	return nil
}
