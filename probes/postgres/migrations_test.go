package postgres

import (
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// The tables as the tools make them.
const (
	prismaTable = `CREATE TABLE %s_prisma_migrations (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz,
		migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count int NOT NULL DEFAULT 0)`
	drizzleTable = `CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)`
	gooseTable   = `CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp DEFAULT now())`
)

func TestMigrations(t *testing.T) {
	pg := live.Postgres(t)
	admin := connectTo(t, pg.URL)
	exec(t, admin, "CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor")
	config := &Config{Name: "main", URL: probe.NewSecret(as(t, pg.URL, url.User("monitor"))), Migrations: []string{"prisma", "drizzle", "goose"}}
	survey := func() probe.Reading {
		p := openConfig(t, config)
		discover(t, p)
		return read(t, p)
	}
	r := survey()
	for _, tool := range []string{"prisma", "drizzle", "goose"} {
		require.Equal(t, probe.ViewAbsent, stateOfView(r, "migrations_"+tool), "nobody used it")
	}
	require.Empty(t, values(r, migrations))

	exec(t, admin, "CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY)")
	require.Equal(t, probe.ViewDenied, stateOfView(survey(), "migrations_prisma"), "what may not be read is not absent")
	exec(t, admin, "DROP TABLE _prisma_migrations")

	exec(t, admin, fmtTable(prismaTable, ""))
	exec(t, admin, `INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at, rolled_back_at, logs) VALUES
		('1', '', '20260101_init', '2026-01-01 00:00:00+00', NULL, NULL), ('2', '', '20260102_users', '2026-01-02 00:00:00+00', NULL, NULL),
		('3', '', '20260103_bad', NULL, '2026-01-03 00:00:00+00', 'failed'), ('4', '', '20260104_broken', NULL, NULL, 'ERROR: syntax'),
		('5', '', '20260105_running', NULL, NULL, NULL)`)
	exec(t, admin, drizzleTable)
	exec(t, admin, "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('0123456789abcdef', 1767225600000), ('fedcba9876543210', 1767312000500)")
	exec(t, admin, gooseTable)
	exec(t, admin, `INSERT INTO goose_db_version (version_id, is_applied, tstamp) VALUES (0, true, '2026-01-01'), (1, true, '2026-01-02'), (2, true, '2026-01-03'), (2, false, '2026-01-04')`)
	exec(t, admin, "GRANT USAGE ON SCHEMA drizzle TO monitor; GRANT SELECT ON _prisma_migrations, drizzle.__drizzle_migrations, goose_db_version TO monitor")
	r = survey()
	for state, n := range map[string]float64{"applied": 2, "failed": 1, "unfinished": 1, "rolled_back": 1} {
		require.Equal(t, n, value(t, r, migrations, "tool", "prisma", "state", state), state)
	}
	require.EqualValues(t, 1, value(t, r, lastMigration, "tool", "prisma", "name", "20260102_users"))
	require.EqualValues(t, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).Unix(), value(t, r, lastMigrated, "tool", "prisma"))
	require.Equal(t, []float64{2}, values(r, migrations, "tool", "drizzle"), "Drizzle does not tell of failures")
	require.Equal(t, 1767312000.5, value(t, r, lastMigrated, "tool", "drizzle"))
	require.EqualValues(t, 1, value(t, r, lastMigration, "tool", "drizzle", "name", "fedcba987654"))
	require.EqualValues(t, 1, value(t, r, migrations, "tool", "goose", "state", "applied"), "what was taken back is not applied")
	require.EqualValues(t, 1, value(t, r, lastMigration, "tool", "goose", "name", "1"))

	exec(t, admin, "CREATE SCHEMA shop; "+fmtTable(prismaTable, "shop.")+"; GRANT USAGE ON SCHEMA shop TO monitor; GRANT SELECT ON shop._prisma_migrations TO monitor")
	config.URL = probe.NewSecret(as(t, pg.URL, url.User("monitor"), "schema", "shop"))
	require.Zero(t, value(t, survey(), migrations, "tool", "prisma", "state", "applied"), "Prisma's own ?schema= says where")
}

func fmtTable(table, schema string) string {
	return table[:len("CREATE TABLE ")] + schema + table[len("CREATE TABLE %s"):]
}

func TestInvariants(t *testing.T) {
	pg := live.Postgres(t)
	admin := connectTo(t, pg.URL)
	exec(t, admin, "CREATE TABLE domains (id int, workspace_id int, note text); INSERT INTO domains VALUES (1, 1, '{\"a\":1}')")
	p := openConfig(t, &Config{Name: "main", URL: probe.NewSecret(pg.URL), Integrity: []Invariant{
		{Name: "orphans", Query: "select id from domains where workspace_id is null limit 20;"},
		{Name: "counted", Query: "select count(*) from domains where workspace_id is null -- of all"},
		{Name: "whole", Query: "select * from domains where workspace_id is null"},
		{Name: "writes", Query: "select nextval('s')"},
		{Name: "wrong", Query: "select x from nowhere"},
		{Name: "seldom", Query: "select 1", Interval: model.Duration(time.Hour)},
	}})
	exec(t, admin, "CREATE SEQUENCE s")
	discover(t, p)
	r := read(t, p)
	for _, name := range []string{"orphans", "counted", "whole"} {
		require.Zero(t, value(t, r, violations, "invariant", name), name)
	}
	require.InDelta(t, time.Now().Unix(), value(t, r, lastChecked, "invariant", "orphans"), 60)
	require.Equal(t, probe.ViewFailed, stateOfView(r, "invariant_writes"), "a query cannot write")
	require.Equal(t, probe.ViewFailed, stateOfView(r, "invariant_wrong"))
	require.Empty(t, values(r, violations, "invariant", "wrong"), "unknown is not 0")

	exec(t, admin, "INSERT INTO domains SELECT n, NULL, 'x' FROM generate_series(1, 3) n")
	discover(t, p)
	r = read(t, p)
	for _, name := range []string{"orphans", "counted", "whole"} {
		require.EqualValues(t, 3, value(t, r, violations, "invariant", name), name)
	}
	exec(t, admin, "DELETE FROM domains WHERE workspace_id IS NULL AND id > 1")
	discover(t, p)
	r = read(t, p)
	require.EqualValues(t, 1, value(t, r, violations, "invariant", "orphans"), "one row that holds 1, and one that is one violation, are the same")
	require.EqualValues(t, 1, value(t, r, violations, "invariant", "whole"))
	require.EqualValues(t, 1, value(t, r, violations, "invariant", "seldom"), "its time has not come; what it found is still true")

	p.(*reader).survey.age(4 * time.Minute)
	r = read(t, p)
	require.Empty(t, values(r, violations, "invariant", "orphans"), "what is old is dropped, not frozen")
	require.Empty(t, values(r, connectTime))
}

// age lets time pass for what was found.
func (s *surveyor) age(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connectAt = s.connectAt.Add(-by)
	for name, f := range s.found {
		f.at = f.at.Add(-by)
		s.found[name] = f
	}
}
