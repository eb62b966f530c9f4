package postgres

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func inspect(t *testing.T, p probe.Probe) (*probe.Schema, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return p.(probe.Inspector).Inspect(ctx)
}

// Whoever alters a table locks it, and that is when its schema is asked for.
func TestASchemaIsReadWhileATableIsLocked(t *testing.T) {
	pg := live.Postgres(t)
	admin := connectTo(t, pg.URL)
	exec(t, admin, `CREATE ROLE nobody LOGIN CONNECTION LIMIT 2; CREATE SCHEMA billing; CREATE TYPE billing.state AS ENUM ('a,b', 'c');
		CREATE TABLE billing.bills (id bigint GENERATED ALWAYS AS IDENTITY, "of, whom" text NOT NULL, s billing.state, CHECK (id > 0), UNIQUE ("of, whom", id));
		CREATE INDEX low ON billing.bills (lower("of, whom")) WHERE id > 1; CREATE VIEW v AS SELECT id FROM billing.bills`)
	exec(t, admin, "BEGIN; LOCK TABLE billing.bills IN ACCESS EXCLUSIVE MODE")
	p := open(t, as(t, pg.URL, url.User("nobody")))
	before := time.Now()
	s, err := inspect(t, p)
	require.NoError(t, err, "the catalog is everybody's to read")
	require.WithinRange(t, s.ReadAt, before, time.Now())
	for i := range s.Relations { // hashes are the server's business
		for j := range s.Relations[i].Indexes {
			require.Len(t, s.Relations[i].Indexes[j].Details, 8)
			s.Relations[i].Indexes[j].Details = ""
		}
		for j := range s.Relations[i].Constraints {
			s.Relations[i].Constraints[j].Details = ""
		}
	}
	require.Equal(t, []probe.Relation{
		{
			Name: "billing.bills", Kind: "table",
			Columns: []probe.Column{
				{Name: "id", Place: 1, Type: "bigint", NotNull: true, Filled: "identity"}, {Name: "of, whom", Place: 2, Type: "text", NotNull: true},
				{Name: "s", Place: 3, Type: "billing.state"},
			},
			Indexes: []probe.Index{
				{Name: "bills_of, whom_id_key", Method: "btree", Unique: true, Keys: []string{"of, whom", "id"}},
				{Name: "low", Method: "btree", Keys: []string{"lower"}, Part: true},
			},
			Constraints: []probe.Constraint{{Name: "bills_id_check", Kind: "check", Columns: []string{"id"}}},
		},
		{Name: "v", Kind: "view", Columns: []probe.Column{{Name: "id", Place: 1, Type: "bigint"}}},
	}, s.Relations)
	require.Equal(t, []probe.Enum{{Name: "billing.state", Values: []string{"a,b", "c"}}}, s.Enums)
	require.Equal(t, s, read(t, p).Schema, "what was asked for is shown by the next reading")
	exec(t, admin, "ROLLBACK")
}

func TestASchemaThatIsTooLargeIsNotReadAndSaysSo(t *testing.T) {
	pg := live.Postgres(t)
	pg.Exec(t, `DO $$ BEGIN FOR t IN 1..14 LOOP EXECUTE format('CREATE TABLE wide_%s (%s)', t, (SELECT string_agg('c' || n || ' int', ',') FROM generate_series(1, 1500) n)); END LOOP; END $$`)
	p := open(t, pg.URL)
	_, err := inspect(t, p)
	require.EqualError(t, err, "the schema has 21000 columns, and 20000 are compared at most")
	r := read(t, p)
	require.Nil(t, r.Schema)
	require.Equal(t, probe.ViewAbsent, stateOfView(r, schemaView))
	require.EqualValues(t, 21000, value(t, r, schemaColumns))

	pg.Exec(t, "DROP TABLE wide_1")
	start := time.Now()
	s, err := inspect(t, p)
	require.NoError(t, err)
	require.Equal(t, 19500, s.Columns())
	require.Less(t, time.Since(start), deadline)
}

func TestASchemaIsAskedForBesideASurveyNotOverIt(t *testing.T) {
	p := open(t, live.Postgres(t).URL)
	r := p.(*reader)
	require.NoError(t, r.beside.take(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := r.Inspect(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "a survey is under way")
	r.beside.give()
	_, err = inspect(t, p)
	require.NoError(t, err)
}
