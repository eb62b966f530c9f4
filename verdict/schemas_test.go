package verdict

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// A warehouse is a judge of the service api, whose database main is a real one; the
// database other is there too, and no service names it.
type warehouse struct {
	main   *live.PG
	path   string
	opts   Options
	engine *Engine
	ill    bool
}

func openWarehouse(t *testing.T) *warehouse {
	t.Helper()
	s := &warehouse{main: live.Postgres(t), path: filepath.Join(t.TempDir(), "ledger.db")}
	var targets []collector.Target
	s.main.Exec(t, "CREATE TABLE users (id serial PRIMARY KEY, email text)")
	s.main.Exec(t, "CREATE DATABASE other")
	for name, url := range map[string]string{"main": s.main.URL, "other": strings.Replace(s.main.URL, "/app", "/other", 1)} {
		opened, err := (&postgres.Config{Name: name, URL: probe.NewSecret(url)}).Open(nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, opened.Close()) })
		targets = append(targets, collector.Target{Kind: "postgres", Name: name, Interval: time.Hour, Timeout: 3 * time.Second, Budget: 10_000, Probe: opened})
	}
	schedule, err := collector.NewSchedule(targets, zap.NewNop())
	require.NoError(t, err)
	s.opts = Options{
		Services: []*alerts.Service{{Name: "api", Databases: []string{"main"}}}, Interval: 10 * time.Second, Inspect: schedule.Inspect,
		Evaluate: func(_ context.Context, _ []alerts.Gate, scene alerts.Scene) ([]alerts.Finding, error) {
			if !s.ill {
				return healthy(scene.Now), nil
			}
			broken := fires("error_ratio")
			broken.InGrace = true
			return but(healthy(scene.Now), broken), nil
		},
		TakeBaseline: func(context.Context, []alerts.Gate, alerts.Scene, []alerts.Span) (alerts.Baseline, error) {
			return alerts.Baseline{ID: "b", Kind: alerts.BaselineNone}, nil
		},
	}
	s.start(t)
	t.Cleanup(func() { require.NoError(t, s.opts.Ledger.Close()) })
	return s
}

func (s *warehouse) start(t *testing.T) {
	t.Helper()
	var err error
	s.opts.Ledger, err = OpenLedger(s.path)
	require.NoError(t, err)
	s.engine, err = NewEngine(t.Context(), s.opts)
	require.NoError(t, err)
}

func (s *warehouse) restart(t *testing.T) {
	t.Helper()
	require.NoError(t, s.opts.Ledger.Close())
	s.start(t)
}

func (s *warehouse) register(t *testing.T, migrations ...Migration) Rollout {
	t.Helper()
	s.ill = false
	r, _, err := s.engine.Register(t.Context(), Registration{
		Service: "api", Version: "2.4.0", Strategy: alerts.Rolling, PreviousImage: "api:2.3.9", Commit: "abc", Migrations: migrations,
	}, "")
	require.NoError(t, err)
	return r
}

// rollBack lets the rollout fail, and returns what is advised.
func (s *warehouse) rollBack(t *testing.T, r Rollout) *Action {
	t.Helper()
	s.ill = true
	s.engine.tick(t.Context())
	doc, err := s.engine.Document(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, Rollback, doc.Verdict)
	require.NotNil(t, doc.Action)
	return doc.Action
}

func TestRollingTheImageBackDidNotRollBackTheSchema(t *testing.T) {
	s := openWarehouse(t)
	for _, restarted := range []bool{false, true} {
		s.main.Exec(t, "DROP TABLE users; CREATE TABLE users (id serial PRIMARY KEY, email text)")
		r := s.register(t, Migration{Name: "mail", Kind: Additive, Reverse: "undo-mail.sql"})
		require.Len(t, r.Schemas, 1, "the database that the service names, and no other")
		require.NotEmpty(t, r.Schemas[0].ID)
		s.main.Exec(t, "ALTER TABLE users RENAME COLUMN email TO mail; ALTER TABLE users ADD COLUMN bio text")
		if restarted {
			s.restart(t)
		}
		action := s.rollBack(t, r)
		require.Equal(t, "image", action.Kind)
		require.Equal(t, []string{"schema"}, action.BlockedBy)
		require.Equal(t, []string{"schema"}, action.Alternatives[0].BlockedBy, "nor is the commit reverted")
		require.Equal(t, []string{"undo-mail.sql"}, action.Reverse, "whatever the migration was declared as")
		require.Equal(t, alerts.SchemaChange{
			Database: "main", Table: "users", Column: "email", Change: "column_dropped", From: "text", To: "mail", Breaks: true,
			Sentence: "the column email of users is gone; mail is new and of the same type (text): renamed?",
		}, action.Schema[0])
		require.Len(t, action.Schema, 3)
		notes := strings.Join(action.Notes, "\n")
		require.Regexp(t, `the schema of main does not fit the previous version any more: 1 of 3 differences since the registration \(..:..:.. UTC\) break it`, notes)
		require.Contains(t, notes, "every way back is blocked until the schema is taken back: run undo-mail.sql first")

		s.restart(t)
		doc, err := s.engine.Document(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, action, doc.Action, "what was advised stays on record")
	}
}

func TestAnAdditiveMigrationLeavesTheImageAsTheWayBack(t *testing.T) {
	s := openWarehouse(t)
	r := s.register(t, Migration{Name: "bio", Kind: Additive})
	s.main.Exec(t, "ALTER TABLE users ADD COLUMN bio text; CREATE TABLE notes (id int)")
	action := s.rollBack(t, r)
	require.Equal(t, "image", action.Kind)
	require.Empty(t, action.BlockedBy)
	require.Len(t, action.Notes, 1)
	require.Contains(t, action.Notes[0], "in what the previous version does not see: the table notes is new; the column bio of users is new")

	again := s.register(t)
	require.NotEqual(t, r.Schemas[0].ID, again.Schemas[0].ID)
	action = s.rollBack(t, again)
	require.Contains(t, action.Notes[0], "the schema of main is what it was", "only what changed under this rollout counts")
}

func TestASchemaThatCannotBeReadIsNeverCalledSafe(t *testing.T) {
	s := openWarehouse(t)
	r := s.register(t, Migration{Name: "bio", Kind: Additive})
	s.main.Stop(t)
	action := s.rollBack(t, r)
	require.Empty(t, action.BlockedBy, "what was declared holds")
	require.Contains(t, action.Notes[0], "schema of main not compared: postgres:main: connect: ")

	r = s.register(t, Migration{Name: "drop", Kind: Breaking})
	require.Empty(t, r.Schemas[0].ID, "a database that is down refuses no registration")
	require.Contains(t, r.Schemas[0].Unknown, "connect: ")
	s.main.Start(t)
	s.restart(t)
	action = s.rollBack(t, r)
	require.Equal(t, []string{"schema"}, action.BlockedBy)
	require.Contains(t, action.Notes[0], "schema of main not compared: it was not read when the rollout was registered: postgres:main: ")
	require.Equal(t, "the migration drop was declared as breaking", action.Notes[1])
}

func TestWhatAHumanRollsBackIsComparedToo(t *testing.T) {
	s := openWarehouse(t)
	r := s.register(t)
	s.main.Exec(t, "DROP TABLE users")
	_, err := s.engine.SetOverride(t.Context(), r.ID, Override{Verdict: Rollback, Reason: "users are gone", Author: "ada", Until: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	doc, err := s.engine.Document(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"schema"}, doc.Action.BlockedBy)
}

func TestSchemasThatAreAlikeAreStoredOnceAndForgottenWithTheirRollouts(t *testing.T) {
	l := newLedger(t)
	body, err := packSchema(&probe.Schema{ReadAt: noon, Relations: []probe.Relation{{Name: "users", Kind: "table", Columns: []probe.Column{{Name: "id", Type: "integer", NotNull: true}}}}})
	require.NoError(t, err)
	count := func() (n int) {
		require.NoError(t, l.read.QueryRowContext(t.Context(), "SELECT count(*) FROM schemas").Scan(&n))
		return n
	}
	for range 3 {
		r := sampleRollout("api")
		r.Schemas = []FrozenSchema{{Database: "main", ID: schemaID(body), ReadAt: noon}, {Database: "down", Unknown: "no answer"}}
		r, err = l.register(t.Context(), registration{rollout: r, schemas: map[string][]byte{schemaID(body): body}})
		require.NoError(t, err)
		kept, err := l.rollout(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, r.Schemas, kept.Schemas)
		closing := sampleTransition(kept, 1)
		closing.rollout.Final = true
		require.NoError(t, l.record(t.Context(), closing))
	}
	require.Equal(t, 1, count())
	schema, err := l.schema(t.Context(), schemaID(body))
	require.NoError(t, err)
	require.Equal(t, 1, schema.Columns())
	require.NoError(t, l.forget(t.Context(), noon.Add(time.Hour)))
	require.Equal(t, 1, count(), "the newest rollout needs it")
	_, err = l.write.ExecContext(t.Context(), "DELETE FROM rollouts")
	require.NoError(t, err)
	require.NoError(t, l.forget(t.Context(), noon))
	require.Zero(t, count())
}
